"""The part of the bench that asks as the dashboard does: that it runs, on both databases."""

from pathlib import Path

from bench import usage_page


def test_everything_is_measured(tmp_path: Path) -> None:
    found = usage_page.run(tmp_path, rows=700, rounds=1)
    for asked in found.by.values():
        assert len(asked) == 8
        assert all(len(taken["now"]) == len(taken["before"]) == 1 for taken in asked.values())
    assert "the newest requests that failed" in found.table()
    assert [goal.verdict for goal in found.goals()] == ["not compared"]
