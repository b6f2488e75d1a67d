"""scene: composes drawings of vector art. It knows nothing of what pictures look like: it reads what the prompt names,
lays that out and draws it, and says what it did not understand."""

import re
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from msgspec import Struct, json, structs

from homeport.backends.drawing import DrawingCard, Drawn, Wish
from homeport.backends.engines.turns import Turns
from homeport.backends.scene import holes
from homeport.backends.scene import note as notes
from homeport.backends.scene.art import Art
from homeport.backends.scene.composing import composed, things
from homeport.backends.scene.description import Description, Note
from homeport.backends.scene.editing import changed
from homeport.backends.scene.layout import MOST_THINGS, layout, within
from homeport.backends.scene.nearest import Vector
from homeport.backends.scene.reading import Reader
from homeport.backends.scene.rendering import Part, pixels, strengthened
from homeport.backends.scene.saying import said
from homeport.backends.scene.vocabulary import Vocabulary
from homeport.backends.text import Occupancy
from homeport.errors import InvalidRequest, SettingsError

if TYPE_CHECKING:
    from homeport.backends.drawing import Mask, Pixels

_SMALLEST, _LARGEST, _NATIVE, _PROMPT = 64, 4096, 1024, 32_000
#: Up to so many pixels `high` is drawn at twice the size, and averaged; of larger ones nobody sees the difference.
_FINE = 2048 * 2048
#: How strong colours are, of what they are as drawn.
_STRENGTH = {"vivid": 1.18, "natural": 0.82}
#: The next seed of a variation: of two numbers one, and not the one of the picture itself.
_MIX = 0x9E3779B97F4A7C15
_SEEDS = 2**63
_NOTHING = Description()
#: Words that an error names.
_NAMED = 8
#: What there are drawings of.
_KINDS = (
    "animals, plants, food, people, vehicles, buildings, things of every day, in front of a landscape, a room, the sky "
    "or one colour"
)
_WORD = re.compile(r"\w+")


class _Metadata(Struct):
    categories: dict[str, list[str]]


class Scene:
    """DrawingEngine. path: the art (`icons.json` of Iconify's), with its words beside it. parallel: pictures that may
    be in hand; they are drawn one after the other. queue: that may wait for a place."""

    def __init__(
        self,
        path: Path,
        *,
        parallel: int = 16,
        threads: int | None = None,
        queue: int = 256,
        vector: Vector | None = None,
    ) -> None:
        """vector: of one word, by a model of embeddings, for those that are not known; None: these are not drawn.
        Raises SettingsError: threads, of which there is one."""
        if threads not in (None, 1):
            raise SettingsError(f"The engine 'scene' draws in one thread, and not in {threads}. Leave `threads` out.")
        self.name = "scene"
        self._path = path
        self._turns = Turns("scene", places=parallel, queue=queue)
        self._art: Art | None = None
        self._reader: Reader | None = None
        self._vector = vector
        self._names: frozenset[str] = frozenset()

    @property
    def card(self) -> DrawingCard:
        return DrawingCard(
            _PROMPT,
            _SMALLEST,
            _LARGEST,
            1,
            _NATIVE,
            transparent=True,
            edits=True,
            varies="own",
            steers=True,
        )

    async def start(self) -> None:
        """Raises ValueError: the file is no such art; OSError."""
        await self._turns.load(self._load)

    async def close(self) -> None:
        await self._turns.close()
        self._art = self._reader = None

    def _load(self) -> None:
        self._art = Art(self._path)
        self._names = self._art.names
        self._reader = Reader(_vocabulary(self._path), self._vector)

    def occupancy(self) -> Sequence[Occupancy]:
        return (self._turns.occupancy(),)

    def tokens(self, prompt: str) -> int:
        """Its words."""
        return len(_WORD.findall(prompt))

    def check(self, wish: Wish) -> None:
        """As DrawingEngine.check. Prompts are read when they are drawn: a long one takes a moment."""
        if not 1 / notes.STEEPEST <= wish.height / wish.width <= notes.STEEPEST:
            raise InvalidRequest(
                f"The size is not supported by this model: one side may be {notes.STEEPEST:g} times the other.",
                param="size",
                code="invalid_value",
            )
        if wish.kind == "variation":
            self._own(wish)
            return
        if wish.kind == "edit":
            self._check_edit(wish)

    def _check_edit(self, wish: Wish) -> None:
        if len(wish.bases) != 1:
            raise InvalidRequest(f"This model changes one picture at a time, and got {len(wish.bases)}.", param="image")
        if wish.mask is not None:
            if not wish.mask.any():
                raise InvalidRequest(
                    "The mask has no transparent pixel, so that there is nothing to be drawn anew.", param="mask"
                )
        elif notes.read(wish.bases[0].note, self._names) is None:
            raise InvalidRequest(
                "This model composes drawings, and cannot change a picture that it did not draw. Send a `mask` whose "
                "transparent part shows where to draw into it; a diffusion model changes any picture (docs/images.md).",
                param="mask",
            )

    def _own(self, wish: Wish) -> Note:
        """Raises InvalidRequest."""
        note = notes.read(wish.bases[0].note, self._names) if len(wish.bases) == 1 else None
        if note is None:
            raise InvalidRequest(
                "This model varies drawings of its own, by what it has written into their PNG files, and there is "
                "nothing of that in this picture that it can read. To vary any picture, a diffusion model is needed "
                "(docs/images.md).",
                param="image",
                code="invalid_image",
            )
        return note

    async def draw(self, wish: Wish) -> AsyncGenerator[Drawn, None]:
        """As DrawingEngine.draw; raises InvalidRequest, too, before anything is drawn: there is nothing in the prompt
        that can be. It ends within a strip of the picture once nobody wants it any more."""
        async with self._turns.place():
            description = await self._described(wish)
            gone = Event()
            try:
                drawn = await self._turns.take(self._draw, wish, description, gone)
            finally:
                gone.set()
            yield drawn

    async def _described(self, wish: Wish) -> Description:
        """Raises InvalidRequest."""
        if wish.kind == "variation":
            return _NOTHING
        assert self._reader is not None, "start() has not been awaited"
        edit = wish.kind == "edit"
        if self._vector is None:
            description = await self._turns.take(self._reader.read_words, wish.prompt, edit=edit)
        else:
            description = await self._reader.read(wish.prompt, edit=edit)
        _check_read(description)
        return description

    def _draw(self, wish: Wish, description: Description, gone: Event) -> Drawn:
        """In the engine's thread."""
        art = self._art
        assert art is not None, "start() has not been awaited"
        ratio = wish.height / wish.width
        if wish.kind == "edit" and wish.mask is not None:
            return self._into(wish, wish.mask, description, gone)
        if wish.kind == "variation":
            own = self._own(wish)
            note = _laid_out(own.description, art, ratio, (own.seed * _MIX + wish.seed + 1) % _SEEDS)
        elif wish.kind == "edit":
            note = changed(self._own(wish), description, art, seed=wish.seed, ratio=ratio)
        else:
            note = _laid_out(description, art, ratio, wish.seed)
        _check_count(note.description)
        shown = self._rendered(composed(note, art, bare=wish.transparent), wish, gone)
        return Drawn(shown, said(note.description), notes.written(note))

    def _into(self, wish: Wish, mask: "Mask", description: Description, gone: Event) -> Drawn:
        """Into the mask's region; every other pixel stays as it is. That is no drawing of ours as a whole, and has no
        note."""
        art = self._art
        assert art is not None
        base = wish.bases[0]
        area = holes.largest_rectangle(mask)
        assert area is not None, "check() has been passed"
        placed = within(description, art, area, seed=wish.seed)
        note = Note(seed=wish.seed, ratio=wish.height / wish.width, description=description, placed=placed)
        drawn = self._rendered(things(note, art), wish, gone)
        if not wish.transparent:
            drawn = holes.over(self._behind(wish, mask, description, gone), drawn)
        result = base.pixels.copy()
        result[mask] = drawn[mask]
        return Drawn(result, said(description), None)

    def _behind(self, wish: Wish, mask: "Mask", description: Description, gone: Event) -> "Pixels":
        """What the things are drawn upon: the ground that the prompt names; of our own drawing, its ground; of any
        other picture, what is around."""
        art = self._art
        assert art is not None
        base = wish.bases[0]
        ratio = wish.height / wish.width
        scenery = structs.replace(description, groups=())
        if structs.replace(scenery, without=()).empty:
            own = notes.read(base.note, self._names)
            if own is None or own.ratio != ratio:
                return holes.filled(base.pixels, mask)
            empty = structs.replace(own, placed=())
        else:
            empty = Note(seed=wish.seed, ratio=ratio, description=scenery, placed=())
        return self._rendered(composed(empty, art), wish, gone)

    def _rendered(self, parts: Sequence[Part], wish: Wish, gone: Event) -> "Pixels":
        finer = 2 if wish.quality == "high" and wish.width * wish.height <= _FINE else 1
        shown = pixels(parts, wish.width, wish.height, finer=finer, stopped=gone.is_set)
        return shown if wish.style is None else strengthened(shown, _STRENGTH[wish.style])


def _check_read(description: Description) -> None:
    """Raises InvalidRequest."""
    if description.empty:
        raise InvalidRequest(_nothing(description), param="prompt", code="invalid_value")
    _check_count(description)


def _nothing(description: Description) -> str:
    """For the error. It names what was not understood."""
    words = ", ".join(f"'{word}'" for word in (*description.unknown, *description.ignored)[:_NAMED])
    return (
        f"There is nothing in the prompt that this model has a drawing of{f': {words}' if words else ''}. It composes "
        f"drawings of things that the prompt names: {_KINDS}."
    )


def _check_count(description: Description) -> None:
    """Raises InvalidRequest."""
    if sum(group.count for group in description.groups) > MOST_THINGS:
        raise InvalidRequest(
            f"This model draws {MOST_THINGS} things in one picture at most.", param="prompt", code="invalid_value"
        )


def _vocabulary(art: Path) -> Vocabulary:
    """Of the files beside the art. Raises ValueError, OSError."""
    named = json.decode(art.with_name("chars.json").read_bytes(), type=dict[str, str])
    lists = json.decode(art.with_name("metadata.json").read_bytes(), type=_Metadata)
    keywords = json.decode(art.with_name("emoji-en-US.json").read_bytes(), type=dict[str, list[str]])
    return Vocabulary(chars=named, categories=lists.categories, keywords=keywords)


def _laid_out(description: Description, art: Art, ratio: float, seed: int) -> Note:
    return Note(
        seed=seed, ratio=ratio, description=description, placed=layout(description, art, ratio=ratio, seed=seed)
    )
