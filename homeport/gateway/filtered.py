"""What of requests and answers is moderated, and answers without what was flagged. Nothing here asks anybody."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from homeport.backends.capabilities import Call, Frame
from homeport.errors import InvalidRequest

#: Names of the categories that something is flagged for; none: it is not.
Categories = frozenset[str]
#: Azure's four categories, and in which of them OpenAI's are.
_AZURE = {"hate": "hate", "harassment": "hate", "self-harm": "self_harm", "sexual": "sexual", "violence": "violence"}
CONTENT_FILTER = "content_filter"


class Asked(NamedTuple):
    """images: as parts of a moderation. param: where it stands in the request."""

    texts: Sequence[str]
    images: Sequence[dict[str, Any]]
    param: str


def asked(call: Call) -> Asked:
    """The texts and images of messages or prompts. Raises InvalidRequest: there is something that nobody can judge."""
    if "messages" not in call.fields:
        return Asked(list(_prompts(call)), [], "prompt")
    texts: list[str] = []
    images: list[dict[str, Any]] = []
    messages = msgspec.json.decode(call.fields["messages"])
    for message in messages if isinstance(messages, list) else ():
        if not isinstance(message, dict):
            continue  # for the backend to refuse
        texts += texts_of(message)
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            kind = part.get("type") if isinstance(part, dict) else None
            if kind == "image_url" and isinstance(part.get("image_url"), dict):
                images.append({"type": "image_url", "image_url": {"url": part["image_url"].get("url")}})
            elif kind not in ("text", "refusal"):
                raise InvalidRequest(
                    f"The requests of this project are moderated, and what is of the type {kind!r} cannot be. Send "
                    "text.",
                    param="messages",
                    code="unsupported_value",
                )
    return Asked(texts, images, "messages")


def choices(call: Call) -> int:
    """Of the whole answer: of every prompt as many."""
    prompt = msgspec.json.decode(call.fields.get("prompt", b"null"))
    several = isinstance(prompt, list) and bool(prompt) and not isinstance(prompt[0], int)
    return call.choices * (len(prompt) if several else 1)


def _prompts(call: Call) -> Iterator[str]:
    fields = call.fields
    for name in ("prompt", "suffix"):
        value = msgspec.json.decode(fields.get(name, b"null"))
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str):
                if one.strip():
                    yield one
            elif one is not None:
                raise InvalidRequest(
                    "The requests of this project are moderated, and tokens cannot be. Send the prompt as text.",
                    param=name,
                    code="unsupported_value",
                )


def texts_of(message: Mapping[str, Any]) -> list[str]:
    """Of a message, in a request or an answer, without those that are blank."""
    return [text for _, text in pieces(message) if text.strip()]


def pieces(message: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The texts of a message, or of a stream's delta, each with a name for where it stands."""
    for name in ("content", "refusal", "reasoning_content", "reasoning"):
        value = message.get(name)
        if isinstance(value, str):
            yield name, value
        elif isinstance(value, list):
            for part in value:
                if isinstance(part, dict):
                    yield from ((name, part[key]) for key in ("text", "refusal") if isinstance(part.get(key), str))
    calls = message.get("tool_calls")
    for at, call in enumerate(calls if isinstance(calls, list) else ()):
        if isinstance(call, dict):
            yield from _arguments(f"tool_calls[{call.get('index', at)}]", call.get("function") or call.get("custom"))
    yield from _arguments("function_call", message.get("function_call"))
    audio = message.get("audio")
    if isinstance(audio, dict) and isinstance(audio.get("transcript"), str):
        yield "audio", audio["transcript"]


def _arguments(name: str, function: object) -> Iterator[tuple[str, str]]:
    if isinstance(function, dict):
        for key in ("arguments", "input"):
            if isinstance(function.get(key), str):
                yield name, function[key]


def written(frame: Frame) -> list[tuple[int, str]]:
    """Of a plain answer: the place of a choice in the list, and a text of it."""
    found: list[tuple[int, str]] = []
    for place, choice in enumerate(msgspec.json.decode(frame.data).get("choices") or ()):
        texts = texts_of(choice["message"]) if isinstance(choice.get("message"), dict) else [choice.get("text") or ""]
        found += [(place, text) for text in texts if text.strip()]
    return found


def answer(frame: Frame, judged: Mapping[int, Categories] | None, call: Call) -> Frame:
    """A plain answer without what is flagged. judged: by place; None: nobody has judged it. What is kept elsewhere of
    the same frame stays as it is."""
    if not call.shows_filters and not any((judged or {}).values()):
        return frame
    whole = msgspec.json.decode(frame.data)
    for place, choice in enumerate(whole.get("choices") or ()):
        flagged = (judged or {}).get(place, frozenset())
        if flagged:
            withhold(choice)
        if call.shows_filters and judged is not None:
            choice["content_filter_results"] = azure_results(flagged)
    if call.prompt_filter is not None:
        whole["prompt_filter_results"] = [{"prompt_index": 0, "content_filter_results": call.prompt_filter}]
    return msgspec.structs.replace(frame, data=msgspec.json.encode(whole))


def withhold(choice: dict[str, Any]) -> None:
    """As a choice of a plain answer looks whose content is not shown."""
    if "message" in choice:
        choice["message"] = {"role": "assistant", "content": None, "refusal": None}
    else:
        choice["text"] = ""
    choice["finish_reason"] = CONTENT_FILTER
    choice["logprobs"] = None


def azure_results(flagged: Categories) -> dict[str, Any]:
    """What was found in Azure's words. How severe it is nobody has measured, so that is not told."""
    families = {_AZURE.get(one.partition("/")[0], one.partition("/")[0]) for one in flagged}
    names = dict.fromkeys([*dict.fromkeys(_AZURE.values()), *sorted(families)])
    return {name: {"filtered": name in families} for name in names}
