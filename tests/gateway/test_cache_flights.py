"""One answer for everybody who asks the same: who gets it, who pays, and that nothing is left behind."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.backends.capabilities import Answer, Frame, Usage
from homeport.errors import Unavailable
from homeport.gateway.flights import _AHEAD, Flight, Flights, Found, Work

KEY = b"key"
USAGE = Usage(5, 6)


class Asker:
    """What a flight wants of a ledger's entry."""

    def __init__(self, number: int) -> None:
        self.call = SimpleNamespace(request_id=f"req_{number}", model="")
        self.cache_hit = False
        self.usage: Usage | None = None
        self.target: str | None = None
        self.left = False


def asker(number: int = 0) -> Any:
    return Asker(number)


class Source:
    """A next step that answers in pieces, each when it is allowed to."""

    def __init__(self, pieces: int, *, size: int = 1, fail: bool = False) -> None:
        self.allowed = asyncio.Semaphore(0)
        self.given = 0
        self.closed = False
        self._pieces = pieces
        self._size = size
        self._fail = fail

    async def answer(self, entry: Any) -> Answer:
        entry.target, entry.call.model = "far", "ran"
        return await Answer.begun(self._frames(), stream=True)

    async def _frames(self) -> AsyncGenerator[Frame, None]:
        try:
            for number in range(self._pieces):
                await self.allowed.acquire()
                self.given += 1
                yield Frame(b"%d" % number * self._size, usage=USAGE if number + 1 == self._pieces else None)
            if self._fail:
                raise Unavailable("broken")
        finally:
            self.closed = True


class House:
    def __init__(self, source: Source, *, largest: int = 10_000, found: Found | None = None) -> None:
        self.flights = Flights(max_bytes=4 * largest, largest=largest)
        self.kept: list[bytes] = []
        self.source = source
        self._found = found

    def begin(self, entry: Any) -> Flight:
        async def find() -> Found | None:
            return self._found

        return self.flights.begin(KEY, entry, Work(find, lambda: self.source.answer(entry), self._keep), joinable=True)

    def _keep(self, frames: Sequence[Frame]) -> None:
        self.kept = [frame.data for frame in frames]

    def check_empty(self) -> None:
        assert self.flights.find(KEY) is None
        assert (self.flights.listeners, self.flights._bytes) == (0, 0)


async def settle() -> None:
    """Everybody does what can be done now."""
    for _ in range(20):
        await asyncio.sleep(0)


async def read(flight: Flight, entry: Any, got: list[bytes]) -> None:
    try:
        async for frame in flight.listen(entry):
            got.append(frame.data)
    except asyncio.CancelledError:
        entry.left = True
        raise


def test_everybody_gets_it_from_the_beginning_and_the_first_pays() -> None:
    async def fly() -> None:
        house = House(Source(3))
        entries, got = [asker(n) for n in range(3)], [[] for _ in range(3)]  # type: ignore[var-annotated]
        flight = house.begin(entries[0])
        async with asyncio.TaskGroup() as group:
            for entry, mine in zip(entries, got, strict=True):
                assert house.flights.find(KEY) is flight
                group.create_task(read(flight, entry, mine))
                house.source.allowed.release()
                await settle()
        assert got == [[b"0", b"1", b"2"]] * 3
        assert house.kept == got[0]
        assert [entry.cache_hit for entry in entries] == [False, True, True]
        assert (entries[0].target, entries[1].target) == ("far", None)
        house.check_empty()

    asyncio.run(fly())


def test_an_answer_that_was_there_is_paid_by_nobody() -> None:
    async def fly() -> None:
        house = House(Source(0), found=Found([Frame(b"a"), Frame(b"b")], b"", 3))
        entry, got = asker(), []  # type: ignore[var-annotated]
        await read(house.begin(entry), entry, got)
        assert (got, entry.cache_hit, house.kept) == ([b"a", b"b"], True, [])
        house.check_empty()

    asyncio.run(fly())


def test_what_fails_fails_for_everybody_and_is_not_kept() -> None:
    async def fly() -> None:
        house = House(Source(2, fail=True))
        entries = [asker(n) for n in range(2)]
        flight = house.begin(entries[0])
        got: list[list[bytes]] = [[], []]
        reading = [asyncio.ensure_future(read(flight, entry, mine)) for entry, mine in zip(entries, got, strict=True)]
        await settle()
        house.source.allowed.release()
        house.source.allowed.release()
        outcomes = await asyncio.gather(*reading, return_exceptions=True)
        assert [type(one) for one in outcomes] == [Unavailable] * 2
        assert got == [[b"0", b"1"]] * 2
        assert house.kept == []
        house.check_empty()

    asyncio.run(fly())


def test_whoever_pays_and_leaves_before_the_end_of_what_was_made_pays_all_of_it() -> None:
    async def fly() -> None:
        house = House(Source(3))
        entry = asker()
        frames = house.begin(entry).listen(entry)
        for _ in range(3):
            house.source.allowed.release()
        await anext(frames)
        await settle()
        await frames.aclose()
        assert (entry.usage, entry.cache_hit) == (USAGE, False)
        assert len(house.kept) == 3
        house.check_empty()

    asyncio.run(fly())


def test_what_is_too_large_comes_as_fast_as_the_slowest_reads() -> None:
    async def fly() -> None:
        piece = 16 * 1024
        house = House(Source(200, size=piece // 3), largest=4 * piece)
        slow, fast = asker(0), asker(1)
        flight = house.begin(slow)
        slowly = flight.listen(slow)
        got: list[bytes] = []
        reading = asyncio.ensure_future(read(flight, fast, got))
        await settle()
        for _ in range(200):
            house.source.allowed.release()
        first = await anext(slowly)
        for _ in range(100):
            await settle()
        assert house.source.given * len(first.data) < _AHEAD + 8 * piece
        assert house.flights.find(KEY) is None, "who comes now would miss its beginning"
        rest = [frame.data async for frame in slowly]
        await reading
        assert [first.data, *rest] == got
        assert len(got) == 200
        assert house.kept == []
        house.check_empty()

    asyncio.run(fly())


def test_closing_ends_what_runs_with_an_error() -> None:
    async def fly() -> None:
        house = House(Source(3))
        entry, got = asker(), []  # type: ignore[var-annotated]
        reading = asyncio.ensure_future(read(house.begin(entry), entry, got))
        house.source.allowed.release()
        await settle()
        await house.flights.close()
        with pytest.raises(Unavailable):
            await reading
        assert house.source.closed
        house.check_empty()

    asyncio.run(fly())


#: What happens: a piece comes, somebody asks, somebody leaves.
HAPPENINGS = st.lists(st.sampled_from(["piece", "piece", "join", "join", "leave first", "leave last"]), max_size=25)


@given(HAPPENINGS, st.integers(1, 6), st.booleans())
def test_whatever_happens_one_pays_and_nothing_stays(happenings: list[str], pieces: int, small: bool) -> None:
    async def fly() -> None:
        house = House(Source(pieces), largest=3 if small else 10_000)
        entries: list[Any] = [asker()]
        got: list[list[bytes]] = [[]]
        flight = house.begin(entries[0])
        reading = [asyncio.ensure_future(read(flight, entries[0], got[0]))]
        await settle()
        for happening in happenings:
            running = [one for one in reading if not one.done()]
            if happening == "piece":
                house.source.allowed.release()
            elif happening == "join" and house.flights.find(KEY) is flight:
                entries.append(asker(len(entries)))
                got.append([])
                reading.append(asyncio.ensure_future(read(flight, entries[-1], got[-1])))
            elif happening.startswith("leave") and running:
                running[0 if happening == "leave first" else -1].cancel()
            await settle()
        for _ in range(pieces):
            house.source.allowed.release()
        await asyncio.gather(*reading, return_exceptions=True)
        await settle()
        whole = [b"%d" % number for number in range(pieces)]
        stayed = [mine for entry, mine in zip(entries, got, strict=True) if not entry.left]
        assert all(mine == whole for mine in stayed)
        assert all(mine == whole[: len(mine)] for mine in got)
        paying = [entry for entry in entries if not entry.cache_hit]
        assert len(paying) == 1
        assert paying[0].target == "far" or not house.source.given
        assert house.source.closed or not house.source.given
        assert house.kept in ([], whole)
        if stayed and not small:
            assert house.kept == whole
        house.check_empty()

    asyncio.run(fly())
