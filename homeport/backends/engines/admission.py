"""Who may generate now: an engine has so many places and so many tokens of cache, and a queue of limited length."""

import asyncio
from collections import deque
from math import inf
from typing import NamedTuple

from homeport import clock
from homeport.backends.lines import places_for_lines
from homeport.backends.text import Occupancy
from homeport.errors import Unavailable

#: Seconds after a request's end in which lines of batches go on as if it still ran. Whoever chats comes again soon, and
#: what runs by then slows every token down: measured, an engine full of lines makes an answer three times slower.
LINGER = 30.0


class _Waiting(NamedTuple):
    tokens: int
    turn: "asyncio.Future[None]"


class Admission:
    """Places and tokens, handed out first come, first served; to lines of batches last, and not all of them (lines.py).
    For one event loop."""

    def __init__(self, *, places: int, tokens: int, queue: int) -> None:
        """queue: how many may wait. Lines of batches do not count."""
        self._places = self._all_places = places
        self._tokens = self._all = tokens
        self._queue = queue
        self._waiting: deque[_Waiting] = deque()
        self._lines_waiting: deque[_Waiting] = deque()
        self._lines = 0
        self._lines_tokens = 0
        self._others_until = -inf

    def occupancy(self, engine: str) -> Occupancy:
        busy = self._all_places - self._places
        return Occupancy(engine, self._all_places, busy, len(self._waiting), self._lines)

    async def enter(self, tokens: int, *, batch: bool = False) -> None:
        """Wait for a place and `tokens` (more than there are: for all of them). Raises Unavailable (503) when too many
        wait already. `leave` with the same must follow. batch: a line of a batch, which waits however many do."""
        waiting = self._lines_waiting if batch else self._waiting
        if not waiting and (self._fits_line(tokens) if batch else self._fits(tokens)):
            self._take(tokens, batch=batch)
            return
        if not batch and len(waiting) >= self._queue:
            raise Unavailable(
                "That model is currently overloaded with other requests. You can retry your request.",
                code="model_overloaded",
                headers=(("retry-after", "5"),),
            )
        entry = _Waiting(tokens, asyncio.get_running_loop().create_future())
        waiting.append(entry)
        try:
            await entry.turn
        except asyncio.CancelledError:
            if entry.turn.done() and not entry.turn.cancelled():
                self.leave(tokens, batch=batch)  # the turn had come in the same moment
            else:
                if entry in waiting:  # or its turn was passed over: others were cancelled in the same moment
                    waiting.remove(entry)
                self._admit()
            raise

    def leave(self, tokens: int, *, batch: bool = False) -> None:
        tokens = min(tokens, self._all)
        self._places += 1
        self._tokens += tokens
        if batch:
            self._lines -= 1
            self._lines_tokens -= tokens
        else:
            self._others_until = clock.monotonic() + LINGER
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._fits(self._waiting[0].tokens):
            self._call(self._waiting, batch=False)
        while self._lines_waiting and self._fits_line(self._lines_waiting[0].tokens):
            self._call(self._lines_waiting, batch=True)

    def _call(self, waiting: deque[_Waiting], *, batch: bool) -> None:
        tokens, turn = waiting.popleft()
        if not turn.cancelled():
            self._take(tokens, batch=batch)
            turn.set_result(None)

    def _fits(self, tokens: int) -> bool:
        return self._places > 0 and self._tokens >= min(tokens, self._all)

    def _fits_line(self, tokens: int) -> bool:
        """Of the tokens lines have the same share as of the places. One line may always run, however long it is; so
        when nobody has come for a while, the end of one lets the others in."""
        if self._waiting or not self._fits(tokens):
            return False
        alone = self._lines == self._all_places - self._places and clock.monotonic() >= self._others_until
        most = places_for_lines(self._all_places, alone=alone)
        fits = self._lines_tokens + min(tokens, self._all) <= self._all * most // self._all_places
        return self._lines == 0 or (self._lines < most and fits)

    def _take(self, tokens: int, *, batch: bool) -> None:
        tokens = min(tokens, self._all)
        self._places -= 1
        self._tokens -= tokens
        if batch:
            self._lines += 1
            self._lines_tokens += tokens
