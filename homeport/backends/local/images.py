"""`POST /images/generations`, `/edits` and `/variations` by an engine of this machine: the request checked, pictures
that came with it unpacked, others drawn one after the other, each encoded before the next is begun.

Pictures stand in the answer as base64, whatever was asked for: whoever wants addresses is given them by the gateway.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

import msgspec

from homeport import clock
from homeport.backends.capabilities import Answer, Call, Frame
from homeport.backends.drawing import DrawingEngine, Drawn
from homeport.backends.local import image_bill, image_files, pictures
from homeport.backends.local.image_bill import Bill
from homeport.backends.local.image_files import Bases, Files
from homeport.backends.local.image_plan import Plan, plan_edit, plan_generation, plan_variation
from homeport.backends.local.pictures import Encoded
from homeport.backends.text import Occupancy
from homeport.errors import InvalidRequest
from homeport.settings import Images
from homeport.wire import images, sse


class LocalImages:
    """Draw, EditImage and VaryImage (capabilities.py) over one engine that draws."""

    def __init__(self, name: str, engine: DrawingEngine, settings: Images) -> None:
        self.name = name
        self._engine = engine
        self._settings = settings

    async def start(self) -> None:
        """Raises ImportError: what encodes is not installed; as its engine."""
        await asyncio.to_thread(pictures.load)
        await self._engine.start()

    async def close(self) -> None:
        await self._engine.close()

    def occupancy(self) -> Sequence[Occupancy]:
        return self._engine.occupancy()

    def lines_at_once(self, capability: str) -> int | None:
        """Those that are drawn together, and those that are next."""
        return max((2 * one.places for one in self._engine.occupancy()), default=None)

    async def draw(self, call: Call) -> Answer:
        """As capabilities.Draw. What cannot be drawn is refused before anything is."""
        plan = plan_generation(call.body, call.name, self._engine.card)
        return await self._answer(call, plan, Bases(), 0)

    async def edit_image(self, call: Call) -> Answer:
        """As capabilities.EditImage."""
        return await self._from_files(call, plan_edit(call.body, call.name, self._engine.card))

    async def vary_image(self, call: Call) -> Answer:
        """As capabilities.VaryImage."""
        return await self._from_files(call, plan_variation(call.body, call.name, self._engine.card))

    async def _from_files(self, call: Call, plan: Plan) -> Answer:
        card = self._engine.card
        files = await pictures.in_turn(image_files.look, call.attached, plan.rules.family, self._settings)
        if plan.kind == "variation" and card.varies == "own" and files.images[0].header.note is None:
            raise InvalidRequest(
                "This model varies pictures of its own, which it knows by what it wrote into their PNG files. There is "
                "nothing of that in this one. To vary any picture, use a diffusion model (docs/images.md).",
                param="image",
                code="invalid_image",
            )
        plan = plan.sized(*files.shown, card)
        bases = await image_files.unpack(files, plan, self._settings)
        return await self._answer(call, plan, bases, _tokens_of(files))

    async def _answer(self, call: Call, plan: Plan, bases: Bases, given: int) -> Answer:
        """given: tokens of the pictures that came."""
        self._engine.check(plan.wish(0, *bases))
        bill = Bill(plan, self._engine.tokens(plan.prompt), given)
        made = self._made(plan, bases)
        if plan.stream:
            return await Answer.begun(_events(call.model or self.name, plan, bill, made), stream=True)
        async with aclosing(made):
            whole = [one async for one in made]
        for one in whole:
            bill.add(one.place, last=one.last)
        answer = msgspec.json.encode(_response(plan, bill, whole))
        return Answer(Frame(answer, bill.usage, call.model or self.name))

    async def _made(self, plan: Plan, bases: Bases) -> "AsyncGenerator[_Made, None]":
        for place in range(plan.count):
            async with aclosing(self._engine.draw(plan.wish(place, *bases))) as drawing:
                async for drawn in drawing:
                    yield _Made(place, drawn.revised, drawn.last, await _encoded(plan, drawn))


async def _encoded(plan: Plan, drawn: Drawn) -> Encoded:
    return await asyncio.to_thread(
        pictures.encode,
        drawn.pixels,
        plan.output_format,
        quality=plan.compression,
        note=drawn.note if drawn.last else None,
        opaque=plan.background == "opaque",
    )


class _Made(NamedTuple):
    """place: in the answer. last: it is finished."""

    place: int
    revised: str | None
    last: bool
    encoded: Encoded

    @property
    def background(self) -> str:
        return "transparent" if self.encoded.transparent else "opaque"


def _tokens_of(files: Files) -> int:
    """The mask is a part of the first."""
    return sum(image_bill.of_given(*one.header.shown) for one in files.images)


def _response(plan: Plan, bill: Bill, whole: Sequence[_Made]) -> images.ImagesResponse:
    data = [images.Image(b64_json=one.encoded.base64, revised_prompt=one.revised) for one in whole if one.last]
    answer = images.ImagesResponse(int(clock.now()), data)
    if plan.rules.family == "gpt-image":
        answer.background = "transparent" if whole[0].encoded.transparent else "opaque"
        answer.output_format = plan.output_format
        answer.size = str(plan.size)
        answer.quality = plan.quality
        answer.usage = bill.of_all()
    return answer


#: Kind of a plan -> what its stream is made of: pictures in the making, and finished ones.
_EVENTS: Mapping[str, tuple[Any, Any]] = {
    "generation": (images.ImageGenPartialImageEvent, images.ImageGenCompletedEvent),
    "edit": (images.ImageEditPartialImageEvent, images.ImageEditCompletedEvent),
}


async def _events(
    model: str, plan: Plan, bill: Bill, pictures: "AsyncGenerator[_Made, None]"
) -> AsyncGenerator[Frame, None]:
    """What was shown by then is charged, should the client leave."""
    unfinished, finished = _EVENTS[plan.kind]
    partial = 0
    async with aclosing(pictures):
        async for made in pictures:
            bill.add(made.place, last=made.last)
            common: dict[str, Any] = {
                "b64_json": made.encoded.base64,
                "created_at": int(clock.now()),
                "size": str(plan.size),
                "quality": plan.quality,
                "background": made.background,
                "output_format": plan.output_format,
            }
            if made.last:
                event = finished(**common, usage=bill.of_this())
                partial = 0
            else:
                event = unfinished(**common, partial_image_index=partial)
                partial += 1
            yield Frame(sse.event(msgspec.json.encode(event)), bill.usage, model)
