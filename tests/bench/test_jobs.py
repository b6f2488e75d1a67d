"""The part of the bench that times the queue: that it runs, and is told."""

from pathlib import Path

from bench import jobs


def test_everything_is_measured(tmp_path: Path) -> None:
    found = jobs.run(tmp_path, rounds=1, count=jobs.IN_ONE, seconds=0.1)
    assert "SQLite" in found.by
    for rounds in found.by.values():
        (speed,) = rounds
        assert min(speed.enqueued, speed.enqueued_together, speed.ended, speed.ended_at_once, speed.begun_ms) > 0
    told = found.table()
    assert all(name in told for name in found.by)
