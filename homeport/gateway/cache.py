"""Answers that may be given again: exact match over every parameter, kept in this process.

Off unless the settings ask for it. Only whole, successful answers are kept; a stream is given again as a stream.
"""

import hashlib
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from homeport import clock
from homeport.backends.capabilities import Answer, Call, Frame
from homeport.gateway.keyring import Principal
from homeport.gateway.pipeline import Step

if TYPE_CHECKING:
    from homeport.gateway.ledger import Entry

#: Who asked, not what was asked: such fields do not change the answer.
_NOT_PART_OF_THE_QUESTION = frozenset({"user", "metadata", "safety_identifier", "prompt_cache_key"})


@dataclass(slots=True)
class Kept:
    frames: tuple[Frame, ...]
    size: int
    until: float


class Cache:
    def __init__(self, answer: Step, *, ttl: float, max_bytes: int) -> None:
        """answer: the next step."""
        self._answer = answer
        self._ttl = ttl
        self._max_bytes = max_bytes
        self._size = 0
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()

    async def answer(self, entry: "Entry") -> Answer:
        key = self.key(entry.principal, entry.call)
        kept = self.find(key)
        if kept is not None:
            entry.cache_hit = True
            entry.call.told.append(b"x-homeport-cache: hit\r\n")
            return Answer(kept[0], _again(kept[1:]))
        answer = await self._answer(entry)
        if answer.rest is None:
            self._keep(key, [answer.first])
            return answer
        return Answer(answer.first, self._kept_on_the_way(key, answer.first, answer.rest))

    def key(self, principal: Principal, call: Call) -> bytes:
        """What makes two requests the same: project, endpoint, and every field in canonical order."""
        digest = hashlib.blake2b(f"{principal.project}\0{call.endpoint}\0".encode(), digest_size=32)
        for name in sorted(call.fields):
            if name not in _NOT_PART_OF_THE_QUESTION:
                value = msgspec.json.decode(call.fields[name])
                digest.update(msgspec.json.encode([name, value], order="sorted"))
        return digest.digest()

    def find(self, key: bytes) -> tuple[Frame, ...] | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept.until < clock.monotonic():
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return kept.frames

    async def _kept_on_the_way(
        self, key: bytes, first: Frame, rest: AsyncGenerator[Frame, None]
    ) -> AsyncGenerator[Frame, None]:
        """Pass the answer on; remember it once it has ended well."""
        frames = [first]
        async with aclosing(rest):
            async for frame in rest:
                frames.append(frame)
                yield frame
        self._keep(key, frames)

    def _keep(self, key: bytes, frames: list[Frame]) -> None:
        size = sum(len(frame.data) + 100 for frame in frames)
        if size <= self._max_bytes:
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


async def _again(frames: tuple[Frame, ...]) -> AsyncGenerator[Frame, None]:
    for frame in frames:
        yield frame
