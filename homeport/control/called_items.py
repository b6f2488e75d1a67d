"""Calls of tools, as items. What a response has called is told of by these, and so is a run's, where its thread is read
as a conversation."""

from typing import Literal

import msgspec

from homeport.store.calls import Calling, MadeFile, Ran, Searched, code_of
from homeport.wire.items import (
    CodeImage,
    CodeInterpreterCall,
    CodeLogs,
    FileSearchCall,
    FileSearchResult,
    FunctionCall,
    Status,
)

CallItem = FunctionCall | FileSearchCall | CodeInterpreterCall

TYPES: dict[str, Literal["function_call", "file_search_call", "code_interpreter_call"]] = {
    "function": "function_call",
    "file_search": "file_search_call",
    "code_interpreter": "code_interpreter_call",
}


def call_item(calling: Calling, item_id: str, status: Status = "completed") -> CallItem:
    """A hosted one's has what came of it, too."""
    if calling.type == "function":
        return FunctionCall(
            id=item_id, call_id=calling.id, name=calling.name, arguments=calling.arguments, status=status
        )
    if calling.type == "file_search":
        return _searched(calling, item_id, status)
    return _ran(calling, item_id, status)


def _searched(calling: Calling, item_id: str, status: Status) -> FileSearchCall:
    found = calling.result if isinstance(calling.result, Searched) else None
    if found is None:
        return FileSearchCall(id=item_id, status=status, queries=_queries(calling.arguments))
    results = [
        FileSearchResult(
            file_id=passage.file_id,
            text=passage.text,
            filename=passage.filename,
            score=passage.score,
            attributes=passage.attributes or {},
        )
        for passage in found.passages
    ]
    return FileSearchCall(id=item_id, status=status, queries=found.queries, results=results)


def _ran(calling: Calling, item_id: str, status: Status) -> CodeInterpreterCall:
    done = calling.result if isinstance(calling.result, Ran) else None
    if done is None:
        return CodeInterpreterCall(id=item_id, status=status, container_id="", code=code_of(calling.arguments)[0])
    outputs: list[CodeLogs | CodeImage] = [CodeLogs(logs=done.logs)] if done.logs else []
    outputs += [CodeImage(url=picture_url(done.container_id, one)) for one in done.files if one.image]
    return CodeInterpreterCall(
        id=item_id, status=status, container_id=done.container_id, code=done.code, outputs=outputs
    )


def picture_url(container_id: str, file: MadeFile) -> str:
    """Of this server: whoever asks it for that says who he is, as always. What was imported has no container."""
    if not file.container_file_id:
        return f"/v1/files/{file.file_id}/content"
    return f"/v1/containers/{container_id}/files/{file.container_file_id}/content"


def _queries(arguments: str) -> list[str]:
    """The model has written them: they may be anything."""
    try:
        return msgspec.json.decode(arguments, type=_Queries).queries
    except (msgspec.MsgspecError, RecursionError):
        return []


class _Queries(msgspec.Struct):
    queries: list[str]
