"""How many tokens a text or a request is, counted here: for answers whose backend did not count them.

With the extra `homeport[count]` the counts are those of OpenAI's own tokenizer (openai_tokens.py, which tells
what the first call costs). Without it, a token is taken for every four characters. Models of others are counted as the
newest of OpenAI's: near enough for what is flagged as estimated.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from homeport import openai_tokens
from homeport.openai_tokens import CL100K, O200K, encoding_for
from homeport.wire.envelope import CHARACTERS_PER_TOKEN

#: Longer runs of white space than 999,999 make tiktoken panic. A cut costs a token at most.
_PIECE = 100_000

#: Around each message, for a name in it, and before the reply (OpenAI cookbook, "How to count tokens with tiktoken").
_MESSAGE, _NAME, _REPLY = 3, 1, 3
#: Around the functions of a request, by the same recipe: each function (older encoding, newer), the list, a property,
#: the properties; an enum and each of its items.
_FUNCTION = {CL100K: 10, O200K: 7}
_FUNCTIONS, _PROPERTY, _PROPERTIES, _ENUM, _ENUM_ITEM = 12, 3, 3, -3, 3
_NESTED = frozenset({"properties", "items", "anyOf", "allOf", "oneOf", "$ref"})
#: A picture (OpenAI's vision guide): its base and each tile of 512 pixels, of which detail `high` makes eight at most.
_IMAGE, _SMALL_MODELS_IMAGE, _TILES = (85, 170), (2833, 5667), 8
#: Audio: a token for each tenth of a second (OpenAI's audio guide), taken as 64 kbit/s: 800 bytes, of base64 4/3 more.
_BASE64_PER_AUDIO_TOKEN = 1067


def count_text(model: str, text: str) -> int:
    """Tokens of a text; what looks like a special token is text like any other."""
    if not text:
        return 0
    encoding = openai_tokens.encoding(encoding_for(model))
    if encoding is None:
        return math.ceil(len(text) / CHARACTERS_PER_TOKEN)
    return sum(len(encoding.encode_ordinary(text[at : at + _PIECE])) for at in range(0, len(text), _PIECE))


def count_request(model: str, request: Mapping[str, Any]) -> int:
    """Tokens of a decoded request's prompt: `messages` with `tools`, `prompt` or `input`.

    Never raises: a request of a shape that only its upstream understands is counted as its JSON.
    """
    try:
        if "messages" in request:
            return count_chat(model, request)
        return count_prompt(model, request.get("prompt", request.get("input")))
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return _json(model, request)


def count_prompt(model: str, prompt: object) -> int:
    """Tokens of a text, of several texts, of a list of tokens, or of several such lists."""
    if isinstance(prompt, str):
        return count_text(model, prompt)
    if isinstance(prompt, Sequence):
        return sum(1 if isinstance(part, int) else count_prompt(model, part) for part in prompt)
    return 0


def count_chat(model: str, request: Mapping[str, Any]) -> int:
    """Tokens of a decoded chat request's prompt.

    Texts and names are exact for OpenAI's models. What OpenAI does not publish is approximated: functions, tools and
    calls of them by the recipe of its cookbook, schemas deeper than one level by their JSON; pictures of detail `low`
    are exact, others are taken at their largest; audio is taken as 64 kbit/s, files by their characters.
    """
    messages = request.get("messages") or ()
    return (
        sum(_message(model, message) for message in messages)
        + _REPLY
        + _tools(model, request)
        + _schema(model, request.get("response_format"))
    )


def _message(model: str, message: Mapping[str, Any]) -> int:
    tokens = _MESSAGE
    for key, value in message.items():
        if value is None or key == "tool_call_id":
            continue
        tokens += _NAME if key == "name" else 0
        if isinstance(value, str):
            tokens += count_text(model, value)
        elif key == "content":
            tokens += sum(_part(model, part) for part in value)
        elif key == "tool_calls":
            tokens += sum(_call(model, call) for call in value)
        elif key == "function_call":
            tokens += _MESSAGE + _texts(model, value)
    return tokens


def _part(model: str, part: Mapping[str, Any]) -> int:
    match part.get("type"):
        case "image_url":
            return _image(model, part["image_url"].get("detail"))
        case "input_audio":
            return math.ceil(len(part["input_audio"].get("data", "")) / _BASE64_PER_AUDIO_TOKEN)
        case "file":
            return len(part["file"].get("file_data") or "") // CHARACTERS_PER_TOKEN
        case _:
            return count_text(model, part.get("text") or part.get("refusal") or "")


def _image(model: str, detail: str | None) -> int:
    base, tile = _SMALL_MODELS_IMAGE if model.removeprefix("ft:").startswith("gpt-4o-mini") else _IMAGE
    return base if detail == "low" else base + tile * _TILES


def _call(model: str, call: Mapping[str, Any]) -> int:
    return _MESSAGE + _texts(model, call.get("function") or call.get("custom") or {})


def _texts(model: str, fields: Mapping[str, Any]) -> int:
    return sum(count_text(model, value) for value in fields.values() if isinstance(value, str))


def _tools(model: str, request: Mapping[str, Any]) -> int:
    functions = [*(request.get("functions") or ())]
    functions += [tool.get("function") or tool.get("custom") or {} for tool in request.get("tools") or ()]
    if not functions:
        return 0
    return _FUNCTIONS + sum(_function(model, function) for function in functions)


def _function(model: str, function: Mapping[str, Any]) -> int:
    """`name:description` and `property:type:description`, each without its full stop."""
    tokens = _FUNCTION[encoding_for(model)]
    tokens += count_text(model, f"{function.get('name')}:{_sentence(function)}")
    properties = (function.get("parameters") or {}).get("properties")
    if isinstance(properties, Mapping) and properties:
        tokens += _PROPERTIES
        tokens += sum(_PROPERTY + _property(model, name, schema) for name, schema in properties.items())
    if "format" in function:
        tokens += _json(model, function["format"])
    return tokens


def _property(model: str, name: str, schema: object) -> int:
    if not isinstance(schema, Mapping) or not isinstance(schema.get("type"), str) or schema.keys() & _NESTED:
        return count_text(model, name) + _json(model, schema)
    tokens = count_text(model, f"{name}:{schema['type']}:{_sentence(schema)}")
    if isinstance(schema.get("enum"), Sequence):
        tokens += _ENUM + sum(_ENUM_ITEM + count_text(model, str(item)) for item in schema["enum"])
    return tokens


def _sentence(described: Mapping[str, Any]) -> str:
    return str(described.get("description") or "").removesuffix(".")


def _schema(model: str, response_format: object) -> int:
    schema = response_format.get("json_schema") if isinstance(response_format, Mapping) else None
    return _json(model, schema) if schema else 0


def _json(model: str, value: object) -> int:
    return count_text(model, msgspec.json.encode(value).decode())
