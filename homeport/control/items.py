"""Items as rows, and as what a model is told of them.

The rows of one thread, conversation or response are in the order of `seq`. What came in and what came out have the same
form (wire/items.py); messages of threads have another, which thread_items.py reads.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import UNSET
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock, ids
from homeport.control.owners import Owner
from homeport.errors import InvalidRequest, NotFound
from homeport.store.tables import items
from homeport.wire.items import (
    CodeInterpreterCall,
    CodeLogs,
    FileSearchCall,
    FunctionCall,
    FunctionCallOutput,
    InputImage,
    InputItem,
    InputText,
    Item,
    ItemReference,
    Message,
    OutputText,
    Part,
    Refusal,
)

Row = Mapping[Any, Any]

#: Items that one request may refer to.
MOST_REFERENCES = 1000
#: Of an item's members, those that have a column of their own.
_COLUMNS = ("type", "id", "role", "status", "content")


def named(coming: Sequence[InputItem], referenced: Mapping[str, Item]) -> list[Item]:
    """Each with an id of ours: what is sent again is another item. referenced: what references stand for."""
    made: list[Item] = []
    for one in coming:
        item = referenced[one.id] if isinstance(one, ItemReference) else one
        made.append(msgspec.structs.replace(item, id=ids.item(_type(item))))
    return made


async def referenced(
    connection: AsyncConnection, owner: Owner, coming: Sequence[InputItem], param: str
) -> dict[str, Item]:
    """What the references among them stand for. param: the request's member that they are. A few bytes must not become
    many: an item is named once, and no more than MOST_REFERENCES are.

    Raises NotFound, InvalidRequest.
    """
    wanted: dict[str, int] = {}
    for at, one in enumerate(coming):
        if not isinstance(one, ItemReference):
            continue
        if one.id in wanted:
            raise InvalidRequest(
                f"Duplicate item found with id {one.id}. Remove duplicate items from your input and try again.",
                param=f"{param}[{at}].id",
            )
        wanted[one.id] = at
    if not wanted:
        return {}
    if len(wanted) > MOST_REFERENCES:
        raise InvalidRequest(
            f"Invalid '{param}': it refers to {len(wanted)} items, and {MOST_REFERENCES} are the most. Go on with "
            "'previous_response_id' or 'conversation' instead.",
            param=param,
            code="array_above_max_length",
        )
    query = sa.select(items).where(items.c.id.in_(wanted), items.c.project_id == owner.project, of_responses())
    found = {row["id"]: as_item(row) for row in (await connection.execute(query)).mappings()}
    for item_id, at in wanted.items():
        if item_id not in found:
            raise NotFound(f"Item with id '{item_id}' not found.", param=f"{param}[{at}].id")
    return found


def of_responses() -> "sa.ColumnElement[bool]":
    """Which rows have the form of responses. Messages of threads have another, and no `data`."""
    return items.c.data.is_not(sa.null())


async def add(
    connection: AsyncConnection,
    owner: Owner,
    made: Sequence[Item],
    *,
    thread_seq: int | None = None,
    response_seq: int | None = None,
    output: bool = False,
) -> None:
    """In the caller's transaction, at the end of what they are in. made: with their ids."""
    if not made:
        return
    where = {
        "project_id": owner.project,
        "thread_seq": thread_seq,
        "response_seq": response_seq,
        "output": output,
        "created_at": int(clock.now()),
    }
    await connection.execute(sa.insert(items), [{**where, **values(item)} for item in made])


def values(item: Item) -> dict[str, Any]:
    """Of its row: what is in the item."""
    written = msgspec.to_builtins(item)
    of_columns = {name: written.pop(name, None) for name in _COLUMNS}
    if not isinstance(item, Message):  # of reasoning
        written["content"] = of_columns.pop("content")
        of_columns["content"] = None
    return {**of_columns, "data": {name: value for name, value in written.items() if value is not None}}


def as_item(row: Row) -> Item:
    """Of a row in the form of responses."""
    columns = {name: row[name] for name in _COLUMNS if row[name] is not None}
    item: Item = msgspec.convert({**columns, **row["data"]}, Item)
    return item


def _type(item: Item) -> str:
    return str(item.__struct_config__.tag)


# As a model is told


def as_messages(told: Sequence[Item]) -> list[dict[str, Any]]:
    """Messages of a chat completion. Calls stand in one message with what the assistant said before, and their outputs
    follow it, wherever these came; reasoning is left out.

    Files must have become texts and addresses before (item_files.py). Raises InvalidRequest: a call has no output, or
    an output no call.
    """
    outputs = _Outputs(told)
    messages: list[dict[str, Any]] = []
    calls: list[_Call] = []
    for item in told:
        if isinstance(item, Message):
            outputs.follow(messages, calls)
            messages.append(_message(item))
        elif isinstance(item, FunctionCall | FileSearchCall | CodeInterpreterCall):
            calls.append(item)
        elif isinstance(item, FunctionCallOutput):  # a call after it was made by who knew it
            outputs.follow(messages, calls)
    outputs.follow(messages, calls)
    outputs.check_taken()
    return messages


_Call = FunctionCall | FileSearchCall | CodeInterpreterCall


class _Outputs:
    def __init__(self, told: Sequence[Item]) -> None:
        self._waiting: dict[str, list[FunctionCallOutput]] = defaultdict(list)
        for item in told:
            if isinstance(item, FunctionCallOutput):
                self._waiting[item.call_id].append(item)

    def follow(self, messages: list[dict[str, Any]], calls: list[_Call]) -> None:
        """The calls, which are none any more, and their outputs."""
        if not calls:
            return
        if not messages or messages[-1]["role"] != "assistant":
            messages.append({"role": "assistant", "content": None})
        messages[-1]["tool_calls"] = [_as_call(call) for call in calls]
        pictures: list[dict[str, Any]] = []
        for call in calls:
            text, seen = self._of(call)
            messages.append({"role": "tool", "tool_call_id": _call_id(call), "content": text})
            pictures += seen
        if pictures:  # a tool's message has none
            messages.append({"role": "user", "content": pictures})
        calls.clear()

    def _of(self, call: _Call) -> tuple[str, list[dict[str, Any]]]:
        """Text, and pictures. Raises InvalidRequest."""
        if isinstance(call, FileSearchCall):
            found = [f"[{one.filename or one.file_id}]\n{one.text}" for one in call.results or ()]
            return "\n\n".join(found) or "Nothing was found.", []
        if isinstance(call, CodeInterpreterCall):
            return "\n".join(one.logs for one in call.outputs or () if isinstance(one, CodeLogs)), []
        if not self._waiting[call.call_id]:
            raise InvalidRequest(f"No tool output found for function call {call.call_id}.", param="input")
        output = self._waiting[call.call_id].pop(0).output
        if isinstance(output, str):
            return output, []
        parts = [_part(part) for part in output]
        pictures = [part for part in parts if part["type"] == "image_url"]
        if pictures:
            pictures.insert(0, {"type": "text", "text": f"What {call.name} gave:"})
        return "\n".join(part["text"] for part in parts if part["type"] == "text"), pictures

    def check_taken(self) -> None:
        """Raises InvalidRequest."""
        for call_id, left in self._waiting.items():
            if left:
                raise InvalidRequest(
                    f"No tool call found for function call output with call_id {call_id}.", param="input"
                )


def _message(item: Message) -> dict[str, Any]:
    if item.role == "assistant":
        message: dict[str, Any] = {"role": "assistant", "content": _said(item.content)}
        refusal = "".join(part.refusal for part in item.content if isinstance(part, Refusal))
        return {**message, "refusal": refusal} if refusal else message
    parts = [_part(part) for part in item.content]
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return {"role": item.role, "content": parts[0]["text"]}
    return {"role": item.role, "content": parts or ""}


def _said(content: Sequence[Part]) -> str:
    return "".join(part.text for part in content if isinstance(part, OutputText | InputText))


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, InputImage):
        image = {"url": part.image_url}
        if part.detail != "auto":
            image["detail"] = "high" if part.detail == "original" else part.detail
        written: dict[str, Any] = {"type": "image_url", "image_url": image}
    elif isinstance(part, InputText):
        written = {"type": "text", "text": part.text}
    else:
        raise AssertionError(f"a {part.__struct_config__.tag} is no part of a chat")
    if part.prompt_cache_breakpoint is not UNSET:
        written["prompt_cache_breakpoint"] = msgspec.to_builtins(part.prompt_cache_breakpoint)
    return written


def _call_id(call: _Call) -> str:
    """OpenAI's chat takes 40 characters."""
    return call.call_id if isinstance(call, FunctionCall) else f"call_{call.id[-24:]}"


def _as_call(call: _Call) -> dict[str, Any]:
    if isinstance(call, FunctionCall):
        name, arguments = call.name, call.arguments
    elif isinstance(call, FileSearchCall):
        name, arguments = "file_search", msgspec.json.encode({"queries": call.queries}).decode()
    else:
        name, arguments = "code_interpreter", msgspec.json.encode({"code": call.code or ""}).decode()
    return {"id": _call_id(call), "type": "function", "function": {"name": name, "arguments": arguments}}
