"""One run: its steps, as they came."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.requests import Request

from homeport.dashboard.client import Client, Refused

_OVER = frozenset({"completed", "failed", "cancelled", "expired", "incomplete"})
#: The texts of passages, too.
_CONTENT = ["step_details.tool_calls[*].file_search.results[*].content"]
_PAGE = 100
#: Of a run that goes on and on, the latest.
_MOST_STEPS = 300


async def run(client: Client, request: Request) -> Mapping[str, Any]:
    thread = f"/v1/threads/{request.path_params['thread_id']}"
    path = f"{thread}/runs/{request.path_params['run_id']}"
    found, steps, messages = await asyncio.gather(
        client.get(path),
        _steps(client, f"{path}/steps"),
        client.get(f"{thread}/messages", run_id=request.path_params["run_id"], limit=_PAGE),
    )
    texts = {message["id"]: message for message in messages["data"]}
    return {
        "run": found,
        "over": found["status"] in _OVER,
        "steps": [_shown(step, texts) for step in steps],
        "most": _MOST_STEPS,
        "assistant": await _assistant(client, found["assistant_id"]),
        "wanted": [
            {**call, "pretty": pretty(call["function"]["arguments"])}
            for call in ((found["required_action"] or {}).get("submit_tool_outputs") or {"tool_calls": []})[
                "tool_calls"
            ]
        ],
    }


async def _steps(client: Client, path: str) -> Sequence[Mapping[str, Any]]:
    """In the order in which they came."""
    found: list[Mapping[str, Any]] = []
    after = None
    while len(found) < _MOST_STEPS:
        page = await client.get(path, limit=_PAGE, order="desc", after=after, include=_CONTENT)
        found += page["data"]
        if not page["has_more"]:
            break
        after = page["data"][-1]["id"]
    return found[::-1]


async def _assistant(client: Client, assistant_id: str) -> Mapping[str, Any] | None:
    """It may have been deleted since."""
    try:
        assistant: Mapping[str, Any] = await client.get(f"/v1/assistants/{assistant_id}")
    except Refused:
        return None
    return assistant


def _shown(step: Mapping[str, Any], messages: Mapping[str, Any]) -> Mapping[str, Any]:
    details = step["step_details"]
    if step["type"] == "message_creation":
        return {**step, "message": messages.get(details["message_creation"]["message_id"]), "calls": []}
    return {**step, "message": None, "calls": [_call(call) for call in details["tool_calls"]]}


def _call(call: Mapping[str, Any]) -> Mapping[str, Any]:
    if call["type"] != "function":
        return call
    function = call["function"]
    output = function["output"]
    return {
        **call,
        "function": {
            **function,
            "arguments": pretty(function["arguments"]),
            "output": None if output is None else pretty(output),
        },
    }


def pretty(text: str) -> str:
    """JSON on several lines; what is none stays as it is."""
    try:
        return msgspec.json.format(text, indent=2)
    except msgspec.DecodeError:
        return text
