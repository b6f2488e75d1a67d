"""Embeddings are kept by the input: a list of which some are known asks for the others alone.

A vector stays as it came, so a kept one is the same to the byte; whether it is written as numbers or as base64 is part
of the question. The vectors of one answer are all of one model: what an upstream's name stands for may change.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from homeport import clock
from homeport.backends.capabilities import Answer, Frame, Usage
from homeport.backends.embedded import Embedded, vectors_of
from homeport.errors import UpstreamFailed
from homeport.gateway import cache_key
from homeport.gateway.cache_key import Question
from homeport.gateway.cache_wish import Wish
from homeport.gateway.kept import VERSION, Kept, Store
from homeport.gateway.pipeline import Step

if TYPE_CHECKING:
    from homeport.gateway.ledger import Entry


_inputs = msgspec.json.Decoder(list[msgspec.Raw])


class Items:
    """The inputs of one request, and what is kept of them."""

    def __init__(self, store: Store, keys: Sequence[bytes], sizes: Sequence[int], wanted: Wish, ttl: float) -> None:
        """keys: of each input; the same input has the same. sizes: of each, by which their tokens are told apart."""
        self._store = store
        self._keys = keys
        self._sizes = dict(zip(keys, sizes, strict=True))
        self._wanted = wanted
        self._ttl = ttl
        self._kept: dict[bytes, Kept] = {}
        self._new: dict[bytes, Kept] = {}
        self._used: Usage | None = None

    @classmethod
    def of(
        cls,
        store: Store,
        scope: bytes,
        asked: Question,
        headers: Sequence[tuple[bytes, bytes]],
        wanted: Wish,
        ttl: float,
    ) -> "Items | None":
        """None: these are no inputs that can be told apart."""
        inputs = asked.get("input")
        if not isinstance(inputs, list) or not inputs or isinstance(inputs[0], int):
            inputs = [inputs]
        if not all(item and isinstance(item, str | list) for item in inputs):
            return None
        rest = {"encoding_format": "float", **asked}
        keys = [cache_key.key(scope, {**rest, "input": item}, headers) for item in inputs]
        known = [key for key in keys if key is not None]
        return cls(store, known, [_size(item) for item in inputs], wanted, ttl) if len(known) == len(keys) else None

    @property
    def kept(self) -> int:
        """How many of the inputs are."""
        return sum(key in self._kept for key in self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def age(self) -> int:
        """Of the oldest vector that is kept, in seconds."""
        return max((one.age for one in self._kept.values()), default=0)

    @property
    def request_id(self) -> str:
        """For which the first of them was made."""
        return next(iter(self._kept.values())).request_id

    def near(self) -> bool:
        """Look in this process. True: all of them are there."""
        if self._wanted.read:
            self._take({key: self._store.near(key) for key in self._keys})
        return self._all()

    async def far(self) -> bool:
        """As `near`, in what the replicas share."""
        missing = [key for key in dict.fromkeys(self._keys) if key not in self._kept]
        if self._wanted.read and missing and self._store.is_shared:
            found = await asyncio.gather(*[self._store.far(key, self._ttl) for key in missing])
            self._take(dict(zip(missing, found, strict=True)))
        return self._all()

    def _take(self, found: dict[bytes, Kept | None]) -> None:
        self._kept |= {
            key: kept for key, kept in found.items() if kept is not None and kept.age <= self._wanted.max_age
        }

    def _all(self) -> bool:
        return all(key in self._kept for key in self._keys) and len({one.model for one in self._kept.values()}) == 1

    def frame(self) -> Frame:
        """The whole answer, when all are kept. usage: what it took when they were made."""
        return self._joined(self._kept)

    async def ask(self, entry: "Entry", step: Step) -> Answer:
        """For what is not kept; for everything, when it turns out to be of another model."""
        missing = [key for key in dict.fromkeys(self._keys) if key not in self._kept]
        if not missing:  # kept, of several models
            self._kept = {}
            missing = list(dict.fromkeys(self._keys))
        whole = entry.call.body
        frame, new = await self._asked(entry, step, missing)
        if any(kept.model != new[missing[0]].model for kept in self._kept.values()):
            self._kept = {}
            entry.call.ask_for(whole)
            missing = list(dict.fromkeys(self._keys))
            frame, new = await self._asked(entry, step, missing)
        if entry.target is entry.targets[0]:  # another one stands in for it while it is away, and no longer
            self._new = new
            for key, kept in new.items():
                self._store.keep(key, kept, self._ttl)
        if len(missing) < len(self._keys):
            frame = self._joined(self._kept | new)
            if self._kept:
                frame.kept = Usage(_tokens(self._kept[key] for key in self._keys if key in self._kept), 0)
        frame.usage = self._used
        return Answer(frame)

    async def _asked(self, entry: "Entry", step: Step, missing: Sequence[bytes]) -> tuple[Frame, dict[bytes, Kept]]:
        """The answer for the inputs that are missing, and their vectors in their order."""
        call = entry.call
        if len(missing) < len(self._keys):
            inputs = _inputs.decode(call.fields["input"])
            place = {key: at for at, key in reversed(list(enumerate(self._keys)))}
            call.ask_for(msgspec.json.encode({**call.fields, "input": [inputs[place[key]] for key in missing]}))
        frame = (await step(entry)).first
        vectors = vectors_of(frame)
        if vectors is None or len(vectors) != len(missing):
            raise UpstreamFailed(
                "What was asked for embeddings did not send one for each input.", code="upstream_malformed"
            )
        if frame.usage is not None:
            before = self._used.prompt if self._used is not None else 0
            self._used = Usage(before + frame.usage.prompt, 0)
        tokens = _shares(frame.usage.prompt if frame.usage else 0, [self._sizes[key] for key in missing])
        now = clock.now()
        return frame, {
            key: Kept(VERSION, call.request_id, now, (bytes(vectors[at]),), frame.model, None, Usage(tokens[at], 0))
            for at, key in enumerate(missing)
        }

    async def share(self) -> None:
        """What is new, with the other replicas. Raises nothing."""
        await asyncio.gather(*[self._store.share(key, kept, self._ttl) for key, kept in self._new.items()])

    def _joined(self, kept: dict[bytes, Kept]) -> Frame:
        vectors = [msgspec.Raw(kept[key].data[0]) for key in self._keys]
        tokens = _tokens(kept[key] for key in self._keys)
        return Embedded.of(vectors, tokens=tokens, model=kept[self._keys[0]].model)


def _size(item: str | Sequence[int]) -> int:
    """What its tokens are in proportion to."""
    return len(item.encode("utf-8", "surrogatepass")) if isinstance(item, str) else len(item)


def _shares(tokens: int, sizes: Sequence[int]) -> list[int]:
    """So many tokens, told apart by size; their sum is exact. An answer has only the sum of its inputs' tokens."""
    shares: list[int] = []
    before, size, whole = 0, 0, sum(sizes)
    for one in sizes:
        size += one
        upto = tokens * size // whole
        shares.append(upto - before)
        before = upto
    return shares


def _tokens(vectors: Iterable[Kept]) -> int:
    return sum(one.usage.prompt for one in vectors if one.usage is not None)
