"""The part of the bench about cells: that it runs, and is told."""

from pathlib import Path

from bench import cells
from tests.sandbox.conftest import needs_bubblewrap


@needs_bubblewrap
def test_cells_are_timed_and_told(tmp_path: Path) -> None:
    found = cells.run(tmp_path, rounds=1, together=2)
    assert found.together == 2
    assert "an execution of a warm one" in found.table()
