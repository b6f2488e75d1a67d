"""Answers that may be given again: exact match over every parameter, kept in this process.

Off unless the settings ask for it. Only whole, successful answers are kept; a stream is given again as a stream.
"""

import hashlib
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import msgspec

from homeport import clock
from homeport.backends.capabilities import Call, Frame
from homeport.gateway.keyring import Principal

#: Who asked, not what was asked: such fields do not change the answer.
_NOT_PART_OF_THE_QUESTION = frozenset({"user", "metadata", "safety_identifier", "prompt_cache_key"})


@dataclass(slots=True)
class Kept:
    frames: tuple[Frame, ...]
    size: int
    until: float


class Cache:
    def __init__(self, *, enabled: bool, ttl: float, max_bytes: int) -> None:
        self.enabled = enabled
        self._ttl = ttl
        self._max_bytes = max_bytes
        self._size = 0
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()

    def key(self, principal: Principal, call: Call) -> bytes | None:
        """What makes two requests the same: project, endpoint, and every field in canonical order. None: not cached."""
        if not self.enabled:
            return None
        digest = hashlib.blake2b(f"{principal.project}\0{call.endpoint}\0".encode(), digest_size=32)
        for name in sorted(call.fields):
            if name not in _NOT_PART_OF_THE_QUESTION:
                value = msgspec.json.decode(call.fields[name])
                digest.update(msgspec.json.encode([name, value], order="sorted"))
        return digest.digest()

    def find(self, key: bytes | None) -> tuple[Frame, ...] | None:
        kept = self._kept.get(key) if key is not None else None
        if kept is None or key is None:
            return None
        if kept.until < clock.monotonic():
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return kept.frames

    async def keep(self, key: bytes | None, answer: AsyncGenerator[Frame, None]) -> AsyncGenerator[Frame, None]:
        """Pass the answer on; remember it once it has ended well."""
        frames: list[Frame] = []
        size = 0
        async with aclosing(answer):
            async for frame in answer:
                if key is not None and size <= self._max_bytes:
                    frames.append(frame)
                    size += len(frame.data) + 100
                yield frame
        if key is not None and frames and size <= self._max_bytes:
            self._put(key, Kept(tuple(frames), size, clock.monotonic() + self._ttl))

    def _put(self, key: bytes, kept: Kept) -> None:
        self._drop(key)
        self._kept[key] = kept
        self._size += kept.size
        while self._size > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: bytes) -> None:
        dropped = self._kept.pop(key, None)
        if dropped is not None:
            self._size -= dropped.size
