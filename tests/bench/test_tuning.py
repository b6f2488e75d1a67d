"""The goals of the bench of fine-tuning follow from its figures, and what it trains on is what it says."""

from bench.tuning import Tuning
from tests import support_messages


def test_goals() -> None:
    found = Tuning(
        tokens=6000,
        precision="float32",
        seconds={"homeport": [30.0, 31.0, 60.0], "trl": [60.0, 61.0, 62.0]},
        of_steps={"homeport": [20.0, 22.0, 40.0], "trl": [30.0, 33.0, 40.0]},
        peak={"homeport": 2_000_000_000, "trl": 3_000_000_000},
        held_out={"base": 0.0, "tuned": 0.95},
        latency={"alone": [0.2, 0.2, 0.3], "training": [0.25, 0.22, 1.0]},
        answers=0.5,
    )
    faster, slower, right, soon = found.goals()
    assert (faster.value, faster.verdict) == (1.5, "target"), "the median of what rounds say"
    assert (slower.value, slower.verdict) == (1.25, "floor")
    assert (right.value, right.verdict) == (95.0, "target")
    assert soon.verdict == "target"
    assert "| homeport" in found.table()


def test_without_anybody_to_compare_with() -> None:
    found = Tuning(
        seconds={"homeport": [1.0]},
        of_steps={"homeport": [1.0]},
        peak={"homeport": 1},
        held_out={"base": 0.0, "tuned": 0.5},
        latency={"alone": [1.0], "training": [2.0]},
    )
    faster, slower, right, _ = found.goals()
    assert faster.value is None
    assert (slower.verdict, right.verdict) == ("MISSED", "MISSED")


def test_nothing_that_is_held_out_is_learnt() -> None:
    learnt, held_out = support_messages.to_learn(96), support_messages.held_out(64)
    assert len({one.text for one in learnt}) == 96
    assert not {one.text for one in learnt} & {one.text for one in held_out}
    assert {one.intent for one in held_out} == {one.intent for one in learnt}
    assert support_messages.told(learnt[0].answer) == (learnt[0].intent, learnt[0].product)
    assert support_messages.told("It is a lamp.") is None
