"""One thread for an engine that many use, and who has it: whoever has a place does one piece of work at a time, and the
next one once all others that wanted to have had theirs. So nobody waits for the end of an hour."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

from homeport.backends.engines.admission import Admission
from homeport.backends.engines.memory import Memory
from homeport.backends.text import Occupancy

P = ParamSpec("P")
T = TypeVar("T")


class Turns:
    """For one event loop."""

    def __init__(self, name: str, *, places: int, queue: int) -> None:
        """places: who takes turns at once. queue: who may wait for a place."""
        self._name = name
        self._admission = Admission(places=places, tokens=places, queue=queue)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._memory = Memory()

    def occupancy(self) -> Occupancy:
        return self._admission.occupancy(self._name)._replace(memory_bytes=self._memory.bytes)

    @asynccontextmanager
    async def place(self) -> AsyncGenerator[None, None]:
        """Raises Unavailable (503) when too many wait."""
        await self._admission.enter(1)
        try:
            yield
        finally:
            self._admission.leave(1)

    async def take(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """One turn. Cancelling it takes it back, unless it has begun."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*arguments, **named))

    async def load(self, load: Callable[[], None]) -> None:
        """A turn in which the engine is loaded. Raises as it does."""
        await self.take(self._memory.taken_by, load)

    async def close(self) -> None:
        """Once the turn that has begun is over."""
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)
