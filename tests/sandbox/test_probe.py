"""Whether there are cells: where anything is amiss nobody's code is run, and it is said what to do."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from homeport.doctor import Finding, _cells
from homeport.errors import Unavailable
from homeport.sandbox import inside, interpreter
from homeport.sandbox.bubblewrap import Walls
from homeport.sandbox.cell import Limits
from homeport.sandbox.running import Running
from homeport.sandbox.warm import WarmCells
from homeport.settings import CodeInterpreter, Settings
from tests.sandbox.conftest import needs_bubblewrap

INSIDE = Path(inside.__file__).parent


def reason(**settings: object) -> str:
    async def opened() -> str:
        cells = WarmCells(CodeInterpreter(**settings), data=Path("/nowhere"))  # type: ignore[arg-type]
        await cells.open()
        if cells.reason:
            with pytest.raises(Unavailable, match="The code interpreter is"):
                await cells.cell(Path("/tmp"))
        await cells.close()
        return cells.reason

    return asyncio.run(opened())


def program(folder: Path, text: str) -> str:
    path = folder / "bwrap"
    path.write_text(f"#!{text}\n")
    path.chmod(0o755)
    return str(path)


def test_without_bubblewrap() -> None:
    assert "apt-get install bubblewrap" in reason(bubblewrap="/nowhere/bwrap")


def test_switched_off() -> None:
    assert reason(enabled=False) == "The code interpreter is switched off on this server (code_interpreter.enabled)."


@pytest.mark.parametrize(
    ("complaint", "said"),
    [
        ("bwrap: setting up uid map: Permission denied", "does not let this user make user namespaces"),
        ("bwrap: No permissions to create new namespace", "does not let this user make user namespaces"),
        ("bwrap: Can't mount proc on /newroot/proc: Operation not permitted", "does not let this user"),
        ("bwrap: Unknown option --size", "older than 0.7"),
        ("", "it ended before it was ready"),
    ],
)
def test_what_bubblewrap_complains_of(tmp_path: Path, complaint: str, said: str) -> None:
    assert said in reason(bubblewrap=program(tmp_path, f"/bin/sh\necho {complaint!r} >&2; exit 1"))


@needs_bubblewrap
def test_walls_with_a_hole_are_none(tmp_path: Path) -> None:
    """Of a bubblewrap that passes over the filter of system calls."""
    text = f"""{sys.executable}
import os, sys
at = sys.argv.index("--seccomp")
os.execvp("bwrap", ["bwrap", *sys.argv[1:at], *sys.argv[at + 2 :]])"""
    told = reason(bubblewrap=program(tmp_path, text))
    assert "Its walls do not hold here; what is missing: a filter of system calls" in told


@needs_bubblewrap
def test_no_walls_at_all_are_noticed_before_anything_is_done(tmp_path: Path) -> None:
    """Process 1 stops all others: outside of a cell it would do that to the machine."""
    text = f"""{sys.executable}
import os, sys
command = sys.argv[sys.argv.index("--") + 1 :]
os.execv(command[0], [part.replace("/cell", {str(INSIDE.parent)!r}) for part in command])"""
    assert "There are no walls" in reason(bubblewrap=program(tmp_path, text))


@needs_bubblewrap
def test_an_interpreter_that_is_none(tmp_path: Path) -> None:
    assert "does not run as a Python does" in reason(python="/bin/true")
    assert "No such file" in reason(python="/nowhere/python")


@needs_bubblewrap
def test_doctor_tells(tmp_path: Path) -> None:
    def told(**settings: object) -> list[Finding]:
        return list(_cells(Settings(code_interpreter=CodeInterpreter(**settings))))  # type: ignore[arg-type]

    assert told() == [Finding(True, "the code interpreter's cells", "", optional=True)]
    assert told(enabled=False) == []
    (missing,) = told(bubblewrap="/nowhere/bwrap")
    assert not missing.ok
    assert "apt-get install bubblewrap" in missing.mend


@needs_bubblewrap
@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's walls are what all other tests have")
def test_an_ordinary_users_walls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user namespace. Where that cannot be made, there is nothing to look at."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    async def tried() -> None:
        cells = WarmCells(CodeInterpreter(), data=tmp_path)
        await cells.open()
        if cells.reason:
            pytest.skip(cells.reason)
        (tmp_path / "cell").mkdir()
        cell = await cells.cell(tmp_path / "cell")
        done = await cell.execute("import os; open('file', 'w').close(); os.getuid()")
        assert done.logs == "65534\n"
        assert (tmp_path / "cell" / "file").stat().st_uid == os.getuid()
        await cells.close()

    asyncio.run(tried())


@needs_bubblewrap
def test_data_inside_of_what_python_needs_is_hidden(tmp_path: Path) -> None:
    """A folder of data in the very folder of the interpreter's libraries."""

    async def tried() -> str:
        real = await interpreter.of(None)
        (tmp_path / "lib" / "data").mkdir(parents=True)
        (tmp_path / "lib" / "data" / "secret").write_text("secret")
        (tmp_path / "lib" / "seen").write_text("seen")
        (tmp_path / "cell").mkdir()
        beside = real._replace(folders=(*real.folders, str(tmp_path / "lib")))
        walls = Walls("bwrap", beside, Limits(), hidden=[tmp_path / "lib" / "data"], root=os.geteuid() == 0)
        running = await Running.start(walls, tmp_path / "cell", 2**20)
        code = f"import os; [os.path.exists({str(tmp_path)!r} + path) for path in ('/lib/seen', '/lib/data/secret')]"
        done = await running.execute(code, 60)
        await running.end()
        return done.logs

    assert asyncio.run(tried()) == "[True, False]\n"
