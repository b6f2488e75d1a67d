"""A chat completion, put together from the chunks of its stream.

Source: CreateChatCompletionStreamResponse and CreateChatCompletionResponse. What upstreams add to a delta is kept, too:
texts are joined (`reasoning_content`), of anything else the last one holds.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from homeport.backends.capabilities import Frame
from homeport.backends.local import usage
from homeport.backends.upstreams.events import data_of, each

#: Texts of a delta that come whole.
_WHOLE = ("role", "id", "type", "name")


class _Choice(Struct):
    index: int = 0
    delta: dict[str, Any] | None = None
    logprobs: dict[str, Any] | None = None
    finish_reason: str | None = None


class _Chunk(Struct):
    id: str | None = None
    created: int | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    usage: dict[str, Any] | None = None


_chunk = msgspec.json.Decoder(_Chunk)
#: Of a chunk, what the completion has as well.
_SHARED = ("id", "created", "model", "system_fingerprint", "service_tier", "usage")


def assembled(frames: Iterable[Frame]) -> dict[str, Any]:
    """All frames of a stream -> the completion. Raises msgspec.DecodeError, UnicodeDecodeError, RecursionError."""
    members: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for frame in frames:
        if frame.usage is not None:
            members["usage"] = usage.shown(frame.usage)
        for event, _ in each(frame.data):
            if data := data_of(event).strip():
                _take(_chunk.decode(data), members, choices)
    for choice in choices.values():
        calls = choice["message"].get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, dict):
                call.pop("index", None)
    return {**members, "object": "chat.completion", "choices": [choices[index] for index in sorted(choices)]}


def _take(chunk: _Chunk, members: dict[str, Any], choices: dict[int, dict[str, Any]]) -> None:
    for choice in chunk.choices or ():
        known = choices.setdefault(choice.index, _begun(choice.index))
        _grow(known["message"], choice.delta or {})
        if choice.logprobs is not None:
            known["logprobs"] = _grow(known["logprobs"] or {}, choice.logprobs)
        known["finish_reason"] = choice.finish_reason or known["finish_reason"]
    shared = ((name, getattr(chunk, name)) for name in _SHARED)
    members.update((name, value) for name, value in shared if value is not None)


def _begun(index: int) -> dict[str, Any]:
    message = {"role": "assistant", "content": None, "refusal": None}
    return {"index": index, "message": message, "logprobs": None, "finish_reason": None}


def _grow(known: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    for name, value in more.items():
        before = known.get(name)
        if value is None:
            known.setdefault(name, None)
        elif isinstance(value, list):
            known[name] = _longer(before if isinstance(before, list) else [], value)
        elif isinstance(before, str) and isinstance(value, str) and name not in _WHOLE:
            known[name] = before + value
        elif isinstance(before, dict) and isinstance(value, dict):
            _grow(before, value)
        else:
            known[name] = value
    return known


def _longer(known: list[Any], more: list[Any]) -> list[Any]:
    """A piece says by `index` which one it goes on with, as those of calls do; others are there for themselves."""
    for piece in more:
        index = piece.get("index") if isinstance(piece, dict) else None
        same = (one for one in known if isinstance(one, dict) and one.get("index") == index)
        before = next(same, None) if index is not None else None
        if before is None:
            known.append(piece)
        else:
            _grow(before, piece)
    return known
