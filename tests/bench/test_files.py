"""The bench of files measures what it says."""

from pathlib import Path

from bench import files


def test_files(tmp_path: Path) -> None:
    found = files.run(tmp_path, megabytes=2, upload_megabytes=3, listed=450, rounds=1)
    assert found.rates.keys() == {"/v1/files", "/v1/uploads", "content"}
    assert all(rate > 0 for rates in found.rates.values() for rate in rates)
    assert found.first > 0
    assert found.last > 0
    assert "a page of 100, the last ones" in found.table()
    assert [goal.name for goal in found.goals() if goal.value is None] == []
