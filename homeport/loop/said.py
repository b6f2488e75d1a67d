"""What a turn has said, as the chat completions of later turns have it."""

from collections.abc import Sequence
from typing import Any

import msgspec

from homeport.loop.turns import Calling


def message(text: str, calls: Sequence[Calling]) -> dict[str, Any]:
    """The assistant's, of a turn that has said or called something."""
    if not calls:
        return {"role": "assistant", "content": text}
    return {"role": "assistant", "content": text or None, "tool_calls": list(map(_call, calls))}


def outputs(calls: Sequence[Calling]) -> list[dict[str, Any]]:
    """Messages of those that have one."""
    return [
        {"role": "tool", "tool_call_id": call.id, "content": call.output} for call in calls if call.output is not None
    ]


def arguments_of(call: Calling) -> dict[str, Any] | None:
    """None: what the model has written is no JSON object."""
    try:
        return msgspec.json.decode(call.arguments or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return None


def _call(call: Calling) -> dict[str, Any]:
    """Some servers fail at arguments that are no JSON: they are told of them as of a text."""
    arguments = call.arguments or "{}"
    if arguments_of(call) is None:
        arguments = msgspec.json.encode({"text": arguments}).decode()
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}
