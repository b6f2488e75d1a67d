"""A GGUF file as it lies on the disk: what its head says, and where its tensors are.

gguf's own reader makes arrays of each of the vocabulary's texts: of SmolLM2's that takes six seconds, and this 0.02.
Nothing here imports PyTorch or numpy. Source: the GGUF specification (ggml, docs/gguf.md), versions 2 and 3.
"""

import mmap
import struct
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from homeport.training.text.architectures import Unsupported

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_ALIGNMENT = 32


class Place(NamedTuple):
    """Of a tensor. shape: the outermost dimension first, as PyTorch has it. kind: ggml's number of a format.
    at: where its bytes begin in the file."""

    shape: tuple[int, ...]
    kind: int
    at: int


class GGUFFile:
    """header: every scalar and text of the metadata by its key (arrays are stepped over). tensors: by their names, in
    the file's order. data: the file, mapped into memory; nobody writes to it."""

    def __init__(self, path: Path) -> None:
        """Raises Unsupported where it is no GGUF file, OSError where it cannot be read."""
        with path.open("rb") as file:
            try:
                # Private, for PyTorch wants memory that could be written to.
                self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            except ValueError:
                raise Unsupported("its file is empty") from None
        self.header: dict[str, object] = {}
        self.tensors: dict[str, Place] = {}
        self._at = 0
        try:
            self._read()
        except (struct.error, RecursionError):
            raise Unsupported("its file is cut off or damaged") from None

    @property
    def parameters(self) -> int:
        """How many numbers the model has."""
        return sum(prod(place.shape) for place in self.tensors.values())

    def _read(self) -> None:
        magic, version, tensors, keys = self._next("<4sIQQ")
        if magic != b"GGUF" or version not in (2, 3):
            raise Unsupported("its file is no GGUF file of version 2 or 3")
        for _ in range(keys):
            key = self._string()
            value = self._value(self._next("<I")[0])
            if value is not None:
                self.header[key] = value
        found: dict[str, Place] = {}
        for _ in range(tensors):
            name = self._string()
            (dimensions,) = self._next("<I")
            shape = self._next(f"<{dimensions}Q")
            kind, offset = self._next("<IQ")
            found[name] = Place(tuple(reversed(shape)), kind, offset)
        alignment = self.header.get("general.alignment", _ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1:
            raise Unsupported("its file is cut off or damaged")
        begin = -(-self._at // alignment) * alignment
        self.tensors = {name: place._replace(at=begin + place.at) for name, place in found.items()}

    def _value(self, kind: int) -> object:
        """A scalar or text; None for an array."""
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            return self._next(f"<{_form(kind)}")[0]
        inner, length = self._next("<IQ")
        if inner == _STRING:
            at, unpack = self._at, struct.Struct("<Q").unpack_from  # hundreds of thousands of them, so in few words
            for _ in range(length):
                at += 8 + unpack(self.data, at)[0]
            self._at = at
        elif inner == _ARRAY:
            for _ in range(length):
                self._value(_ARRAY)
        else:
            self._at += length * struct.calcsize(f"<{_form(inner)}")
        return None

    def _string(self) -> str:
        (length,) = self._next("<Q")
        begin, self._at = self._at, self._at + length
        return self.data[begin : self._at].decode("utf-8", "replace")

    def _next(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(form, self.data, self._at)
        self._at += struct.calcsize(form)
        return values


def _form(kind: int) -> str:
    if kind not in _SCALARS:
        raise Unsupported("its file is cut off or damaged")
    return _SCALARS[kind]
