"""What happens in the loop of a response, as its items and its events.

A turn's reasoning, its message and its calls become items of the output, one after the other, each with an index of
its own. Calls that nobody can make (of a tool that there is not, with arguments that are no JSON) are told, as
incomplete, and are no part of the output: the model is told what was wrong, and the client has nothing to answer.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from homeport import ids
from homeport.control.called_items import TYPES, call_item
from homeport.control.response_states import Used
from homeport.loop import turns
from homeport.loop.said import arguments_of
from homeport.loop.turns import Calling, Ran, Searched
from homeport.wire import items, response_events
from homeport.wire.items import (
    CodeInterpreterCall,
    FileSearchCall,
    FunctionCall,
    Item,
    Message,
    OutputText,
    Reasoning,
    ReasoningText,
    Refusal,
    Status,
)
from homeport.wire.response_events import Event

#: Numbers an event, and sends it to whoever listens.
Tell = Callable[[Event], Awaitable[None]]


class Keep(Protocol):
    """Where a turn is safe, of responses that outlive the process that works on them."""

    async def turn(self, said: "Said", made: Sequence[Item], used: Used) -> None:
        """made: items of this turn. used: of all turns."""
        ...

    async def call(self, call: Calling, item: Item) -> None:
        """It has its output; its turn was given before."""
        ...


class Said(NamedTuple):
    """A turn, for whoever goes on with the loop. items: call -> its item, of hosted calls. cut: why its message is not
    whole (`Scribe.message_ended`)."""

    text: str
    calls: Sequence[Calling]
    items: Mapping[str, str]
    cut: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """An item of the output, and where it is among those that were told."""

    index: int
    item: Any

    @property
    def at(self) -> dict[str, Any]:
        """As its events say it."""
        return {"item_id": self.item.id, "output_index": self.index}


class ResponseScribe:
    """`loop.scribe.Scribe`. output: the items so far. used: tokens of all turns. begun: something was said."""

    def __init__(
        self,
        tell: Tell,
        keep: Keep | None = None,
        *,
        include: Sequence[str] = (),
        container_id: str = "",
        output: Sequence[Item] = (),
        used: Used = Used(),  # noqa: B008
        index: int = 0,
        waiting: Mapping[str, Place] | None = None,
    ) -> None:
        """container_id: where code runs. output, used: of turns before an interruption; index: of the next item;
        waiting: call -> its item, of hosted calls that had not ended."""
        self._tell = tell
        self._keep = keep
        self._include = include
        self._container_id = container_id
        self.output: list[Item] = [*output]
        self.used = used
        self.begun = False
        self._index = index
        self._waiting: dict[str, Place] = dict(waiting or {})
        self._begin_turn()

    def _begin_turn(self) -> None:
        self._made: list[Item] = []
        self._message: Place | None = None
        self._thought: Place | None = None
        self._pieces: list[str] = []  # of the part that is open
        self._text: list[str] = []
        self._cut = ""
        self._calls: dict[str, Place] = {}
        self._arguing: Calling | None = None

    # What a turn says

    async def text(self, delta: str, annotations: Sequence[turns.Annotation]) -> None:
        place, message = await self._say()
        part = message.content[-1] if message.content else None
        if not isinstance(part, OutputText):
            part = await self._open_part(place, message, OutputText(text="", annotations=[]))
        at = {**place.at, "content_index": len(message.content) - 1}
        if delta:
            self._pieces.append(delta)
            self._text.append(delta)
            await self._tell(response_events.TextDelta(**at, delta=delta))
        for annotation in annotations:
            made = _annotation(annotation)
            part.annotations.append(made)
            number = len(part.annotations) - 1
            await self._tell(response_events.AnnotationAdded(**at, annotation_index=number, annotation=made))

    async def refusal(self, delta: str) -> None:
        place, message = await self._say()
        part = message.content[-1] if message.content else None
        if not isinstance(part, Refusal):
            await self._open_part(place, message, Refusal(refusal=""))
        self._pieces.append(delta)
        at = {**place.at, "content_index": len(message.content) - 1}
        await self._tell(response_events.RefusalDelta(**at, delta=delta))

    async def reasoning(self, delta: str) -> None:
        if self._thought is None:
            thought = Reasoning(id=ids.item("reasoning"), summary=[], content=[], status="in_progress")
            self._thought = await self._add(thought)
            empty = ReasoningText(text="")
            await self._tell(response_events.ContentPartAdded(**self._thought.at, content_index=0, part=empty))
        self._pieces.append(delta)
        await self._tell(response_events.ReasoningTextDelta(**self._thought.at, content_index=0, delta=delta))

    async def message_ended(self, incomplete: str) -> None:
        await self._end_reasoning("incomplete" if incomplete else "completed")
        if self._message is None:
            return
        place, message = await self._say()
        await self._close_part(place, message)
        self._cut = incomplete
        message.status = "incomplete" if incomplete else "completed"
        self._message = None
        await self._done(place)

    async def _say(self) -> tuple[Place, Message]:
        await self._end_reasoning()
        if self._message is None:
            made = Message(id=ids.item("message"), status="in_progress", role="assistant", content=[])
            self._message = await self._add(made)
        message = self._message.item
        assert isinstance(message, Message)
        return self._message, message

    async def _open_part(self, place: Place, message: Message, part: Any) -> Any:
        await self._close_part(place, message)
        message.content.append(part)
        at = {**place.at, "content_index": len(message.content) - 1}
        await self._tell(response_events.ContentPartAdded(**at, part=part))
        return part

    async def _close_part(self, place: Place, message: Message) -> None:
        if not message.content:
            return
        said, part = "".join(self._pieces), message.content[-1]
        self._pieces.clear()
        at = {**place.at, "content_index": len(message.content) - 1}
        if isinstance(part, OutputText):
            part.text = said
            await self._tell(response_events.TextDone(**at, text=said))
        else:
            assert isinstance(part, Refusal)
            part.refusal = said
            await self._tell(response_events.RefusalDone(**at, refusal=said))
        await self._tell(response_events.ContentPartDone(**at, part=part))

    async def _end_reasoning(self, status: Status = "completed") -> None:
        if self._thought is None:
            return
        place, self._thought = self._thought, None
        thought = place.item
        assert isinstance(thought, Reasoning)
        part = ReasoningText(text="".join(self._pieces))
        self._pieces.clear()
        thought.content, thought.status = [part], status
        at = {**place.at, "content_index": 0}
        await self._tell(response_events.ReasoningTextDone(**at, text=part.text))
        await self._tell(response_events.ContentPartDone(**at, part=part))
        await self._done(place)

    # What it calls

    async def call_began(self, call: Calling) -> None:
        await self._end_reasoning()
        await self._end_arguments()
        self._arguing = call
        item = call_item(call, ids.item(TYPES[call.type]), "in_progress")
        if isinstance(item, CodeInterpreterCall):
            item.container_id, item.code = self._container_id, ""
        place = self._calls[call.id] = await self._add(item)
        if isinstance(item, FileSearchCall):
            await self._tell(response_events.FileSearchInProgress(**place.at))
        elif isinstance(item, CodeInterpreterCall):
            await self._tell(response_events.CodeInProgress(**place.at))

    async def arguments(self, call: Calling, delta: str) -> None:
        place = self._calls[call.id]
        if isinstance(place.item, FunctionCall):  # of hosted ones they are not the client's
            self._pieces.append(delta)
            await self._tell(response_events.ArgumentsDelta(**place.at, delta=delta))

    async def _end_arguments(self) -> None:
        call, self._arguing = self._arguing, None
        if call is None:
            return
        place = self._calls[call.id]
        if isinstance(place.item, FunctionCall):
            place.item.arguments = "".join(self._pieces)
            self._pieces.clear()
            done = response_events.ArgumentsDone(**place.at, name=place.item.name, arguments=place.item.arguments)
            await self._tell(done)

    async def turn_ended(self, calls: Sequence[Calling], used: turns.Used) -> None:
        await self.message_ended("")
        await self._end_arguments()
        ended = {call.id: call for call in calls}
        for call_id, place in self._calls.items():
            call = ended.get(call_id)
            if call is None or (isinstance(place.item, FunctionCall) and call.output is not None):
                await self._forget(place)
            elif isinstance(place.item, FunctionCall):
                place.item.status = "completed"
                await self._done(place)
            else:
                self._waiting[call_id] = place
                await self._begin_call(call, place)
        total = self.used
        self.used = Used(
            total.input + used.prompt,
            total.output + used.completion,
            total.cached + used.cached,
            total.reasoning + used.reasoning,
        )
        made, text, cut = self._made, "".join(self._text), self._cut
        waiting = {call.id: self._waiting[call.id].item.id for call in calls if call.id in self._waiting}
        self.output += made
        self._begin_turn()
        self.begun = True
        if self._keep is not None:
            await self._keep.turn(Said(text, calls, waiting, cut), made, self.used)

    async def _begin_call(self, call: Calling, place: Place) -> None:
        """Its arguments are there, and it is made."""
        item = place.item
        if isinstance(item, FileSearchCall):
            _become(item, call_item(call, item.id))
            item.status = "searching"
            await self._tell(response_events.FileSearchSearching(**place.at))
        elif isinstance(item, CodeInterpreterCall):
            item.code, item.status = _code(call), "interpreting"
            await self._tell(response_events.CodeDelta(**place.at, delta=item.code))
            await self._tell(response_events.CodeDone(**place.at, code=item.code))
            await self._tell(response_events.CodeInterpreting(**place.at))

    async def call_ended(self, call: Calling) -> None:
        place = self._waiting.pop(call.id)
        item = place.item
        if call.result is None:  # it could not be made
            item.status = "failed"
        else:
            _become(item, call_item(call, item.id))
        if isinstance(call.result, Ran):
            if call.result.failed:
                item.status = "failed"
            await self._tell(response_events.CodeCompleted(**place.at))
        elif isinstance(call.result, Searched):
            await self._tell(response_events.FileSearchCompleted(**place.at))
        await self._done(place)
        if self._keep is not None:
            await self._keep.call(call, item)

    # Where it does not come to its end

    async def fail(self) -> None:
        """What is not done is told to be incomplete. Of the turn in hand nothing is a part of the output."""
        await self.message_ended("failed")
        for place in (*self._calls.values(), *self._waiting.values()):
            place.item.status = "incomplete"
            await self._done(place)

    def cut(self) -> None:
        """The same, where nobody listens any more."""
        for place in self._waiting.values():
            place.item.status = "incomplete"

    # Items

    async def _add(self, item: Item) -> Place:
        place = Place(self._index, item)
        self._index += 1
        self._made.append(item)
        self.begun = True
        shown = items.shown(item, self._include)
        await self._tell(response_events.OutputItemAdded(output_index=place.index, item=shown))
        return place

    async def _done(self, place: Place) -> None:
        shown = items.shown(place.item, self._include)
        await self._tell(response_events.OutputItemDone(output_index=place.index, item=shown))

    async def _forget(self, place: Place) -> None:
        place.item.status = "incomplete"
        self._made.remove(place.item)
        await self._done(place)


def _code(call: Calling) -> str:
    """A model may write its code as it is, in the place of JSON."""
    arguments = arguments_of(call)
    code = call.arguments if arguments is None else arguments.get("code")
    return code if isinstance(code, str) else ""


def _become(item: Item, other: Item) -> None:
    for name in item.__struct_fields__:
        setattr(item, name, getattr(other, name))


def _annotation(found: turns.Annotation) -> items.Annotation:
    if found.type == "file_citation":
        return items.FileCitation(file_id=found.file_id, index=found.begins, filename=found.filename)
    return items.ContainerFileCitation(
        container_id=found.container_id,
        file_id=found.container_file_id,
        start_index=found.begins,
        end_index=found.ends,
        filename=found.filename,
    )
