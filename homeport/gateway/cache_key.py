"""When two requests are the same question: their canonical form, and the hash of it that names an answer.

Canonical is what JSON means, not how it is written: members in any order, numbers by value (`1`, `1.0`, `1e0`), escapes
and characters, spaces; of a member of a parameter that stands there twice the last one holds; a parameter
that is null is one that is absent. A file is its content, whatever its name. What remains is compared whole, names that
Homeport does not know included.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from homeport.backends.capabilities import Call, Header
from homeport.gateway.keyring import Principal
from homeport.gateway.routing import Target

Question = dict[str, Any]

#: Who asks, and what the asking costs: they do not change the answer. The model is in the scope.
_NOT_PART_OF_THE_QUESTION = (
    "model",
    "user",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
)
#: Bytes of a body whose key is remembered, and how many are: a few megabytes at most.
_SMALL = 4096
_MOST_REMEMBERED = 256
#: Whole numbers above it are not told apart by a float.
_EXACT = 2**53


def _by_value(text: str) -> float | int:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise OverflowError("no number that can be compared")
    return int(value) if value.is_integer() and abs(value) < _EXACT else value


_decoder = msgspec.json.Decoder(float_hook=_by_value)
_encode = msgspec.msgpack.Encoder(order="sorted").encode


def asked(call: Call, scope: bytes, headers: tuple[Header, ...] = ()) -> tuple[Question | None, bytes | None]:
    """Its question and key. Who asks again sends the same bytes: what was found for small bodies is remembered, and
    nobody changes it. A tenth of a hit would be to find it again."""
    find = _remembered if len(call.body) <= _SMALL else _asked
    return find(call.body, call.stream, scope, headers, _files(call))


def _asked(
    body: bytes, stream: bool, scope: bytes, headers: tuple[Header, ...], files: tuple[str, ...]
) -> tuple[Question | None, bytes | None]:
    found = _question(body, files, stream=stream)
    return found, None if found is None else key(scope, found, headers)


_remembered = lru_cache(maxsize=_MOST_REMEMBERED)(_asked)


def forget() -> None:
    """What is remembered: there are prompts in it."""
    _remembered.cache_clear()


def question(call: Call) -> Question | None:
    """The parameters of a request, by what they mean. None: they cannot be compared."""
    return _question(call.body, _files(call), stream=call.stream)


def _files(call: Call) -> tuple[str, ...]:
    """Fields that stand for files."""
    return tuple({file.field: None for file in call.attached}) if call.attached else ()


def _question(body: bytes, files: Sequence[str], *, stream: bool) -> Question | None:
    try:
        fields = _decoder.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, OverflowError):
        return None
    if not isinstance(fields, dict):
        return None
    for name in _NOT_PART_OF_THE_QUESTION:
        fields.pop(name, None)
    if not stream:
        fields.pop("stream", None)
    for name in files:
        standing = fields[name]
        for file in standing if isinstance(standing, list) else [standing]:
            del file["filename"]
    return {name: value for name, value in fields.items() if value is not None}


def scope(
    principal: Principal, endpoint: str, name: str, targets: Sequence[Target], configurations: Sequence[bytes]
) -> bytes:
    """Whose answers may be shared, and what gives them: nobody else's question is ever the same.

    name: the model that is asked for; configurations: of each target, in their order. A key that may not use every
    model shares with keys that have the same list.
    """
    own = principal.models.own
    asked = sorted(
        (target.name, target.model, target.local, configuration)
        for target, configuration in zip(targets, configurations, strict=True)
    )
    return _digest([principal.project, None if own is None else sorted(own), endpoint, name, asked])


def key(scope: bytes, asked: Question, headers: Sequence[tuple[bytes, bytes]] = ()) -> bytes | None:
    """32 bytes. headers: those that are passed on with the question. None: it cannot be hashed."""
    try:
        return hashlib.blake2b(_encode((asked, sorted(headers))), digest_size=32, key=scope).digest()
    except (OverflowError, RecursionError, UnicodeEncodeError):
        return None


def _digest(value: Any) -> bytes:
    return hashlib.blake2b(_encode(value), digest_size=32).digest()
