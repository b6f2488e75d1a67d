"""Pictures out of noise, by a user's weights in the layout that diffusers has for ONNX, on ONNX Runtime.

Which models: backends/diffusion/folder.py. One picture is drawn at a time, with all threads; the next one waits.
"""

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from homeport.backends.diffusion.painter import Painter, Picture
from homeport.backends.diffusion.sessions import Stopped
from homeport.backends.drawing import DrawingCard, Drawn, Wish
from homeport.backends.engines.threads import default_threads
from homeport.backends.engines.turns import Turns
from homeport.backends.text import Occupancy
from homeport.errors import InvalidRequest, Unavailable

#: Characters of a prompt that are looked at. Its tokens are what is limited, and no prompt that has this many fits.
_PROMPT = 2000
#: Pixels of a side. Beyond the model's own size a picture is enlarged.
_SMALLEST, _LARGEST = 64, 4096
#: Of height and width to each other, where the model draws one shape only.
_SAME_SHAPE = 0.01


class Diffusion:
    """DrawingEngine. path: of model_index.json, or its folder. queue: pictures that may wait. threads: of one pass.
    guidance: how closely prompts are followed, 1 for a model that was taught to need none; steps: of medium quality;
    by default as its pipeline has them."""

    def __init__(
        self,
        path: Path,
        *,
        threads: int | None = None,
        queue: int = 256,
        guidance: float | None = None,
        steps: int | None = None,
    ) -> None:
        self.name = "diffusion"
        self._path = path
        self._threads = threads or default_threads()
        self._guidance = guidance
        self._steps = steps
        self._turns = Turns("diffusion", places=1, queue=queue)
        self._painter: Painter | None = None
        self._picture: Picture | None = None
        self._card: DrawingCard | None = None

    @property
    def card(self) -> DrawingCard:
        assert self._card is not None, "start() has not been awaited"
        return self._card

    async def start(self) -> None:
        """Raises ValueError: what is wrong with the folder; OSError."""
        await self._turns.load(self._load)

    async def close(self) -> None:
        if self._picture is not None:
            self._picture.stop.ask()
        await self._turns.close()
        self._painter = None

    def _load(self) -> None:
        painter = Painter(self._path, self._threads, guidance=self._guidance, steps=self._steps)
        self._painter = painter
        self._card = DrawingCard(
            prompt=_PROMPT,
            smallest=_SMALLEST,
            largest=_LARGEST,
            multiple=1,
            native=painter.side,
            edits=painter.edits,
            varies="any" if painter.edits else "none",
            unfinished=True,
        )

    def occupancy(self) -> Sequence[Occupancy]:
        picture = self._picture
        progress = picture.done / picture.total if picture is not None else None
        return (self._turns.occupancy()._replace(progress=progress),)

    def tokens(self, prompt: str) -> int:
        return self._loaded.texts.count(prompt)

    def check(self, wish: Wish) -> None:
        painter = self._loaded
        tokens, room = painter.texts.count(wish.prompt), painter.texts.room
        if tokens > room:
            raise InvalidRequest(
                f"The prompt is too long: this model reads {room} tokens, and it has {tokens}. Shorten it.",
                param="prompt",
                code="string_above_max_length",
            )
        if len(wish.bases) > 1:
            raise InvalidRequest(
                f"This model edits one image, and there are {len(wish.bases)}.", param="image", code="invalid_value"
            )
        if painter.shape is not None:
            width, height = painter.shape
            if abs(wish.width * height / (wish.height * width) - 1) > _SAME_SHAPE:
                raise InvalidRequest(
                    f"This model draws pictures of {width}x{height} and of that shape, and no others.",
                    param="size",
                    code="invalid_value",
                )

    async def draw(self, wish: Wish) -> AsyncGenerator[Drawn, None]:
        async with self._turns.place():
            picture = Picture(self._loaded, wish)
            self._picture = picture
            try:
                shown = _shown_after(picture.total, wish.unfinished)
                await self._turns.take(picture.begin)
                while picture.done < picture.total:
                    await self._turns.take(picture.advance)
                    if picture.done in shown:
                        yield Drawn(await self._turns.take(picture.seen), last=False)
                yield Drawn(await self._turns.take(picture.finished))
            except Stopped:
                raise Unavailable("The server is stopping, and the picture is not finished.") from None
            finally:
                picture.stop.ask()
                self._picture = None

    @property
    def _loaded(self) -> Painter:
        assert self._painter is not None, "start() has not been awaited"
        return self._painter


def _shown_after(total: int, pictures: int) -> frozenset[int]:
    """Passes, evenly spaced; fewer than were asked for where there are not so many before the last one."""
    return frozenset(round(total * (one + 1) / (pictures + 1)) for one in range(pictures)) - {0, total}
