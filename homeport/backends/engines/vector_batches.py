"""Inputs of all requests that wait for vectors, made into batches. Where a batch is padded, of like lengths."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

from homeport.backends.engines.memory import Memory
from homeport.backends.lines import BESIDE
from homeport.backends.text import Occupancy
from homeport.backends.vectors import Vector
from homeport.errors import Unavailable

#: Inputs that wait and are looked through for some of like length.
_WINDOW = 512
#: Tokens of padding that cost no more than another batch would, and the share of a batch that they may be beyond that.
_FREE = 16
_WORTH = 10
#: Inputs that are not worth parting in two batches.
_SMALL = 4
#: Requests in flight from which on it is expected that somebody asks again soon.
_MANY = 4


@dataclass(slots=True, eq=False)
class _Waiting:
    ids: Sequence[int]
    done: "asyncio.Future[Vector]"


class VectorBatches:
    """One batch at a time, in a thread of its own. For one event loop."""

    def __init__(
        self,
        name: str,
        run: Callable[[Sequence[Sequence[int]]], list[Vector]],
        *,
        inputs: int,
        tokens: int,
        queue: int,
        padding: bool,
    ) -> None:
        """name: of the engine. run: a vector for each input of a batch; in the thread. inputs: of a batch at most.
        tokens: of it, padding included; one input may have more. queue: requests that may wait. padding: inputs of a
        batch are made as long as its longest."""
        self._name = name
        self._run = run
        self._most = inputs
        self._tokens = tokens
        self._queue = queue
        self._padding = padding
        self._requests = 0
        self._lock = Lock()  # of what follows, which the thread changes, too
        self._waiting: deque[_Waiting] = deque()
        self._lines_waiting: deque[_Waiting] = deque()
        self._running = 0  # inputs of the batch that is
        self._lines_running = False  # they are of lines of batches
        self._memory = Memory()
        self.thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def load(self, load: Callable[[], None]) -> None:
        """The engine, in the thread. Raises as it does."""
        await asyncio.get_running_loop().run_in_executor(self.thread, self._memory.taken_by, load)

    async def close(self) -> None:
        """Takes back what waits, and awaits what runs."""
        with self._lock:
            for waiting in (self._waiting, self._lines_waiting):
                for one in waiting:
                    one.done.cancel()
                waiting.clear()
        await asyncio.to_thread(self.thread.shutdown)

    def occupancy(self) -> Occupancy:
        lines = self._running if self._lines_running else 0
        waiting = len(self._waiting)
        return Occupancy(self._name, self._most, self._running, waiting, lines, memory_bytes=self._memory.bytes)

    async def embed(self, inputs: Sequence[Sequence[int]], *, batch: bool) -> list[Vector]:
        """inputs: tokens, those around an input included. Otherwise as VectorEngine.embed."""
        if not batch and self._requests >= self._queue:
            raise Unavailable(
                "That model is currently overloaded with other requests. You can retry your request.",
                code="model_overloaded",
                headers=(("retry-after", "5"),),
            )
        loop = asyncio.get_running_loop()
        items = [_Waiting(ids, loop.create_future()) for ids in inputs]
        self._requests += not batch
        with self._lock:
            (self._lines_waiting if batch else self._waiting).extend(items)
            first = [] if self._running else self._take(0)
        if first:
            self.thread.submit(self._work, first, loop)
        try:
            return await asyncio.gather(*[one.done for one in items])
        finally:
            self._requests -= not batch

    def _work(self, batch: list[_Waiting], loop: asyncio.AbstractEventLoop) -> None:
        """In the thread: batch after batch, until nobody waits. It takes the next one itself: a loop that is busy with
        the answers to the last one would give it out milliseconds later."""
        while batch:
            vectors: list[Vector] = []
            error: BaseException | None = None
            try:
                vectors = self._run([one.ids for one in batch])
            except BaseException as raised:
                error = raised
            loop.call_soon_threadsafe(_answer, batch, vectors, error)
            with self._lock:
                batch = self._take(len(batch))

    def _take(self, answered: int) -> list[_Waiting]:
        """Of those that wait a batch, which runs from now on; under the lock. Lines of batches have a small one, so
        that nobody waits long for its end. answered: inputs that have been answered this moment."""
        batch = self._batch(self._waiting, self._tokens, self._fair(answered))
        self._lines_running = not batch
        batch = batch or self._batch(self._lines_waiting, self._tokens // BESIDE, self._most)
        self._running = len(batch)
        return batch

    def _fair(self, answered: int) -> int:
        """Inputs of the next batch. Who has just been answered asks again while it runs, so half of all those is left
        to the batch after it: two halves take less than all but one and then that one, which is what would come of
        taking everybody who is there."""
        if not answered or self._requests < _MANY:
            return self._most
        return min(self._most, max(_SMALL, (len(self._waiting) + answered + 1) // 2))

    def _batch(self, waiting: deque[_Waiting], most_tokens: int, most: int) -> list[_Waiting]:
        """The one that has waited longest, with those of about its length where that matters."""
        while waiting and waiting[0].done.done():
            waiting.popleft()
        if not waiting:
            return []
        oldest = waiting[0]
        window = [one for _, one in zip(range(_WINDOW), waiting, strict=False) if not one.done.done()]
        if self._padding:
            window.sort(key=lambda one: abs(len(one.ids) - len(oldest.ids)))
        batch: list[_Waiting] = []
        longest = filled = 0
        for one in window[:most]:
            longest, filled = max(longest, len(one.ids)), filled + len(one.ids)
            size = longest * (len(batch) + 1) if self._padding else filled
            if batch and (size > most_tokens or size - filled > max(_FREE, size // _WORTH)):
                break
            batch.append(one)
        taken = set(map(id, batch))
        left = [one for one in waiting if id(one) not in taken and not one.done.done()]
        waiting.clear()
        waiting.extend(left)
        return batch


def _answer(batch: Sequence[_Waiting], vectors: Sequence[Vector], error: BaseException | None) -> None:
    for place, one in enumerate(batch):
        if one.done.done():
            continue
        if error is not None:
            one.done.set_exception(error)
        else:
            one.done.set_result(vectors[place])
