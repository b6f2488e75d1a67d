"""The metadata at the head of a GGUF file, without its arrays and weights: read in milliseconds.

Source: the GGUF specification (ggml, docs/gguf.md), versions 2 and 3.
"""

import struct
from pathlib import Path
from typing import BinaryIO

from homeport.errors import SettingsError

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_LONGEST_STRING = 64 * 2**20
_MOST_KEYS = 100_000


def read(path: Path) -> dict[str, object]:
    """Every scalar and text of the metadata by its key. Raises SettingsError when the file is no GGUF."""
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
                value = _value(file, *struct.unpack("<I", _exactly(file, 4)))
                if value is not None:
                    found[key] = value
            return found
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from None


def _value(file: BinaryIO, kind: int) -> object:
    """A scalar or text; None for an array, which is stepped over."""
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
        file.seek(struct.calcsize(_SCALARS[inner]) * length, 1)
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
    data = file.read(size)
    if len(data) != size:
        raise SettingsError("The GGUF file is cut off.")
    return data


def kv_bytes_per_token(header: dict[str, object]) -> int:
    """What one token of context takes in a half-precision key-value cache. 0 when the header does not tell."""
    architecture = header.get("general.architecture", "")

    def number(key: str) -> int:
        value = header.get(f"{architecture}.{key}", 0)
        return int(value) if isinstance(value, int | float) else 0

    heads = number("attention.head_count")
    kv_heads = number("attention.head_count_kv") or heads
    width = number("embedding_length") // heads if heads else 0
    key = number("attention.key_length") or width
    value = number("attention.value_length") or width
    return number("block_count") * kv_heads * (key + value) * 2
