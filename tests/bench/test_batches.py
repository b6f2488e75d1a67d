"""The part of the bench that runs batches: that it runs, and what follows from its figures."""

from pathlib import Path

import pytest

from bench import batches
from bench.batches import Batches
from bench.build import NotBuilt


def test_everything_is_measured(tmp_path: Path) -> None:
    try:
        found = batches.run(tmp_path, None, lines=50, model_lines=0, rounds=1)
    except NotBuilt as error:
        pytest.skip(str(error))
    assert found.rates["echo"].keys() == {batches.BATCH, *map(str, batches.CLIENTS)}
    assert all(rate > 0 for (rate,) in found.rates["echo"].values())
    assert "echo, a batch of 50" in found.table()


def test_a_batch_is_held_against_the_best_by_hand_of_its_round() -> None:
    by_hand = {
        "16": [50.0, 80.0, 400.0],
        "8": [40.0, 40.0, 40.0],
        "32": [90.0, 100.0, 400.0],
        "64": [70.0, 99.0, 400.0],
    }
    goals = Batches({"echo": 3}, {"echo": {"batch": [90.0, 95.0, 200.0], **by_hand}}).goals()
    assert [(goal.value, goal.verdict) for goal in goals] == [(0.95, "target"), (95 / 80, "target")]
