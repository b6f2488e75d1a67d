"""OpenAI's messages become the plain ones that chat templates know: system, user, assistant and tool, text alone."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from homeport.errors import UnsupportedParameter

Message = Mapping[str, Any]

_KINDS = {
    "image_url": "it has no vision",
    "input_audio": "it does not hear",
    "file": "it does not read files",
}
_ROLES = {"developer": "system", "function": "tool"}


def plain(messages: Sequence[Message], model: str) -> list[dict[str, Any]]:
    """messages: as they stand in the request, already validated. Raises UnsupportedParameter for what is not text.

    A function's call and answer become a tool's; the name of an author is put before the text ("Ann: ..."), because
    templates have no place for it; a refusal is what the assistant said.
    """
    written: list[dict[str, Any]] = []
    for at, message in enumerate(messages):
        role = message["role"]
        content = _text(message.get("content"), f"messages[{at}].content", model)
        if message.get("audio"):
            raise _not_text(f"messages[{at}].audio", model, "it does not hear")
        if refusal := message.get("refusal"):
            content = f"{content}\n{refusal}" if content else refusal
        if (name := message.get("name")) and role not in ("tool", "function"):
            content = f"{name}: {content}"
        new: dict[str, Any] = {"role": _ROLES.get(role, role), "content": content}
        if calls := _calls(message, at, model):
            new["tool_calls"] = calls
        if role == "tool":
            new["tool_call_id"] = message["tool_call_id"]
        elif role == "function":
            new["tool_call_id"] = _id_before(written, message["name"])
        written.append(new)
    return written


def _text(content: object, where: str, model: str) -> str:
    """The text of a content: itself, or its text parts, each on a line of its own."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    assert isinstance(content, Sequence)
    texts: list[str] = []
    for at, part in enumerate(content):
        kind = part["type"]
        if part.get("prompt_cache_breakpoint"):
            raise UnsupportedParameter(
                f"The model `{model}` caches prompts by itself. Leave `prompt_cache_breakpoint` out.",
                param=f"{where}[{at}].prompt_cache_breakpoint",
            )
        if kind not in ("text", "refusal"):
            raise _not_text(f"{where}[{at}]", model, _KINDS.get(kind, f"it cannot read {kind!r}"))
        texts.append(part[kind])
    return "\n".join(texts)


def _not_text(where: str, model: str, why: str) -> UnsupportedParameter:
    return UnsupportedParameter(
        f"The model `{model}` takes text only: {why}. Send text, or ask a model that can, through an upstream.",
        param=where,
    )


def _calls(message: Message, at: int, model: str) -> list[dict[str, Any]]:
    calls = []
    for number, call in enumerate(message.get("tool_calls") or ()):
        if call["type"] != "function":
            raise UnsupportedParameter(
                f"The model `{model}` calls functions only. Write a custom tool as a function with one string.",
                param=f"messages[{at}].tool_calls[{number}]",
            )
        calls.append(_call(call["id"], call["function"]))
    if old := message.get("function_call"):
        calls.append(_call(f"call_{at}", old))
    return calls


def _call(identifier: str, function: Message) -> dict[str, Any]:
    """Templates want the arguments as an object; text that is none stays text."""
    arguments: object = function["arguments"]
    try:
        read = json.loads(function["arguments"] or "{}")
    except (ValueError, RecursionError):
        read = None
    if isinstance(read, dict):
        arguments = read
    return {"id": identifier, "type": "function", "function": {"name": function["name"], "arguments": arguments}}


def _id_before(written: Sequence[Message], name: str) -> str:
    """The call that a function's answer belongs to: the last one of that name."""
    for message in reversed(written):
        for call in message.get("tool_calls", ()):
            if call["function"]["name"] == name:
                return str(call["id"])
    return f"call_{name}"
