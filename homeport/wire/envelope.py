"""The few fields that every inference request is routed, reserved and streamed by; the rest stays raw.

This is all that a request to an upstream is decoded: names that Homeport does not know pass, because the upstream may.
"""

from typing import Any, NamedTuple

import msgspec

from homeport.errors import InvalidRequest
from homeport.wire.base import decode, invalid_json


class _Fields(msgspec.Struct):
    model: str | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    best_of: int | None = None


class Envelope(NamedTuple):
    """max_tokens: over all choices of a prompt. choices: how many answers are made of each prompt.
    fields: the body's top level, its values raw JSON. body: with `model` in it."""

    model: str
    body: bytes
    fields: dict[str, msgspec.Raw]
    stream: bool
    include_usage: bool
    max_tokens: int | None
    choices: int


_fields = msgspec.json.Decoder(_Fields)
_map = msgspec.json.Decoder(dict[str, msgspec.Raw])


def open_envelope(body: bytes, *, model: str | None = None) -> Envelope:
    """model: given by the path (Azure's deployments), in place of whatever the body says. Raises InvalidRequest."""
    known = decode(_fields, body)
    try:
        fields = _map.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise invalid_json() from None
    if model is not None and known.model != model:
        fields["model"] = msgspec.Raw(msgspec.json.encode(model))
        body = msgspec.json.encode(fields)
    name = model or known.model
    if name is None:
        raise InvalidRequest("you must provide a model parameter", param="model", code="missing_required_parameter")
    limit = known.max_completion_tokens if known.max_completion_tokens is not None else known.max_tokens
    choices = max(1, known.n or 1, known.best_of or 1)
    return Envelope(
        model=name,
        body=body,
        fields=fields,
        stream=bool(known.stream),
        include_usage=bool(known.stream_options and known.stream_options.get("include_usage")),
        max_tokens=None if limit is None else limit * choices,
        choices=choices,
    )
