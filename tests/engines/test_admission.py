"""Places and tokens are handed out first come, first served, lines of batches last, and come back whatever happens."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport import clock
from homeport.backends.engines.admission import LINGER, Admission
from homeport.errors import Unavailable


async def settled() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def entered(admission: Admission, tokens: int, order: list[int], *, batch: bool = False) -> None:
    await admission.enter(tokens, batch=batch)
    order.append(tokens)


def test_who_fits_enters_at_once() -> None:
    async def run() -> None:
        admission = Admission(places=2, tokens=10, queue=0)
        await admission.enter(5)
        await admission.enter(5)
        with pytest.raises(Unavailable) as caught:
            await admission.enter(1)
        assert admission.occupancy("any") == ("any", 2, 2, 0, 0)
        assert (caught.value.status, caught.value.code) == (503, "model_overloaded")
        assert ("retry-after", "5") in caught.value.headers

    asyncio.run(run())


@pytest.mark.parametrize("batch", [False, True])
def test_several_who_wait_may_leave_in_one_moment(batch: bool) -> None:
    """The first to go passes over the turns of the others."""

    async def run() -> None:
        admission = Admission(places=1, tokens=100, queue=9)
        await admission.enter(1)
        waiting = [asyncio.ensure_future(admission.enter(1, batch=batch)) for _ in range(3)]
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


async def lines(admission: Admission, count: int, tokens: int = 1) -> Sequence["asyncio.Future[None]"]:
    """So many come, and those that may have entered."""
    found = [asyncio.ensure_future(admission.enter(tokens, batch=True)) for _ in range(count)]
    await settled()
    return found


def inside(found: Sequence["asyncio.Future[None]"]) -> int:
    return sum(one.done() for one in found)


async def end(found: Sequence["asyncio.Future[None]"]) -> None:
    for one in found:
        one.cancel()
    await asyncio.gather(*found, return_exceptions=True)


@pytest.mark.parametrize(
    ("places", "alone", "beside"), [(16, 14, 4), (8, 7, 2), (4, 3, 1), (2, 1, 1), (1, 1, 0), (64, 56, 16)]
)
def test_lines_leave_places_to_others(monkeypatch: pytest.MonkeyPatch, places: int, alone: int, beside: int) -> None:
    now = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])

    async def run() -> None:
        admission = Admission(places=places, tokens=1000 * places, queue=0)
        many = await lines(admission, 100)
        assert inside(many) == alone
        assert admission.occupancy("any") == ("any", places, alone, 0, alone)
        await end(many)
        admission = Admission(places=places, tokens=1000 * places, queue=0)
        await admission.enter(1)
        many = await lines(admission, 100)
        assert inside(many) == beside
        admission.leave(1)
        await settled()
        theirs = max(1, beside)
        assert inside(many) == theirs, "whoever asked may ask again soon"
        now[0] += LINGER
        admission.leave(1, batch=True)
        await settled()
        assert inside(many) == alone + 1
        await end(many)

    asyncio.run(run())


def test_who_comes_while_lines_run_enters_at_once_and_overtakes_those_that_wait() -> None:
    async def run() -> None:
        admission = Admission(places=8, tokens=1000, queue=9)
        many = await lines(admission, 100)
        assert inside(many) == 7
        await asyncio.wait_for(admission.enter(1), 5)
        next_one = asyncio.ensure_future(admission.enter(1))
        await settled()
        assert not next_one.done()
        assert admission.occupancy("any").waiting == 1
        admission.leave(1, batch=True)
        await asyncio.wait_for(next_one, 5)
        for left in (5, 4, 3, 2):  # none of those that wait enters, while more than a quarter of the places is theirs
            admission.leave(1, batch=True)
            await settled()
            assert (inside(many), admission.occupancy("any").lines) == (7, left)
        admission.leave(1, batch=True)
        await settled()
        assert (inside(many), admission.occupancy("any").lines) == (8, 2)
        await end(many)

    asyncio.run(run())


def test_lines_leave_tokens_to_others() -> None:
    async def run() -> None:
        admission = Admission(places=8, tokens=800, queue=9)
        many = await lines(admission, 9, tokens=300)
        assert inside(many) == 2
        await asyncio.wait_for(admission.enter(200), 5)
        await end(many)

    asyncio.run(run())


def test_a_line_that_wants_everything_gets_it_when_it_is_there() -> None:
    async def run() -> None:
        admission = Admission(places=8, tokens=800, queue=9)
        await admission.enter(100)
        large = (await lines(admission, 1, tokens=5000))[0]
        assert not large.done()
        admission.leave(100)
        await asyncio.wait_for(large, 5)
        small = asyncio.ensure_future(admission.enter(1))
        await settled()
        assert not small.done()
        admission.leave(5000, batch=True)
        await asyncio.wait_for(small, 5)

    asyncio.run(run())


def test_lines_are_no_queue_and_are_never_refused() -> None:
    async def run() -> None:
        admission = Admission(places=1, tokens=10, queue=1)
        await admission.enter(1)
        many = await lines(admission, 1000)
        waiting = asyncio.ensure_future(admission.enter(1))
        await settled()
        assert admission.occupancy("any").waiting == 1
        with pytest.raises(Unavailable):
            await admission.enter(1)
        admission.leave(1)
        await waiting
        assert inside(many) == 0
        admission.leave(1)
        await settled()
        assert inside(many) == 1
        await end(many)

    asyncio.run(run())


def test_lines_go_in_their_order_and_one_that_leaves_lets_the_next_one_in() -> None:
    async def run() -> list[int]:
        admission, order = Admission(places=2, tokens=10, queue=0), list[int]()
        await admission.enter(1, batch=True)
        waiting = [asyncio.ensure_future(entered(admission, size, order, batch=True)) for size in (2, 3, 4)]
        await settled()
        waiting[0].cancel()
        await settled()
        admission.leave(1, batch=True)
        waiting[1].cancel()  # in the moment of its turn
        await asyncio.wait_for(waiting[2], 5)
        admission.leave(4, batch=True)
        assert admission.occupancy("any") == ("any", 2, 0, 0, 0)
        return order

    assert asyncio.run(run()) == [4]


@given(
    steps=st.lists(st.tuples(st.sampled_from(["enter", "line", "leave", "cancel"]), st.integers(1, 30)), max_size=60),
    places=st.integers(1, 9),
)
def test_nothing_is_lost_whoever_comes_and_goes(steps: list[tuple[str, int]], places: int) -> None:
    async def run() -> None:
        admission = Admission(places=places, tokens=20, queue=5)
        there: list[tuple[asyncio.Future[None], int, bool]] = []
        for what, number in steps:
            if what in ("enter", "line"):
                batch = what == "line"
                there.append((asyncio.ensure_future(admission.enter(number, batch=batch)), number, batch))
            elif there:
                future, tokens, batch = there.pop(number % len(there))
                if what == "leave" and future.done() and not future.exception():
                    admission.leave(tokens, batch=batch)
                elif not future.done():
                    future.cancel()
                else:
                    there.append((future, tokens, batch))
            await settled()
            there = [one for one in there if not (one[0].done() and one[0].exception())]
            _, _, busy, waiting, of_lines = admission.occupancy("any")
            assert busy == sum(future.done() for future, _, _ in there) <= places
            assert of_lines == sum(future.done() for future, _, batch in there if batch)
            assert waiting == sum(not future.done() for future, _, batch in there if not batch)
        while there:
            one = next(one for one in there if one[0].done())  # somebody has always entered
            there.remove(one)
            admission.leave(one[1], batch=one[2])
            await settled()
        assert admission.occupancy("any") == ("any", places, 0, 0, 0)
        await asyncio.wait_for(admission.enter(20), 5)

    asyncio.run(run())
