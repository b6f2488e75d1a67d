"""A thread, read as a conversation: its messages, and what its runs have called, as items.

A run's calls stand before the message that it said after them. Calls after its last message follow that; those of a run
that has said nothing, what was said before it began. Each item has an id that stays: a message its own, a call its
step's with a number.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.control.called_items import call_item
from homeport.store.calls import Calling, ToolType
from homeport.store.tables import files, items, run_steps, runs
from homeport.wire import threads as wire
from homeport.wire.items import (
    Annotation,
    FileCitation,
    FilePath,
    FunctionCallOutput,
    InputImage,
    InputText,
    Item,
    Message,
    OutputText,
    Part,
    Refusal,
    Status,
)

_PREFIXES = {"function": "fc", "file_search": "fs", "code_interpreter": "ci"}
_OUTPUT = "fco"


class _Call(msgspec.Struct):
    """What places a call; the rest of it may be long."""

    type: ToolType
    output: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def given(self) -> bool:
        return bytes(self.output) != b"null"


_calls = msgspec.json.Decoder(list[_Call])


class _Said(NamedTuple):
    id: str
    created_at: int


class Place(NamedTuple):
    """Of an item in its thread. step: of a call, whose step it is (`run_steps.seq`); call: the how manieth there."""

    id: str
    step: int = 0
    call: int = 0


async def places(connection: AsyncConnection, thread_seq: int) -> list[Place]:
    """Of all items, in their order."""
    said = sa.select(items.c.id, items.c.created_at).where(items.c.thread_seq == thread_seq)
    messages = [_Said(*row) for row in await connection.execute(said.order_by(items.c.seq))]
    before, after, first = await _called(connection, thread_seq, messages)
    placed = [*first]
    for message in messages:
        placed += [*before[message.id], Place(message.id), *after[message.id]]
    return placed


_Around = dict[str, list[Place]]


async def _called(
    connection: AsyncConnection, thread_seq: int, messages: Sequence[_Said]
) -> tuple[_Around, _Around, list[Place]]:
    """What was called before each message, after it, and before them all."""
    before, after, first = defaultdict[str, list[Place]](list), defaultdict[str, list[Place]](list), list[Place]()
    query = (
        sa.select(run_steps.c.seq, run_steps.c.id, run_steps.c.run_seq, run_steps.c.message_id, runs.c.created_at)
        .add_columns(sa.cast(run_steps.c.calls, sa.Text).label("calls"))
        .join(runs, runs.c.seq == run_steps.c.run_seq)
        .where(runs.c.thread_seq == thread_seq)
        .order_by(run_steps.c.run_seq, run_steps.c.seq)
    )
    there = {message.id for message in messages}
    run_seq: int | None = None
    waiting: list[Place] = []
    last: str | None = None
    begun = 0

    def end_run() -> None:
        behind = last or _said_before(messages, begun)
        (first if behind is None else after[behind]).extend(waiting)

    for step in await connection.execute(query):
        if step.run_seq != run_seq:
            end_run()
            run_seq, waiting, last, begun = step.run_seq, [], None, step.created_at
        if step.message_id in there:
            before[step.message_id] += waiting
            waiting, last = [], step.message_id
        elif step.calls is not None:
            waiting += _places_of(step)
    end_run()
    return before, after, first


def _said_before(messages: Sequence[_Said], moment: int) -> str | None:
    """The last that was said until a run began."""
    return next((one.id for one in reversed(messages) if one.created_at <= moment), None)


def _places_of(step: "sa.Row[Any, Any]") -> list[Place]:
    """A function's output follows the calls of its step."""
    suffix = step.id.partition("_")[2]
    calls = _calls.decode(step.calls)
    made = [Place(f"{_PREFIXES[call.type]}_{suffix}_{at}", step.seq, at) for at, call in enumerate(calls)]
    given = [at for at, call in enumerate(calls) if call.type == "function" and call.given]
    return made + [Place(f"{_OUTPUT}_{suffix}_{at}", step.seq, at) for at in given]


async def load(connection: AsyncConnection, chosen: Sequence[Place]) -> list[Item]:
    """The items at some places."""
    messages = await _rows(connection, items.c.id, [place.id for place in chosen if not place.step])
    steps = await _rows(connection, run_steps.c.seq, {place.step for place in chosen if place.step})
    names = await _filenames(connection, messages.values())
    return [
        _of_call(place, steps[place.step]) if place.step else message_item(messages[place.id], names)
        for place in chosen
    ]


async def _rows(
    connection: AsyncConnection, key: "sa.Column[Any]", wanted: Collection[Any]
) -> dict[Any, sa.RowMapping]:
    rows = await connection.execute(sa.select(key.table).where(key.in_(wanted)))
    return {row[key]: row for row in rows.mappings()}


async def _filenames(connection: AsyncConnection, messages: Iterable[Mapping[Any, Any]]) -> Mapping[str, str]:
    """Of the files that are cited, as far as they are there."""
    cited = {
        annotation.file_citation.file_id
        for message in messages
        for part in _content(message)
        if isinstance(part, wire.TextContent)
        for annotation in part.text.annotations
        if isinstance(annotation, wire.FileCitationAnnotation)
    }
    if not cited:
        return {}
    query = sa.select(files.c.id, files.c.filename).where(files.c.id.in_(cited))
    return {row.id: row.filename for row in await connection.execute(query)}


def _content(message: Mapping[Any, Any]) -> list[wire.Content]:
    return msgspec.convert(message["content"] or [], list[wire.Content])


def _of_call(place: Place, step: Mapping[Any, Any]) -> Item:
    calling = msgspec.convert(step["calls"][place.call], Calling)
    if place.id.startswith(f"{_OUTPUT}_"):
        return FunctionCallOutput(id=place.id, call_id=calling.id, output=calling.output or "")
    ended: Status = "incomplete"
    if step["status"] == "in_progress" and calling.output is None:
        ended = "in_progress"
    elif calling.output is not None or step["status"] == "completed":
        ended = "completed"
    return call_item(calling, place.id, ended)


def message_item(message: Mapping[Any, Any], filenames: Mapping[str, str]) -> Message:
    """filenames: of the files that are cited."""
    assistant = message["role"] == "assistant"
    return Message(
        id=message["id"],
        status=message["status"],
        role=message["role"],
        content=[_part(part, assistant, filenames) for part in _content(message)],
    )


def _part(part: wire.Content, assistant: bool, filenames: Mapping[str, str]) -> Part:
    match part:
        case wire.TextContent(text):
            if not assistant:
                return InputText(text=text.value)
            return OutputText(text=text.value, annotations=[_annotation(one, filenames) for one in text.annotations])
        case wire.ImageFileContent(image):
            return InputImage(file_id=image.file_id, detail=image.detail)
        case wire.ImageURLContent(image):
            return InputImage(image_url=image.url, detail=image.detail)
        case wire.RefusalContent(refusal):
            return Refusal(refusal=refusal)


def _annotation(
    annotation: wire.FileCitationAnnotation | wire.FilePathAnnotation, filenames: Mapping[str, str]
) -> Annotation:
    if isinstance(annotation, wire.FileCitationAnnotation):
        file_id = annotation.file_citation.file_id
        return FileCitation(file_id=file_id, index=annotation.start_index, filename=filenames.get(file_id, ""))
    return FilePath(file_id=annotation.file_path.file_id, index=annotation.start_index)
