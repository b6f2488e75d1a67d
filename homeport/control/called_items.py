"""Calls of tools, as items. What a response has called is told of by these, and so is a run's, where its thread is read
as a conversation."""

from typing import Any, Literal

import msgspec

from homeport.store.calls import Calling, Ran, Searched
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
        queries = _arguments(calling).get("queries")
        texts = [one for one in queries if isinstance(one, str)] if isinstance(queries, list) else []
        return FileSearchCall(id=item_id, status=status, queries=texts)
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
        code = _arguments(calling).get("code")
        return CodeInterpreterCall(
            id=item_id, status=status, container_id="", code=code if isinstance(code, str) else None
        )
    outputs: list[CodeLogs | CodeImage] = [CodeLogs(logs=done.logs)] if done.logs else []
    outputs += [CodeImage(url=picture_url(done.container_id, one.container_file_id)) for one in done.files if one.image]
    return CodeInterpreterCall(
        id=item_id, status=status, container_id=done.container_id, code=done.code, outputs=outputs
    )


def picture_url(container_id: str, file_id: str) -> str:
    """Of this server: whoever asks it for that says who he is, as always."""
    return f"/v1/containers/{container_id}/files/{file_id}/content"


def _arguments(calling: Calling) -> dict[str, Any]:
    """The model has written them: they may be anything."""
    try:
        return msgspec.json.decode(calling.arguments, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return {}
