"""Upstream models that call tools: what a scripted upstream answers a chat request, as a stream."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from tests.fake_upstream import Behaviour, Visit, event, stream

Delta = dict[str, Any]
USAGE = {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}


def text(said: str) -> Delta:
    return {"content": said}


def call(name: str, arguments: Any, *, at: int = 0, id: str | None = None) -> Delta:
    """arguments: a string is said as it is."""
    said = arguments if isinstance(arguments, str) else json.dumps(arguments)
    function = {"name": name, "arguments": said}
    return {"tool_calls": [{"index": at, "id": id or f"call_{name}_{at}", "type": "function", "function": function}]}


def says(*deltas: Delta | str, finish: str | None = None, usage: Any = USAGE) -> Behaviour:
    """Answers every request so. Texts may be said as such."""
    return lambda visit: stream(visit, answer(visit, deltas, finish, usage))


def answer(visit: Visit, deltas: Sequence[Delta | str], finish: str | None = None, usage: Any = USAGE) -> list[bytes]:
    said = [text(one) if isinstance(one, str) else one for one in deltas]
    calls = any("tool_calls" in one for one in said)
    head: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": f"{visit.json['model']}-2024",
    }
    choices: list[dict[str, Any]] = [{"index": 0, "delta": one, "finish_reason": None} for one in said]
    choices.append({"index": 0, "delta": {}, "finish_reason": finish or ("tool_calls" if calls else "stop")})
    found = [event({**head, "choices": [one]}) for one in choices]
    if usage:
        found.append(event({**head, "choices": [], "usage": usage}))
    return [*found, b"data: [DONE]\n\n"]


def turns(*behaviours: Behaviour) -> Behaviour:
    """The first request of a conversation is answered by the first of them, and so on: by how often the assistant has
    spoken since the last message of the user's."""

    def behave(visit: Visit) -> None:
        behaviours[spoken(visit)](visit)

    return behave


def spoken(visit: Visit) -> int:
    roles = [message["role"] for message in visit.json["messages"]]
    last = max(at for at, role in enumerate(roles) if role == "user")
    return roles[last:].count("assistant")


def outputs(visit: Visit) -> list[str]:
    return [message["content"] for message in visit.json["messages"] if message["role"] == "tool"]


def then(of: Callable[[Visit], Behaviour]) -> Behaviour:
    """What is answered depends on what was asked."""
    return lambda visit: of(visit)(visit)
