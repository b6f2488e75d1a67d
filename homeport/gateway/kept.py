"""Answers that are kept: what one is, when it may be, and where: in this process, and in Redis for all replicas."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from homeport import clock
from homeport.backends.capabilities import Frame, Usage
from homeport.store.shared import Shared

#: Another form of Kept is another number: replicas of two releases share one Redis.
VERSION = 2
#: Bytes of a frame when a stream is given again: its events or its sound are the same, in other pieces.
_PIECE = 64 * 1024
#: Bytes that an answer takes beside its own.
_OVERHEAD = 700
#: Of an answer that is whole and as the model wanted it.
_GOOD_ENDINGS = frozenset({"stop", "length", "tool_calls", "function_call"})
_PREFIX = "answers:"


class Kept(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A whole answer, or the vector of one input (cache_items.py). at: when it was made, in unix seconds; request_id:
    for whom. data: the body, the events or the media; of a vector its JSON. media: as of a Frame."""

    version: int
    request_id: str
    at: float
    data: tuple[bytes, ...]
    model: str | None = None
    service_tier: str | None = None
    usage: Usage | None = None
    media: str = ""

    @classmethod
    def of(cls, frames: Sequence[Frame], request_id: str) -> "Kept":
        usage = next((frame.usage for frame in reversed(frames) if frame.usage is not None), None)
        first = frames[0]
        return cls(
            VERSION,
            request_id,
            clock.now(),
            tuple(_pieces(frames)),
            first.model,
            first.service_tier,
            usage,
            first.media,
        )

    @property
    def age(self) -> int:
        """Whole seconds."""
        return max(0, int(clock.now() - self.at))

    @property
    def size(self) -> int:
        return sum(map(len, self.data)) + _OVERHEAD

    def frames(self) -> list[Frame]:
        frames = [Frame(data) for data in self.data]
        frames[0].model, frames[0].service_tier, frames[0].media = self.model, self.service_tier, self.media
        frames[-1].usage = self.usage
        return frames


def _pieces(frames: Sequence[Frame]) -> Iterator[bytes]:
    parts: list[bytes] = []
    size = 0
    for frame in frames:
        if size and size + len(frame.data) > _PIECE:
            yield b"".join(parts)
            parts, size = [], 0
        parts.append(frame.data)
        size += len(frame.data)
    yield b"".join(parts)


class _Choice(msgspec.Struct):
    index: int = 0
    finish_reason: str | None = None


class _Choices(msgspec.Struct):
    choices: list[_Choice]


_choices = msgspec.json.Decoder(_Choices)


def is_whole(frames: Sequence[Frame], *, stream: bool, choices: int) -> bool:
    """Every choice of a chat completion or completion has come to a good end. choices: so many at least."""
    ended: dict[int, bool] = {}
    try:
        for text in _objects(frames, stream=stream):
            for choice in _choices.decode(text).choices:
                ended[choice.index] = ended.get(choice.index, False) or choice.finish_reason in _GOOD_ENDINGS
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    return len(ended) >= choices and all(ended.values()) and set(ended) == set(range(len(ended)))


def _objects(frames: Sequence[Frame], *, stream: bool) -> Iterator[bytes]:
    if not stream:
        yield frames[0].data
        return
    for frame in frames:
        for line in frame.data.split(b"\n"):
            if line.startswith(b"data:"):
                yield line[5:]


class _Place(NamedTuple):
    kept: Kept
    size: int
    until: float


class Store:
    """near: in this process, least recently used out first. far: in what the replicas share, if anything is shared.

    What comes from afar stays near for `process_seconds`.
    """

    def __init__(self, *, max_bytes: int, shared: Shared | None = None, process_seconds: float = float("inf")) -> None:
        self.max_bytes = max_bytes
        #: Bytes of the largest answer that is kept: one must not push out all others.
        self.largest = max_bytes // 8
        self.bytes = 0
        self._shared = shared
        self._process_seconds = process_seconds if shared is not None else float("inf")
        self._places: OrderedDict[bytes, _Place] = OrderedDict()
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Kept).decode

    def __len__(self) -> int:
        return len(self._places)

    @property
    def is_shared(self) -> bool:
        """With other replicas."""
        return self._shared is not None

    def near(self, key: bytes) -> Kept | None:
        place = self._places.get(key)
        if place is None:
            return None
        if place.until <= clock.monotonic():
            self._drop(key)
            return None
        self._places.move_to_end(key)
        return place.kept

    async def far(self, key: bytes, ttl: float) -> Kept | None:
        """Raises nothing: what cannot be reached or read is not there."""
        packed = await self._shared.get(_PREFIX + key.hex()) if self._shared is not None else None
        if packed is None:
            return None
        try:
            kept = self._decode(packed)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return None
        left = kept.at + ttl - clock.now()
        if kept.version != VERSION or not kept.data or left <= 0:
            return None
        self.keep(key, kept, left)
        return kept

    def keep(self, key: bytes, kept: Kept, ttl: float) -> None:
        """Near. What is too large is not kept."""
        self._drop(key)
        size = kept.size
        if size > self.largest:
            return
        self._places[key] = _Place(kept, size, clock.monotonic() + min(ttl, self._process_seconds))
        self.bytes += size
        while self.bytes > self.max_bytes:
            self._drop(next(iter(self._places)))

    async def share(self, key: bytes, kept: Kept, ttl: float) -> None:
        """Far. Raises nothing."""
        if self._shared is not None and kept.size <= self.largest:
            await self._shared.set(_PREFIX + key.hex(), self._encode(kept), ttl)

    async def clear(self) -> None:
        """Near and far. Raises Unavailable when what is shared cannot be reached."""
        self._places.clear()
        self.bytes = 0
        if self._shared is not None:
            await self._shared.clear(_PREFIX)

    def _drop(self, key: bytes) -> None:
        place = self._places.pop(key, None)
        if place is not None:
            self.bytes -= place.size
