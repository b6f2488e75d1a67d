"""The part of the bench that writes and reads usage: that it runs, and what follows from its figures."""

from pathlib import Path

from bench import usage
from bench.usage import Usage
from homeport.store.usage import BATCH_ROWS


def test_everything_is_measured(tmp_path: Path) -> None:
    found = usage.run(tmp_path, rows=700, rounds=1, seconds=0.1)
    assert (found.rate > 0, found.cpu_us > 0, found.bytes > 0) == (True, True, True)
    assert found.delays.keys() == {"passed on", "written"}
    assert len(found.queries) == 8
    assert all(len(taken) == 1 for taken in found.queries.values())
    assert "30 days, by model and project" in found.table()


def test_rows_come_in_batches_of_the_log() -> None:
    batches = usage.batches_of_now(2 * BATCH_ROWS + 1)
    assert [len(batch) for batch in batches] == [BATCH_ROWS, BATCH_ROWS, 1]
    assert len({row.request_id for batch in batches for row in batch}) == 2 * BATCH_ROWS + 1


def test_a_million_rows_are_said_of_no_fewer() -> None:
    figures = {"delays": {"passed on": 0.5, "written": 2.0}, "queries": {"a": [0.2, 0.9, 0.3], "b": [0.1, 0.1, 0.1]}}
    whole = Usage(1_000_000, rate=25_000, **figures).goals()  # type: ignore[arg-type]
    assert [(goal.value, goal.verdict) for goal in whole] == [(25_000, "floor"), (1.5, "floor"), (0.3, "target")]
    fewer = Usage(50_000, rate=25_000, **figures).goals()  # type: ignore[arg-type]
    assert [goal.verdict for goal in fewer] == ["not compared", "floor", "not compared"]
