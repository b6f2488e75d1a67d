"""An engine that draws without weights: a picture is one colour, told by its prompt and its seed."""

import base64
import io
import threading
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from homeport.backends.drawing import DrawingCard, Drawn, Wish
from homeport.backends.engines.turns import Turns
from homeport.backends.local.images import LocalImages
from homeport.backends.text import Occupancy
from homeport.errors import InvalidRequest
from homeport.settings import Images
from tests.server import Running, running

if TYPE_CHECKING:
    from homeport.backends.drawing import Pixels

CARD = DrawingCard(
    prompt=32_000,
    smallest=64,
    largest=4096,
    multiple=1,
    native=1024,
    transparent=True,
    edits=True,
    varies="any",
    unfinished=True,
    steers=True,
)


def colour(prompt: str, seed: int) -> tuple[int, int, int]:
    red, green, blue = sha256(f"{seed} {prompt}".encode()).digest()[:3]
    return red, green, blue


class Pencil:
    """DrawingEngine. `ж` it cannot draw, and a prompt with `fail` breaks it. gate: a prompt with `wait` is not finished
    while it is closed. wishes: those that were begun; left: those that were not finished. Of a transparent picture only
    the middle is drawn; of a masked one, what the mask shows; a variation is the colour of its note, or of its middle.
    What it was asked for is what it says it drew, after `A field: `, and its note; with `plain` in it, it says nothing.
    """

    def __init__(self, *, parallel: int = 1, queue: int = 256, **card: Any) -> None:
        self.name = "pencil"
        self.card = replace(CARD, **card)
        self.gate = threading.Event()
        self.gate.set()
        self.wishes: list[Wish] = []
        self.left: list[Wish] = []
        self._turns = Turns("pencil", places=parallel, queue=queue)

    async def start(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        self.gate.set()
        await self._turns.close()

    def occupancy(self) -> Sequence[Occupancy]:
        return (self._turns.occupancy(),)

    def tokens(self, prompt: str) -> int:
        return len(prompt.split())

    def check(self, wish: Wish) -> None:
        if "ж" in wish.prompt:
            raise InvalidRequest("There is nothing in the prompt that this model can draw.", param="prompt")

    async def draw(self, wish: Wish) -> AsyncGenerator[Drawn, None]:
        async with self._turns.place():
            self.wishes.append(wish)
            finished = False
            try:
                for part in range(wish.unfinished):
                    yield Drawn(await self._turns.take(self._field, wish, (part + 1) * 40), last=False)
                pixels = await self._turns.take(self._field, wish, 255)
                finished = True
            finally:
                if not finished:
                    self.left.append(wish)
            said = None if "plain" in wish.prompt else f"A field: {wish.prompt or 'a variation'}"
            yield Drawn(pixels, said, f"{wish.prompt}|{wish.seed}")

    def _field(self, wish: Wish, opacity: int) -> "Pixels":
        if "wait" in wish.prompt:
            assert self.gate.wait(60)
        if "fail" in wish.prompt:
            raise RuntimeError("the pencil is broken")
        pixels = np.empty((wish.height, wish.width, 4), np.uint8)
        pixels[:] = (*self._colour(wish), opacity)
        if wish.transparent:
            clear = np.ones((wish.height, wish.width), bool)
            clear[wish.height // 4 : -wish.height // 4, wish.width // 4 : -wish.width // 4] = False
            pixels[clear, 3] = 0
        if wish.mask is not None:
            pixels[~wish.mask] = wish.bases[0].pixels[~wish.mask]
        return pixels

    def _colour(self, wish: Wish) -> tuple[int, int, int]:
        if wish.kind != "variation":
            return colour(wish.prompt, wish.seed)
        base = wish.bases[0]
        if base.note is not None:
            return colour(base.note.partition("|")[0], wish.seed)
        red, green, blue = base.pixels[wish.height // 2, wish.width // 2, :3].tolist()
        return red, green, blue


ALIASES = {"dall-e-2": "echo", "dall-e-3": "echo", "gpt-image-1": "echo", "gpt-image-2": "echo"}


@contextmanager
def drawing(folder: Path, pencil: Pencil, images: Images | None = None) -> Iterator[Running]:
    with running(folder, {"aliases": ALIASES}) as server:
        held: Any = server.app.held["echo"]
        held._backends = (*held._backends, LocalImages("echo", pencil, images or Images()))
        yield server


def opened(b64: str | None) -> Image.Image:
    assert b64
    image = Image.open(io.BytesIO(base64.b64decode(b64)))
    image.load()
    return image


def pixels(b64: str | None) -> Any:
    return np.asarray(opened(b64).convert("RGBA"))
