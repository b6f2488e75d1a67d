"""Places and tokens are handed out first come, first served, and come back whatever happens."""

import asyncio

import pytest

from homeport.backends.engines.admission import Admission
from homeport.errors import Unavailable


async def settled() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def entered(admission: Admission, tokens: int, order: list[int]) -> None:
    await admission.enter(tokens)
    order.append(tokens)


def test_who_fits_enters_at_once() -> None:
    async def run() -> None:
        admission = Admission(places=2, tokens=10, queue=0)
        await admission.enter(5)
        await admission.enter(5)
        with pytest.raises(Unavailable) as caught:
            await admission.enter(1)
        assert admission.occupancy("any") == ("any", 2, 2, 0)
        assert (caught.value.status, caught.value.code) == (503, "model_overloaded")
        assert ("retry-after", "5") in caught.value.headers

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
