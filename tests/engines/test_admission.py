"""Places and tokens are handed out first come, first served, lines of batches last, and come back whatever happens."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.backends.engines.admission import LINGER, MOST_SENT_BACK, Admission
from homeport.backends.lines import Line, to_its_end
from homeport.errors import Unavailable
from tests import clocks


async def settled() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def entered(admission: Admission, tokens: int, order: list[int], line: Line | None = None) -> None:
    await admission.enter(tokens, line)
    order.append(tokens)


def test_who_fits_enters_at_once() -> None:
    async def run() -> None:
        admission = Admission(places=2, tokens=10, queue=0)
        await admission.enter(5)
        await admission.enter(5)
        with pytest.raises(Unavailable) as caught:
            await admission.enter(1)
        assert admission.occupancy("any")[:5] == ("any", 2, 2, 0, 0)
        assert (caught.value.status, caught.value.code) == (503, "model_overloaded")
        assert ("retry-after", "5") in caught.value.headers

    asyncio.run(run())


@pytest.mark.parametrize("batch", [False, True])
def test_several_who_wait_may_leave_in_one_moment(batch: bool) -> None:
    """The first to go passes over the turns of the others."""

    async def run() -> None:
        admission = Admission(places=1, tokens=100, queue=9)
        await admission.enter(1)
        waiting = [asyncio.ensure_future(admission.enter(1, Line() if batch else None)) for _ in range(3)]
        await settled()
        admission.leave(1)
        for one in waiting:
            one.cancel()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(one) for one in ended] == [asyncio.CancelledError] * 3
        assert admission.occupancy("any").waiting == 0
        await admission.enter(100)

    asyncio.run(run())


@pytest.mark.parametrize(("places", "tokens"), [(1, 100), (9, 10)])
def test_who_does_not_fit_waits_in_order(places: int, tokens: int) -> None:
    """A small request does not pass a large one that came before it."""

    async def run() -> list[int]:
        admission, order = Admission(places=places, tokens=tokens, queue=9), list[int]()
        await admission.enter(10)
        waiting = [asyncio.ensure_future(entered(admission, size, order)) for size in (8, 1, 7)]
        await settled()
        assert order == []
        admission.leave(10)
        await settled()
        if places > 1:
            assert order == [8, 1]
        else:
            assert order == [8]
        for size in (8, 1):
            admission.leave(size)
            await settled()
        await asyncio.gather(*waiting)
        return order

    assert asyncio.run(run()) == [8, 1, 7]


def test_the_queue_is_limited() -> None:
    async def run() -> None:
        admission = Admission(places=1, tokens=10, queue=1)
        await admission.enter(1)
        waiting = asyncio.ensure_future(admission.enter(1))
        await settled()
        with pytest.raises(Unavailable):
            await admission.enter(1)
        admission.leave(1)
        await waiting

    asyncio.run(run())


def test_who_leaves_the_queue_makes_room_for_the_next() -> None:
    async def run() -> None:
        admission, order = Admission(places=9, tokens=10, queue=9), list[int]()
        await admission.enter(5)
        large = asyncio.ensure_future(entered(admission, 9, order))
        small = asyncio.ensure_future(entered(admission, 2, order))
        await settled()
        large.cancel()
        await small
        assert order == [2]
        assert large.cancelled()

    asyncio.run(run())


def test_who_leaves_in_the_moment_of_its_turn_gives_it_back() -> None:
    async def run() -> None:
        admission = Admission(places=1, tokens=10, queue=9)
        await admission.enter(10)
        first = asyncio.ensure_future(admission.enter(10))
        second = asyncio.ensure_future(admission.enter(10))
        await settled()
        admission.leave(10)
        first.cancel()
        await asyncio.wait_for(second, 5)
        assert first.cancelled()
        admission.leave(10)
        await asyncio.wait_for(admission.enter(10), 5)

    asyncio.run(run())


def test_more_than_there_is_takes_all_there_is() -> None:
    """It must not wait for ever."""

    async def run() -> None:
        admission = Admission(places=2, tokens=10, queue=9)
        await asyncio.wait_for(admission.enter(99), 5)
        waiting = asyncio.ensure_future(admission.enter(1))
        await settled()
        assert not waiting.done()
        admission.leave(99)
        await asyncio.wait_for(waiting, 5)
        admission.leave(1)
        await asyncio.wait_for(admission.enter(10), 5)

    asyncio.run(run())


# Lines of batches.


class Lines:
    """They come, work until they are told to end, and leave."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.at_work: dict[int, asyncio.Event] = {}
        self.begun: list[int] = []
        self.tasks: list[asyncio.Task[list[int]]] = []

    async def come(self, count: int, tokens: int = 1) -> None:
        """Those that may have entered by then."""
        first = len(self.tasks)
        self.tasks += [asyncio.create_task(self._one(number, tokens)) for number in range(first, first + count)]
        await settled()

    async def _one(self, number: int, tokens: int) -> list[int]:
        async def work(line: Line) -> list[int]:
            await self.admission.enter(tokens, line)
            self.begun.append(number)
            over = self.at_work[number] = asyncio.Event()
            try:
                await over.wait()
            finally:
                del self.at_work[number]
                self.admission.leave(tokens, line)
            return [number]

        return await to_its_end(work)

    @property
    def working(self) -> list[int]:
        """The numbers of those at work."""
        return sorted(self.at_work)

    async def end(self, number: int) -> None:
        self.at_work[number].set()
        await settled()

    async def end_all(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@contextmanager
def later(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The time, which a test moves on."""
    now = [1000.0]
    with monkeypatch.context() as patched:
        clocks.own(patched, "backends.engines.admission", monotonic=lambda: now[0])
        yield now


@pytest.mark.parametrize(("places", "beside"), [(16, 4), (8, 2), (4, 1), (2, 1), (1, 0), (64, 16)])
def test_lines_have_all_places_until_somebody_asks(monkeypatch: pytest.MonkeyPatch, places: int, beside: int) -> None:
    async def run(now: list[float]) -> None:
        admission = Admission(places=places, tokens=1000 * places, queue=0)
        lines = Lines(admission)
        await lines.come(100)
        assert lines.working == [*range(places)]
        assert admission.occupancy("any")[:5] == ("any", places, places, 0, places)
        await lines.end_all()
        await admission.enter(1)
        lines = Lines(admission)
        await lines.come(100)
        assert lines.working == [*range(beside)]
        admission.leave(1)
        await settled()
        assert lines.working == [*range(max(1, beside))], "whoever asked may ask again soon"
        now[0] += LINGER
        await lines.end(0)
        assert lines.working == [*range(1, places + 1)]
        await lines.end_all()

    with later(monkeypatch) as now:
        asyncio.run(run(now))


@pytest.mark.parametrize(("places", "beside"), [(16, 4), (8, 2), (4, 1), (2, 1), (1, 0)])
def test_who_asks_gets_a_place_at_once_from_the_youngest_lines(places: int, beside: int) -> None:
    async def run() -> None:
        admission = Admission(places=places, tokens=1000 * places, queue=1)
        lines = Lines(admission)
        await lines.come(places + 3)
        assert lines.working == [*range(places)]
        await asyncio.wait_for(admission.enter(1), 5)
        await settled()
        assert lines.working == [*range(beside)]
        admission.leave(1)
        await settled()
        while left := sum(not task.done() for task in lines.tasks):
            assert len(lines.working) == min(left, max(1, beside))
            await lines.end(lines.working[0])
        assert [task.result() for task in lines.tasks] == [[number] for number in range(places + 3)]
        assert lines.begun[places:] == [*range(beside, places + 3)], "those that were sent back go first"
        assert admission.occupancy("any")[:5] == ("any", places, 0, 0, 0)

    asyncio.run(run())


def test_lines_alone_may_be_more_than_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an engine that gets more done with more of them."""

    async def run(now: list[float]) -> None:
        admission = Admission(places=4, tokens=20, queue=1, lines=16)
        lines = Lines(admission)
        await lines.come(20)
        assert lines.working == [*range(16)]
        assert admission.occupancy("any")[:6] == ("any", 16, 16, 0, 16, 16)
        for _ in range(3):
            await asyncio.wait_for(admission.enter(1), 5)
        assert lines.working == [0]
        assert admission.occupancy("any")[:6] == ("any", 4, 4, 0, 1, 16)
        for _ in range(3):
            admission.leave(1)
        await settled()
        assert lines.working == [0], "whoever asked may ask again soon"
        now[0] += LINGER
        await lines.end(0)
        assert lines.working == [*range(1, 17)]
        await lines.end_all()

    with later(monkeypatch) as now:
        asyncio.run(run(now))


def test_with_places_to_spare_nobody_waits_until_a_line_has_left() -> None:
    async def run() -> None:
        admission = Admission(places=4, tokens=400, queue=9, spare=1)
        lines = Lines(admission)
        await lines.come(4)
        entering = [asyncio.ensure_future(admission.enter(1)) for _ in range(2)]
        await asyncio.sleep(0)
        assert [one.done() for one in entering] == [True, False]
        assert admission.occupancy("any")[:5] == ("any", 4, 5, 1, 4), "the lines are still there"
        await settled()
        assert [one.done() for one in entering] == [True, True]
        assert admission.occupancy("any")[:5] == ("any", 4, 3, 0, 1)
        await lines.end_all()

    asyncio.run(run())


def test_a_long_request_gets_its_tokens_from_the_youngest_lines() -> None:
    async def run() -> None:
        admission = Admission(places=8, tokens=800, queue=9)
        lines = Lines(admission)
        await lines.come(3, tokens=250)
        assert lines.working == [0, 1, 2]
        await asyncio.wait_for(admission.enter(500), 5)
        assert lines.working == [0]
        await lines.end_all()

    asyncio.run(run())


def test_who_asks_again_soon_sends_nobody_back() -> None:
    """Of the last places that lines have beside others."""

    async def run() -> None:
        admission = Admission(places=4, tokens=400, queue=9)
        lines = Lines(admission)
        await lines.come(4)
        for _ in range(3):
            await asyncio.wait_for(admission.enter(1), 5)
        last = asyncio.ensure_future(admission.enter(1))
        await settled()
        assert not last.done()
        assert lines.working == [0]
        await lines.end(0)
        await asyncio.wait_for(last, 5)
        assert lines.working == []
        await lines.end_all()

    asyncio.run(run())


def test_a_line_comes_to_its_end_though_somebody_asks_every_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(now: list[float]) -> None:
        admission = Admission(places=1, tokens=10, queue=9)
        lines = Lines(admission)
        await lines.come(1)
        for _ in range(MOST_SENT_BACK):
            await asyncio.wait_for(admission.enter(1), 5)
            admission.leave(1)
            await settled()
            assert lines.working == [0]
            now[0] += 2 * LINGER
        waiting = asyncio.ensure_future(admission.enter(1))
        await settled()
        assert not waiting.done()
        await lines.end(0)
        await asyncio.wait_for(waiting, 5)
        assert lines.begun == [0] * (MOST_SENT_BACK + 1)

    with later(monkeypatch) as now:
        asyncio.run(run(now))


def test_a_line_that_is_cancelled_while_it_is_sent_back_has_gone() -> None:
    async def run() -> None:
        admission = Admission(places=1, tokens=10, queue=9)
        lines = Lines(admission)
        await lines.come(1)
        waiting = asyncio.ensure_future(admission.enter(1))
        await asyncio.sleep(0)
        lines.tasks[0].cancel()
        await asyncio.wait_for(waiting, 5)
        await settled()
        assert lines.tasks[0].cancelled()
        assert admission.occupancy("any")[:5] == ("any", 1, 1, 0, 0)

    asyncio.run(run())


def test_an_error_of_a_line_is_its_own() -> None:
    """A timeout, too, which is how a line is sent back."""

    async def run() -> None:
        async def work(_: Line) -> list[int]:
            raise TimeoutError("of its own")

        with pytest.raises(TimeoutError, match="of its own"):
            await to_its_end(work)

    asyncio.run(run())


def test_a_line_that_wants_everything_gets_it_when_it_is_there() -> None:
    async def run() -> None:
        admission = Admission(places=8, tokens=800, queue=9)
        await admission.enter(100)
        lines = Lines(admission)
        await lines.come(1, tokens=5000)
        assert lines.working == []
        admission.leave(100)
        await settled()
        assert lines.working == [0]
        small = asyncio.ensure_future(admission.enter(1))
        await settled()
        assert not small.done(), "somebody has asked a moment ago"
        await lines.end(0)
        await asyncio.wait_for(small, 5)

    asyncio.run(run())


def test_lines_are_no_queue_and_are_never_refused() -> None:
    async def run() -> None:
        admission = Admission(places=1, tokens=10, queue=1)
        await admission.enter(1)
        lines = Lines(admission)
        await lines.come(1000)
        waiting = asyncio.ensure_future(admission.enter(1))
        await settled()
        assert admission.occupancy("any").waiting == 1
        with pytest.raises(Unavailable):
            await admission.enter(1)
        admission.leave(1)
        await waiting
        assert lines.working == []
        admission.leave(1)
        await settled()
        assert lines.working == [0]
        await lines.end_all()

    asyncio.run(run())


def test_lines_go_in_their_order_and_one_that_leaves_lets_the_next_one_in() -> None:
    async def run() -> list[int]:
        admission, order = Admission(places=1, tokens=10, queue=0), list[int]()
        first, others = Line(), [Line(), Line(), Line()]
        await admission.enter(1, first)
        waiting = [
            asyncio.ensure_future(entered(admission, size, order, line))
            for size, line in zip((2, 3, 4), others, strict=True)
        ]
        await settled()
        waiting[0].cancel()
        await settled()
        admission.leave(1, first)
        waiting[1].cancel()  # in the moment of its turn
        await asyncio.wait_for(waiting[2], 5)
        admission.leave(4, others[2])
        assert admission.occupancy("any")[:5] == ("any", 1, 0, 0, 0)
        return order

    assert asyncio.run(run()) == [4]


@given(
    steps=st.lists(st.tuples(st.sampled_from(["enter", "line", "leave", "cancel"]), st.integers(1, 30)), max_size=60),
    places=st.integers(1, 9),
    more=st.integers(0, 9),
    lull=st.booleans(),
)
def test_nothing_is_lost_whoever_comes_and_goes(
    steps: list[tuple[str, int]], places: int, more: int, lull: bool
) -> None:
    """more: places of lines that are alone. lull: it is always long ago that somebody has asked."""

    async def run() -> None:
        admission = Admission(places=places, tokens=20, queue=5, lines=places + more)
        there: list[tuple[asyncio.Future[None], int]] = []
        lines = Lines(admission)
        for what, number in steps:
            if lull:
                admission._others_until = 0.0
            if what == "enter":
                there.append((asyncio.ensure_future(admission.enter(number)), number))
            elif what == "line":
                await lines.come(1, tokens=number)
            elif number % 2 and lines.tasks:
                if what == "cancel":
                    lines.tasks[number % len(lines.tasks)].cancel()
                elif lines.working:
                    await lines.end(lines.working[number % len(lines.working)])
            elif there:
                future, tokens = there.pop(number % len(there))
                if what == "leave" and future.done() and not future.exception():
                    admission.leave(tokens)
                elif not future.done():
                    future.cancel()
                else:
                    there.append((future, tokens))
            await settled()
            await settled()
            there = [one for one in there if not (one[0].done() and one[0].exception())]
            _, _, busy, waiting, of_lines = admission.occupancy("any")[:5]
            requests = sum(future.done() for future, _ in there)
            assert busy == requests + len(lines.working) <= (places if requests else places + more)
            assert of_lines == len(lines.working)
            assert waiting == sum(not future.done() for future, _ in there)
        while there or lines.working:
            if lines.working:
                await lines.end(lines.working[0])
            else:
                one = next(one for one in there if one[0].done())  # somebody has always entered
                there.remove(one)
                admission.leave(one[1])
                await settled()
        await settled()
        assert all(task.done() for task in lines.tasks)
        assert admission.occupancy("any")[:5] == ("any", places, 0, 0, 0)
        await asyncio.wait_for(admission.enter(20), 5)

    asyncio.run(run())
