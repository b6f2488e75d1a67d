"""Who may generate now: an engine has so many places and so many tokens of cache, and a queue of limited length."""

import asyncio
from bisect import bisect
from collections import deque
from math import inf
from typing import NamedTuple

from homeport import clock
from homeport.backends.lines import Line, places_for_lines
from homeport.backends.text import Occupancy
from homeport.errors import Unavailable

#: Seconds after a request's end in which lines of batches go on as if it still ran. Whoever chats comes again soon, and
#: what runs by then slows every token down: measured, an engine full of lines makes an answer three times slower.
LINGER = 30.0
#: Times that a line is sent back from the last places that lines have beside others. Then it is let to its end, or it
#: would never come to it where somebody asks every minute.
MOST_SENT_BACK = 3


class _Waiting(NamedTuple):
    tokens: int
    line: Line | None
    turn: "asyncio.Future[None]"


class Admission:
    """Places and tokens, handed out first come, first served; to lines of batches last (lines.py). Lines have all of
    them until somebody asks; then those that came last are sent back. For one event loop."""

    def __init__(self, *, places: int, tokens: int, queue: int, spare: int = 0, lines: int | None = None) -> None:
        """queue: how many may wait. Lines of batches do not count. spare: places that the engine has beyond these, for
        requests while lines that were sent back are leaving. lines: that run at once while nobody else asks, where that
        is more than `places`."""
        self._places = self._all_places = places
        self._most_lines = places if lines is None else lines
        self._tokens = self._all = tokens
        self._queue = queue
        self._spare = spare
        self._waiting: deque[_Waiting] = deque()
        self._lines_waiting: deque[_Waiting] = deque()
        self._lines: dict[Line, int] = {}
        self._going: set[Line] = set()
        self._others_until = -inf

    def occupancy(self, engine: str) -> Occupancy:
        busy = self._all_places - self._places
        places = self._all_places if busy <= self._all_places else self._most_lines
        return Occupancy(engine, places, busy, len(self._waiting), len(self._lines), self._most_lines)

    async def enter(self, tokens: int, line: Line | None = None) -> None:
        """Wait for a place and `tokens` (more than there are: for all of them). Raises Unavailable (503) when too many
        wait already. `leave` with the same must follow. line: of a batch, which waits however many do."""
        if line is not None:
            entry = self._line_comes(tokens, line)
        else:
            quiet = self._quiet()
            if not self._waiting and self._fits(tokens):
                self._take(tokens)
                self._make_room(quiet=quiet)
                return
            if len(self._waiting) >= self._queue:
                raise Unavailable(
                    "That model is currently overloaded with other requests. You can retry your request.",
                    code="model_overloaded",
                    headers=(("retry-after", "5"),),
                )
            entry = _entry(tokens)
            self._waiting.append(entry)
            self._make_room(quiet=quiet)
            self._admit()
        waiting = self._waiting if line is None else self._lines_waiting
        try:
            await entry.turn
        except asyncio.CancelledError:
            if entry.turn.done() and not entry.turn.cancelled():
                self.leave(tokens, line)  # the turn had come in the same moment
            else:
                if entry in waiting:  # or its turn was passed over: others were cancelled in the same moment
                    waiting.remove(entry)
                self._admit()
            raise

    def leave(self, tokens: int, line: Line | None = None) -> None:
        self._places += 1
        self._tokens += min(tokens, self._all)
        if line is not None:
            del self._lines[line]
            self._going.discard(line)
        else:
            self._others_until = clock.monotonic() + LINGER
        self._admit()

    def _line_comes(self, tokens: int, line: Line) -> _Waiting:
        """Those that were sent back go before those that came after them."""
        entry = _entry(tokens, line)
        self._lines_waiting.insert(bisect(self._lines_waiting, line.number, key=_number), entry)
        self._admit()
        return entry

    def _make_room(self, *, quiet: bool) -> None:
        """Somebody has come. Lines keep what they have beside others, the oldest of them, so that they come to an end.
        quiet: nobody had come for a while, so even of these some go, where one who waits would not fit."""
        staying = sorted(self._lines.keys() - self._going, key=lambda line: line.number)
        share = places_for_lines(self._all_places, alone=False)
        for line in staying[share:]:
            self._send_back(line)
        staying = [line for line in staying[:share] if line.sent_back < MOST_SENT_BACK]
        while quiet and self._waiting and staying and not self._will_fit(self._waiting[0].tokens):
            self._send_back(staying.pop())

    def _send_back(self, line: Line) -> None:
        """It has its place until it leaves, which may take a token more."""
        self._going.add(line)
        line.send_back()

    def _admit(self) -> None:
        while self._waiting and self._fits(self._waiting[0].tokens):
            self._call(self._waiting)
        while self._lines_waiting and self._fits_line(self._lines_waiting[0].tokens):
            self._call(self._lines_waiting)

    def _call(self, waiting: deque[_Waiting]) -> None:
        tokens, line, turn = waiting.popleft()
        if not turn.cancelled():
            self._take(tokens, line)
            turn.set_result(None)

    def _fits(self, tokens: int) -> bool:
        return self._places + min(len(self._going), self._spare) > 0 and self._has(tokens)

    def _has(self, tokens: int) -> bool:
        return self._tokens >= min(tokens, self._all)

    def _will_fit(self, tokens: int) -> bool:
        """Once those have left that are going."""
        coming = sum(self._lines[line] for line in self._going)
        return self._places + len(self._going) > 0 and self._tokens + coming >= min(tokens, self._all)

    def _quiet(self) -> bool:
        """Lines are alone, and have been for a while."""
        alone = len(self._lines) == self._all_places - self._places and not self._waiting
        return alone and clock.monotonic() >= self._others_until

    def _fits_line(self, tokens: int) -> bool:
        """Beside others lines have the same share of the tokens as of the places. One line may always run, however long
        it is; so when nobody has come for a while, the end of one lets the others in."""
        quiet = self._quiet()
        places = self._places + (self._most_lines - self._all_places if quiet else 0)
        if self._waiting or places <= 0 or not self._has(tokens):
            return False
        if not self._lines or quiet:
            return True
        most = places_for_lines(self._all_places, alone=False)
        fits = sum(self._lines.values()) + min(tokens, self._all) <= self._all * most // self._all_places
        return len(self._lines) < most and fits

    def _take(self, tokens: int, line: Line | None = None) -> None:
        tokens = min(tokens, self._all)
        self._places -= 1
        self._tokens -= tokens
        if line is not None:
            self._lines[line] = tokens


def _entry(tokens: int, line: Line | None = None) -> _Waiting:
    return _Waiting(tokens, line, asyncio.get_running_loop().create_future())


def _number(entry: _Waiting) -> int:
    """Of a line that waits."""
    return entry.line.number if entry.line is not None else 0
