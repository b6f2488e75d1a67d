"""The metadata at the head of a GGUF file, without its arrays and weights: read in milliseconds.

Source: the GGUF specification (ggml, docs/gguf.md), versions 2 and 3.
"""

import os
import struct
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

from homeport.errors import SettingsError

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_LONGEST_STRING = 64 * 2**20
_MOST_KEYS = 100_000
_LARGE = 2**16
#: `pooling_type`: how a model makes one vector of its tokens'. Not at all; by their mean; as the score of two texts.
NONE, MEAN, RANK = 0, 1, 4


def read(path: Path, *, arrays: Collection[str] = (), tokenizer: bool = True) -> dict[str, object]:
    """Every scalar and text of the metadata by its key. Raises SettingsError when the file is no GGUF.

    arrays: keys of arrays of scalars that are wanted as well, as tuples. tokenizer: False ends where its keys begin,
    which are nearly all of the head, once the architecture's have come.
    """
    try:
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise SettingsError(f"{path} is not a GGUF file.")
            version, _, count = struct.unpack("<IQQ", _exactly(file, 20))
            if version not in (2, 3) or count > _MOST_KEYS:
                raise SettingsError(f"{path} is a GGUF file of version {version}, which is not known here.")
            found: dict[str, object] = {}
            for _ in range(count):
                key = _string(file).decode("utf-8", "replace")
                if not tokenizer and key.startswith("tokenizer.") and _has_architecture(found):
                    break
                value = _value(file, *struct.unpack("<I", _exactly(file, 4)), keep=key in arrays)
                if value is not None:
                    found[key] = value
            return found
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from None
    except RecursionError:
        raise SettingsError(f"The GGUF file {path} is damaged: arrays in arrays without end.") from None


def _value(file: BinaryIO, kind: int, *, keep: bool = False) -> object:
    """A scalar or text; None for an array, which is stepped over unless it is one of scalars and to be kept."""
    if kind in _SCALARS:
        form = _SCALARS[kind]
        value: object = struct.unpack(form, _exactly(file, struct.calcsize(form)))[0]
        return value
    if kind == _STRING:
        return _string(file).decode("utf-8", "replace")
    if kind != _ARRAY:
        raise SettingsError(f"The GGUF file is damaged: it has a value of the unknown type {kind}.")
    inner, length = struct.unpack("<IQ", _exactly(file, 12))
    if inner in _SCALARS:
        size = struct.calcsize(_SCALARS[inner]) * length
        if keep:
            return struct.unpack(f"<{length}{_SCALARS[inner][1]}", _exactly(file, size))
        _check_left(file, size)
        file.seek(size, 1)
    else:
        for _ in range(length):
            _value(file, inner)
    return None


def _string(file: BinaryIO) -> bytes:
    (length,) = struct.unpack("<Q", _exactly(file, 8))
    if length > _LONGEST_STRING:
        raise SettingsError("The GGUF file is damaged: a text in it is impossibly long.")
    return _exactly(file, length)


def _exactly(file: BinaryIO, size: int) -> bytes:
    if size > _LARGE:
        _check_left(file, size)
    data = file.read(size)
    if len(data) != size:
        raise SettingsError("The GGUF file is cut off.")
    return data


def _check_left(file: BinaryIO, size: int) -> None:
    """A count in a damaged file must not become an allocation."""
    if size > os.fstat(file.fileno()).st_size - file.tell():
        raise SettingsError("The GGUF file is cut off.")


def kv_bytes_per_token(header: dict[str, object]) -> int:
    """What one token of context takes in a half-precision key-value cache. 0 when the header does not tell."""
    heads = _number(header, "attention.head_count")
    kv_heads = _number(header, "attention.head_count_kv") or heads
    width = _number(header, "embedding_length") // heads if heads else 0
    key = _number(header, "attention.key_length") or width
    value = _number(header, "attention.value_length") or width
    return _number(header, "block_count") * kv_heads * (key + value) * 2


def pooling(header: dict[str, object]) -> int:
    return _number(header, "pooling_type")


def makes_vectors(header: dict[str, object]) -> bool:
    """It is a model of embeddings (or a reranker), and continues no text."""
    return pooling(header) != NONE or is_encoder(header)


def is_encoder(header: dict[str, object]) -> bool:
    """Every token sees all others, and not only those before it."""
    return header.get(f"{_architecture(header)}.attention.causal") is False


def context_length(header: dict[str, object]) -> int:
    """Tokens that the model was trained for. 0 when the header does not tell."""
    return _number(header, "context_length")


def _architecture(header: dict[str, object]) -> object:
    return header.get("general.architecture", "")


def _has_architecture(header: dict[str, object]) -> bool:
    own = f"{_architecture(header)}."
    return any(key.startswith(own) for key in header)


def _number(header: dict[str, object], key: str) -> int:
    """Of the architecture's; 0 when it is not there."""
    value = header.get(f"{_architecture(header)}.{key}", 0)
    return int(value) if isinstance(value, int | float) else 0
