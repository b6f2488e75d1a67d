"""Who may generate now: an engine has so many places and so many tokens of cache, and a queue of limited length."""

import asyncio
from collections import deque

from homeport.backends.text import Occupancy
from homeport.errors import Unavailable


class Admission:
    """Places and tokens, handed out first come, first served. For one event loop."""

    def __init__(self, *, places: int, tokens: int, queue: int) -> None:
        self._places = self._all_places = places
        self._tokens = self._all = tokens
        self._queue = queue
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def occupancy(self, engine: str) -> Occupancy:
        busy = self._all_places - self._places
        return Occupancy(engine, self._all_places, busy, len(self._waiting))

    async def enter(self, tokens: int) -> None:
        """Wait for a place and `tokens` (more than there are: for all of them). Raises Unavailable (503) when too many
        wait already. `leave` with the same number must follow."""
        if not self._waiting and self._fits(tokens):
            self._take(tokens)
            return
        if len(self._waiting) >= self._queue:
            raise Unavailable(
                "That model is currently overloaded with other requests. You can retry your request.",
                code="model_overloaded",
                headers=(("retry-after", "5"),),
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (tokens, turn)
        self._waiting.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(tokens)  # the turn had come in the same moment
            else:
                self._waiting.remove(entry)
                self._admit()
            raise

    def leave(self, tokens: int) -> None:
        self._places += 1
        self._tokens += min(tokens, self._all)
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            tokens, turn = self._waiting.popleft()
            if not turn.cancelled():
                self._take(tokens)
                turn.set_result(None)

    def _fits(self, tokens: int) -> bool:
        return self._places > 0 and self._tokens >= min(tokens, self._all)

    def _take(self, tokens: int) -> None:
        self._places -= 1
        self._tokens -= min(tokens, self._all)
