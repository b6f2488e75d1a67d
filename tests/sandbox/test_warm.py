"""Which processes there are: at most so many, warm for their folder, and none once they are not wanted."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from homeport.errors import Unavailable
from homeport.sandbox.warm import WarmCells
from tests.sandbox.conftest import members, needs_bubblewrap, opened

pytestmark = needs_bubblewrap

Wait = Callable[[Coroutine[Any, Any, Any]], Any]

#: A server that is killed while code runs, whose process tells where.
SERVER = """
import asyncio, sys
from pathlib import Path
from homeport.sandbox.warm import WarmCells
from homeport.settings import CodeInterpreter
async def main():
    cells = WarmCells(CodeInterpreter(), data=Path("/nowhere"))
    await cells.open()
    await (await cells.cell(Path(sys.argv[1]))).execute("open('begun', 'w').close()\\nwhile True: pass")
asyncio.run(main())
"""


@asynccontextmanager
async def three(cells: WarmCells, folder: Path) -> AsyncIterator[list[Any]]:
    """Three cells, where two may run."""
    made = []
    for name in "abc":
        (folder / name).mkdir()
        made.append(await cells.cell(folder / name))
    yield made
    for cell in made:
        await cell.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(100):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_the_same_folder_has_the_same_cell(wait: Wait, cells: WarmCells, tmp_path: Path) -> None:
    async def asked() -> None:
        cell = await cells.cell(tmp_path)
        await cell.execute("x = 1")
        assert (await (await cells.cell(tmp_path)).execute("x")).logs == "1\n"
        await cell.close()
        again = await (await cells.cell(tmp_path)).execute("x")
        assert (again.failed, again.restarted) == ("NameError: name 'x' is not defined", True)
        await cell.close()

    wait(asked())
    assert members(tmp_path) == {}


def test_the_longest_idle_one_makes_room(wait: Wait, tmp_path: Path) -> None:
    async def crowded() -> None:
        async with opened(tmp_path, cells=2) as cells, three(cells, tmp_path) as (a, b, c):
            for cell in (a, b, a):
                assert not (await cell.execute("x = 1")).restarted
            assert not (await c.execute("x = 1")).restarted
            assert (await a.execute("x")).logs == "1\n"
            assert (await b.execute("1")).restarted  # and now c has made room
            assert (await a.execute("x")).logs == "1\n"
            assert (await c.execute("1")).restarted

    wait(crowded())


def test_where_all_work_one_waits(wait: Wait, tmp_path: Path) -> None:
    async def crowded() -> None:
        async with opened(tmp_path, cells=2) as cells, three(cells, tmp_path) as (a, b, c):
            waits = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)"
            async with asyncio.TaskGroup() as group:
                for cell in (a, b):
                    group.create_task(cell.execute(f"open('begun', 'w').close()\n{waits}"))
                await until(lambda: all((cell.folder / "begun").exists() for cell in (a, b)))
                third = group.create_task(c.execute("open('begun', 'w').close()"))
                await asyncio.sleep(0)
                assert not third.done()
                (b.folder / "go").touch()
                assert (await third).failed == ""
                assert not (a.folder / "go").exists()
                (a.folder / "go").touch()

    wait(crowded())


def test_one_cell_does_one_thing_at_a_time(wait: Wait, cells: WarmCells, tmp_path: Path) -> None:
    async def both() -> None:
        cell = await cells.cell(tmp_path)
        await cell.execute("order = []")
        async with asyncio.TaskGroup() as group:
            for number in range(5):
                group.create_task(cell.execute(f"order += ['begin {number}']; order.append('end {number}')"))
        told = (await cell.execute("order")).logs
        assert told == f"{[f'{what} {number}' for number in range(5) for what in ('begin', 'end')]}\n"
        await cell.close()

    wait(both())


def test_an_idle_one_ends_and_its_files_stay(wait: Wait, tmp_path: Path) -> None:
    async def left_alone() -> None:
        async with opened(tmp_path) as cells:
            cells.idle_seconds = 0.0
            (tmp_path / "a").mkdir()
            cell = await cells.cell(tmp_path / "a")
            await cell.execute("open('file', 'w').write('kept')")
            await until(lambda: members(tmp_path / "a") == {})
            again = await cell.execute("open('file').read()")
            assert (again.logs, again.restarted) == ("'kept'\n", True)

    wait(left_alone())


def test_whoever_leaves_interrupts_the_code_and_variables_stay(wait: Wait, cells: WarmCells, tmp_path: Path) -> None:
    async def left() -> None:
        cell = await cells.cell(tmp_path)
        loop = asyncio.get_running_loop()
        work = loop.create_task(cell.execute("x = 1\nopen('begun', 'w').close()\nwhile True: pass"))
        await until((tmp_path / "begun").exists)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        again = await cell.execute("x")
        assert (again.logs, again.restarted) == ("1\n", False)
        await cell.close()

    wait(left())


def test_a_cell_that_is_closed_while_it_works_is_gone(wait: Wait, cells: WarmCells, tmp_path: Path) -> None:
    async def closed() -> None:
        cell = await cells.cell(tmp_path)
        async with asyncio.TaskGroup() as group:
            work = group.create_task(cell.execute("import os\nos.fork()\nopen('begun', 'w').close()\nwhile True: pass"))
            await until((tmp_path / "begun").exists)
            await cell.close()
            assert members(tmp_path) == {}
        assert work.result().failed == "died"

    wait(closed())


def test_a_server_that_is_killed_leaves_nobody_behind(wait: Wait, cells: WarmCells, tmp_path: Path) -> None:
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(tmp_path)])
    try:
        wait(until((tmp_path / "begun").exists))
        assert members(tmp_path) != {}
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()
    wait(until(lambda: members(tmp_path) == {}))


def test_once_the_server_ends_no_code_is_run(wait: Wait, tmp_path: Path) -> None:
    async def ended() -> None:
        async with opened(tmp_path) as cells:
            cell = await cells.cell(tmp_path)
            await cell.execute("1")
        assert members(tmp_path) == {}
        with pytest.raises(Unavailable):
            await cell.execute("1")
        with pytest.raises(Unavailable):
            await cells.cell(tmp_path)

    wait(ended())


def test_a_cell_that_does_not_begin(
    wait: Wait, cells: WarmCells, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its folder is gone, for example: the log has what was said of it, and the next attempt is a new one."""

    async def gone() -> None:
        (tmp_path / "a").mkdir()
        cell = await cells.cell(tmp_path / "a")
        (tmp_path / "a").rmdir()
        with pytest.raises(Unavailable):
            await cell.execute("1")
        (tmp_path / "a").mkdir()
        assert (await cell.execute("1")).logs == "1\n"
        await cell.close()

    wait(gone())
    assert "did not begin" in caplog.text
