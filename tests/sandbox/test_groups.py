"""Control groups, on a tree of ordinary files: which are made where, and what is written into them."""

import subprocess
from pathlib import Path

import pytest

from homeport.sandbox.cell import Limits
from homeport.sandbox.groups import Groups


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """As systemd makes it for a unit with Delegate= and DelegateSubgroup=server."""
    service = tmp_path / "system.slice" / "homeport.service"
    (service / "server").mkdir(parents=True)
    (service / "cgroup.subtree_control").write_text("")
    (tmp_path / "own").write_text("0::/system.slice/homeport.service/server\n")
    return service


def found(tree: Path, limits: Limits = Limits()) -> Groups | None:  # noqa: B008
    root = tree.parents[1]
    return Groups.found(limits, root=root, own=root / "own")


def test_a_cells_group_has_its_limits(tree: Path) -> None:
    groups = found(tree, Limits(memory_mb=100, processes=10))
    assert groups is not None
    assert (tree / "cgroup.subtree_control").read_text() == "+memory +pids"
    groups.made()
    made = max(tree.glob("cell-*"), key=lambda path: path.stat().st_mtime_ns)
    told = {file.name: file.read_text() for file in made.iterdir() if file.name != "cgroup.kill"}
    assert told == {"memory.max": str(164 * 2**20), "memory.swap.max": "0", "pids.max": "14"}


def test_a_command_enters_its_group_before_it_is_one(tree: Path) -> None:
    groups = found(tree)
    assert groups is not None
    group = groups.made()
    command = group.entered(["/bin/echo", "a b", "$c"])
    assert subprocess.run(command, capture_output=True, check=True, text=True).stdout == "a b $c\n"
    assert [file.read_text() for file in tree.glob("cell-*/cgroup.procs")] == ["0\n"]
    assert not group.was_short_of_memory()
    (next(tree.glob("cell-*/cgroup.procs")).parent / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    assert group.was_short_of_memory()


@pytest.mark.parametrize(
    "own", ["0::/\n", "0::/system.slice/server\n", "4:memory:/x\n", "0::/elsewhere/server\n"], ids=str.strip
)
def test_what_was_not_given_is_not_taken(tree: Path, own: str) -> None:
    """The tree's root, what is systemd's own, version 1, what is not there."""
    (tree.parents[1] / "own").write_text(own)
    assert found(tree) is None
    assert not list(tree.glob("cell-*"))
