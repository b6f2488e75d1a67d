"""The seam below OpenAI's images: an engine that makes pictures.

An engine (scene, diffusion) knows prompts and pixels, and nothing of requests, formats or streams: requests are read,
pictures decoded and encoded, and answers written once, for all engines, in `local/images.py`.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from homeport.backends.text import Occupancy

if TYPE_CHECKING:
    import numpy as np

    #: Height, width, and red, green, blue and opacity of each, 0 to 255. Colours are not multiplied by opacity.
    Pixels = np.ndarray[Any, np.dtype[np.uint8]]
    #: Height, width: true where it is to be drawn anew.
    Mask = np.ndarray[Any, np.dtype[np.bool_]]

Quality = Literal["low", "medium", "high"]


@dataclass(frozen=True, slots=True)
class DrawingCard:
    """What an engine says of its model. prompt: characters that it reads at most. smallest, largest: pixels of a side;
    multiple: what a side must be a multiple of. native: the side that `auto` is. transparent: it can leave the
    background out. edits: it can draw anew what a mask shows. varies: `any` picture, or only its `own`, told by the
    note in them; `none`. unfinished: it can show pictures in the making. steers: it follows `Wish.style`.
    """

    prompt: int
    smallest: int
    largest: int
    multiple: int
    native: int
    transparent: bool = False
    edits: bool = False
    varies: Literal["any", "own", "none"] = "none"
    unfinished: bool = False
    steers: bool = False


class Base(NamedTuple):
    """A picture that was given. pixels: not to be written to, as several pictures may be made of them. note: what its
    engine wrote into it (`Drawn.note`), of a PNG; else None."""

    pixels: "Pixels"
    note: str | None


@dataclass(frozen=True, slots=True)
class Wish:
    """One picture. prompt: empty of a variation. seed: 0 to 2^63 - 1; the same wish gives the same picture. bases: of
    an edit or a variation, in the size that was asked for. mask: None of an edit means all of it. unfinished: how many
    pictures in the making are wanted."""

    kind: Literal["generation", "edit", "variation"]
    prompt: str
    width: int
    height: int
    seed: int
    quality: Quality = "medium"
    style: Literal["vivid", "natural"] | None = None
    transparent: bool = False
    bases: Sequence[Base] = ()
    mask: "Mask | None" = None
    unfinished: int = 0


class Drawn(NamedTuple):
    """revised: what is to be seen, in words, and what was not understood; None where the engine drew the prompt as it
    is. note: for the picture's own file, what the engine must know to vary it; None: nothing. last: the picture is
    finished; there is one such, and it ends them."""

    pixels: "Pixels"
    revised: str | None = None
    note: str | None = None
    last: bool = True


class DrawingEngine(Protocol):
    name: str

    @property
    def card(self) -> DrawingCard:
        """Known once it has been started."""
        ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def occupancy(self) -> Sequence[Occupancy]:
        """Pictures that it draws, and that wait."""
        ...

    def tokens(self, prompt: str) -> int:
        """That the model reads of it, for the answer's usage."""
        ...

    def check(self, wish: Wish) -> None:
        """Raises InvalidRequest: what is not in it for this model (a prompt without anything that it knows, a foreign
        picture, ...), which the card does not tell. At once."""
        ...

    def draw(self, wish: Wish) -> AsyncGenerator[Drawn, None]:
        """Waits for a place; raises Unavailable (503) when too many wait already. Closing it takes back what has not
        begun, and ends what has within seconds."""
        ...
