"""Which examples a step has, how fast it learns, and what is read of a file."""

from itertools import pairwise
from pathlib import Path

import pytest

from homeport.training.text.data import Lines, Order
from homeport.training.text.job import Example
from homeport.training.text.rates import learning_rate
from homeport.training.text.schedule import rate
from tests.training.text import folders


def test_every_epoch_has_every_example_once_in_an_order_of_its_own() -> None:
    order = Order(examples=10, batch_size=4, epochs=3, seed=5)
    assert order.steps == 9
    epochs = [[at for step in (first, first + 1, first + 2) for at in order.batch(step)] for first in (1, 4, 7)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(10))] * 3
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert [len(order.batch(step)) for step in range(1, 10)] == [4, 4, 2] * 3
    assert [order.epoch(step) for step in range(1, 10)] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [step for step in range(1, 10) if order.ends_an_epoch(step)] == [3, 6, 9]


def test_the_order_is_the_seeds_alone() -> None:
    """So that a run that goes on has no more to remember than its step."""
    one, other = (Order(examples=100, batch_size=100, epochs=2, seed=seed) for seed in (1, 2))
    assert list(one.batch(2)) == list(Order(examples=100, batch_size=100, epochs=9, seed=1).batch(2))
    assert list(one.batch(1)) != list(other.batch(1))
    assert list(Order(examples=8, batch_size=8, epochs=1, seed=0).batch(1)) == [0, 6, 7, 3, 4, 1, 5, 2]


@pytest.mark.parametrize("steps", [1, 2, 19, 20, 75, 1000, 100_000])
def test_the_rate_rises_and_then_falls(steps: int) -> None:
    rates = [rate(step, steps, 2.0) for step in range(1, steps + 1)]
    top = rates.index(max(rates))
    assert max(rates) == 2.0
    assert top <= min(100, steps / 20)
    assert all(one < other for one, other in pairwise(rates[: top + 1]))
    assert all(one > other for one, other in pairwise(rates[top:]))
    assert 0 < rates[-1] <= 2.0 / (steps - top)


def test_larger_models_learn_more_slowly() -> None:
    sizes = [135_000_000, 494_000_000, 1_236_000_000, 8_030_000_000, 70_600_000_000]
    assert [learning_rate(size, "supervised") for size in sizes] == [1e-3, 6.1e-4, 4.4e-4, 2.2e-4, 9.6e-5]
    assert all(learning_rate(size, "dpo") < learning_rate(size, "supervised") for size in sizes)


def test_lines_are_read_wherever_they_end(tmp_path: Path) -> None:
    made = folders.examples(3)
    folder = folders.write(tmp_path / "job", made)
    file = folder / "training.jsonl"
    lines = Lines(file, Example, vocabulary=300)
    assert [lines[at] for at in (2, 0, 1)] == [made[2], made[0], made[1]]
    assert len(lines) == 3
    file.write_bytes(file.read_bytes().rstrip(b"\n"))
    assert len(Lines(file, Example, vocabulary=300)) == 3
