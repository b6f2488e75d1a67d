"""What goes through a model together: seen by a run that only notes what it is given."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from homeport.backends.engines.vector_batches import VectorBatches
from homeport.backends.vectors import Vector

Batch = Sequence[Sequence[int]]


def batches_of(lengths: Sequence[int], *, lines: bool = False, **settings: Any) -> list[list[int]]:
    """Lengths of the inputs of each batch, when inputs of these lengths wait behind one that is running."""
    seen: list[list[int]] = []

    def noted(batch: Batch) -> list[Vector]:
        seen.append([len(ids) for ids in batch])
        return [Vector(str(ids[0]).encode(), len(ids)) for ids in batch]

    async def run() -> None:
        made = VectorBatches("noted", noted, **{"inputs": 16, "tokens": 512, "queue": 8, "padding": True, **settings})
        inputs = [[number] * length for number, length in enumerate(lengths)]
        try:
            first, vectors = await asyncio.gather(made.embed([[0]], batch=False), made.embed(inputs, batch=lines))
            assert len(first) == 1
            assert vectors == [Vector(str(number).encode(), length) for number, length in enumerate(lengths)]
        finally:
            await made.close()

    asyncio.run(run())
    return seen[1:]


def test_like_lengths_go_together() -> None:
    lengths = [5, 60, 6, 58, 5, 61, 200, 7, 5, 59] * 3
    seen = batches_of(lengths)
    assert sorted(length for batch in seen for length in batch) == sorted(lengths)
    padded = sum(max(batch) * len(batch) for batch in seen)
    assert padded <= 1.1 * sum(lengths)
    assert len(seen) < 8


def test_who_waits_longest_goes_first() -> None:
    assert 90 in batches_of([90, 5, 5, 5, 5, 5])[0]


def test_few_tokens_of_padding_are_cheaper_than_another_batch() -> None:
    assert batches_of([3, 9, 4, 5]) == [[3, 4, 5, 9]]


def test_without_padding_they_go_as_they_came() -> None:
    assert batches_of([5, 300, 7, 200, 10], padding=False) == [[5, 300, 7, 200], [10]]


def test_a_batch_has_its_limits() -> None:
    assert batches_of([10] * 5, inputs=2) == [[10, 10], [10, 10], [10]]
    assert batches_of([100] * 5, tokens=250) == [[100, 100], [100, 100], [100]]
    assert batches_of([600], tokens=250) == [[600]], "one input may always run"


@pytest.mark.parametrize(("lines", "batches"), [(False, 1), (True, 4)])
def test_lines_of_batches_go_in_small_ones(lines: bool, batches: int) -> None:
    assert len(batches_of([30] * 16, lines=lines)) == batches
