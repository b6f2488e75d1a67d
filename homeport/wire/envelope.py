"""The few fields that every inference request is routed, reserved and streamed by; the rest stays raw.

This is all that a request to an upstream is decoded: names that Homeport does not know pass, because the upstream may.
"""

from typing import Any

import msgspec

from homeport.errors import InvalidRequest
from homeport.wire.ambiguity import check_names
from homeport.wire.base import decode

#: Characters of a request that make one token, when nobody has counted yet: OpenAI's own rule of thumb.
CHARACTERS_PER_TOKEN = 4


class _Fields(msgspec.Struct):
    model: str | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    best_of: int | None = None
    store: Any = None


class Envelope(msgspec.Struct, gc=False):
    """max_tokens: over all choices of a prompt. choices: how many answers are made of each prompt. store: the answer is
    to be kept. body: with `model` in it."""

    model: str
    body: bytes
    stream: bool
    include_usage: bool
    max_tokens: int | None
    choices: int
    store: bool


_fields = msgspec.json.Decoder(_Fields)
_map = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.encode
_FEW = _Fields.__struct_fields__
#: Bytes up to which reading twice is cheaper than taking the few fields out.
_SMALL = 4096


def open_envelope(body: bytes, *, model: str | None = None, default: str | None = None) -> Envelope:
    """model: given by the path (Azure's deployments), in place of whatever the body says. default: of an endpoint that
    has one, where neither says. Raises InvalidRequest."""
    members = decode(_map, body)
    check_names(body, members)
    few = body if len(body) <= _SMALL else _encode({name: members[name] for name in _FEW if name in members})
    known = decode(_fields, few)
    if model is not None and known.model != model:
        body = _encode({**members, "model": model})
    name = model or known.model
    if name is None and default is not None:
        name, body = default, _encode({**members, "model": default})
    if name is None:
        raise InvalidRequest("you must provide a model parameter", param="model", code="missing_required_parameter")
    limit = known.max_completion_tokens
    if known.max_tokens is not None and (limit is None or limit < known.max_tokens):
        limit = known.max_tokens  # of two, a server may obey either
    choices = 1 if known.n is known.best_of is None else max(1, known.n or 1, known.best_of or 1)
    return Envelope(
        name,
        body,
        bool(known.stream),
        bool(known.stream_options and known.stream_options.get("include_usage")),
        None if limit is None else limit * choices,
        choices,
        known.store is True,
    )
