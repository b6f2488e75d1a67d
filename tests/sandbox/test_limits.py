"""Code that takes all that it can get, and what is left of it: the cell answers the next execution."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from homeport.sandbox.warm import WarmCells
from tests.sandbox.conftest import SMALL, Ran, members, opened


@pytest.fixture(autouse=True)
def _goes_on(ran: Ran) -> Iterator[None]:
    """Before, it has something to lose; after, it works."""
    (ran.folder / "kept").write_text("kept")
    yield
    assert ran.logs("import os; [os.path.exists('kept'), 1]") == "[True, 1]\n"


def disk(folder: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))


_TIDY = """
import os
for folder in ("/tmp", "/dev/shm", "."):
    for file in os.scandir(folder):
        if file.is_file() and file.name != "kept":
            os.unlink(file)
"""


def test_a_bomb_of_forks(ran: Ran) -> None:
    """Each of which forks until it cannot; those stay, stopped, and in the end nobody can fork any more."""
    done = ran("import os\nwhile True: os.fork()")
    assert done.failed.startswith("BlockingIOError")
    assert len(members(ran.folder)) <= SMALL["processes"] + 1
    ran("os.kill(-1, 9)")


def test_a_bomb_of_threads(ran: Ran) -> None:
    code = """
import threading
end = threading.Event()
try:
    while True:
        threading.Thread(target=end.wait).start()
finally:
    end.set()
"""
    assert ran(code).failed.startswith("RuntimeError: can't start new thread")


def test_more_memory_than_there_is_is_an_error_like_any_other(ran: Ran) -> None:
    ran("x = 7")
    assert ran("hoard = []\nwhile True: hoard.append(bytearray(2**20))").failed == "MemoryError"
    assert ran.logs("hoard.clear(); x") == "7\n"


@pytest.mark.parametrize(
    "hoards",
    [
        "hoard = [b'x' * 2**20 for _ in range(100)]",
        "import mmap; hoard = mmap.mmap(-1, 100 * 2**20); hoard.write(b'x' * (100 * 2**20))",
    ],
    ids=["own", "shared"],
)
def test_processes_that_take_too_much_together(ran: Ran, hoards: str) -> None:
    code = (
        f"import os, time\nfor _ in range(4):\n  if os.fork() == 0:\n    {hoards}\n    time.sleep(1e6)\ntime.sleep(1e6)"
    )
    assert ran(code).failed == "memory"
    assert ran("").restarted


def test_empty_files_in_memory_take_memory_too(ran: Ran) -> None:
    assert ran("for n in range(10**7): open(f'/tmp/{n}', 'w').close()").failed == "memory"


def test_forks_that_share_memory_are_not_counted_more_than_once(ran: Ran) -> None:
    code = """
hoard = b"x" * (100 * 2**20)
ends, begins = os.pipe()
for _ in range(4):
    if os.fork() == 0:
        os.read(ends, 1)
        os._exit(0)
del hoard
"""
    assert ran.logs(code) == ""
    assert ran.logs("os.write(begins, b'....'); print([os.wait()[1] for _ in range(4)])") == "[0, 0, 0, 0]\n"


@pytest.mark.parametrize(
    "fills",
    [
        "open('big', 'wb').write(b'x' * 2**26)",
        "import os; os.truncate('sparse', 2**40) if open('sparse', 'w').close() is None else 0",
        "open('/tmp/big', 'wb').write(b'x' * 2**26)",
        "[open(f'/tmp/{n}', 'wb').write(b'x' * 2**22) for n in range(100)]",
        "[open(f'/dev/shm/{n}', 'wb').write(b'x' * 2**22) for n in range(100)]",
    ],
    ids=["a file", "a sparse file", "a temporary file", "temporary files", "shared memory"],
)
def test_a_file_that_is_too_large_is_an_error_like_any_other(ran: Ran, fills: str) -> None:
    done = ran(fills)
    assert done.failed.startswith("OSError: [Errno 2")
    ran(_TIDY)  # an interpreter below /tmp has its folders there
    assert [path.name for path in ran.folder.iterdir()] == ["kept"]


@pytest.mark.parametrize(
    "fills",
    [
        "for n in range(10**6): open(f'n{n}', 'wb').write(b'x' * 2**20)",
        "for n in range(10**6): open(f'n{n}', 'wb').close()",
        "for n in range(10**6): os.mkdir('n'); os.chdir('n')",
        "for n in range(10**6): os.symlink('a', f'n{n}')",
        "for n in range(9): kept += [open('n', 'wb')]; os.unlink('n'); kept[n].write(b'x' * 10**7)\ntime.sleep(1e6)",
        "os.mkdir('n'); open('n/x', 'wb').write(b'x' * 2**23); os.chmod('/mnt/data/n', 0)\ntime.sleep(1e6)",
    ],
    ids=["many", "empty ones", "deep folders", "links", "without a name", "forbidden to look at"],
)
def test_files_that_are_too_many_together(ran: Ran, fills: str) -> None:
    """Whoever writes them ends, and they are gone; those of before are there."""
    assert ran(f"import os, time\nkept = []\n{fills}").failed == "disk"
    assert [path.name for path in ran.folder.iterdir()] == ["kept"]


def test_what_ends_before_anybody_has_looked_is_looked_at_in_the_end(ran: Ran) -> None:
    assert ran("for n in range(17): open(f'n{n}', 'wb').write(b'x' * 2**20)").failed == "disk"
    assert [path.name for path in ran.folder.iterdir()] == ["kept"]


def test_who_has_a_full_folder_can_make_room(ran: Ran) -> None:
    """What the server has laid into it may be more than code may add."""
    (ran.folder / "laid").write_bytes(b"x" * 2**25)
    assert ran.logs("len(open('laid').read())") == f"{2**25}\n"
    assert ran("open('more', 'wb').write(b'x' * 2**20)").failed == "disk"
    assert ran.logs("import os; os.unlink('laid'); open('more', 'wb').write(b'x' * 2**20)") == f"{2**20}\n"
    ran("os.unlink('more')")


def test_output_without_end_is_cut_in_its_middle(ran: Ran) -> None:
    done = ran("print('begin'); print('x' * 2**23); print('end')")
    assert done.cut
    assert len(done.logs) < 2**20 + 100
    assert done.logs.startswith("begin\nxxx")
    assert done.logs.endswith("xxx\nend\n")
    assert "bytes are left out ...]" in done.logs


def test_a_folder_that_code_forbids_itself(ran: Ran) -> None:
    done = ran("import os; os.chmod('/mnt/data', 0); print(1)")
    assert done.failed in ("", "disk")


@pytest.fixture(scope="module")
def hasty(
    loop: asyncio.Runner, cells: WarmCells, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Any]]:
    """Code that has half a second."""
    context = opened(tmp_path_factory.mktemp("data"))
    hasty = loop.run(context.__aenter__())
    hasty.seconds = 0.5
    cell = loop.run(hasty.cell(tmp_path_factory.mktemp("hasty")))
    yield lambda code: loop.run(cell.execute(code))
    loop.run(context.__aexit__(None, None, None))


def test_a_loop_without_end_is_interrupted_and_keeps_its_variables(hasty: Callable[[str], Any]) -> None:
    done = hasty("x = 1\nprint('begun')\nwhile True: pass")
    assert done.failed == "timeout"
    assert done.logs.startswith("begun\n")
    assert "KeyboardInterrupt" in done.logs
    again = hasty("print(x)")
    assert (again.logs, again.restarted) == ("1\n", False)


@pytest.mark.parametrize(
    "goes_on",
    [
        "signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(1e6)",
        "os.kill(os.getpid(), signal.SIGSTOP)",
        "(10**10) ** (10**9)",
    ],
    ids=["ignores it", "stops", "does not look"],
)
def test_who_does_not_heed_that_is_ended(hasty: Callable[[str], Any], goes_on: str) -> None:
    assert hasty(f"import os, signal, time\n{goes_on}").failed == "timeout"
    assert hasty("print(1)").logs == "1\n"


def test_nobody_works_between_executions(ran: Ran) -> None:
    """Processes and threads that an execution leaves behind stand still until the next."""
    code = """
import os, threading, time
def write(name):
    while True:
        with open(name, "a") as file:
            file.write("x")
if os.fork() == 0:
    os.setsid()
    write("daemon")
threading.Thread(target=write, args=("thread",), daemon=True).start()
while not (os.path.exists("daemon") and os.path.exists("thread")):
    time.sleep(0.01)
"""
    ran(code)
    states = members(ran.folder)
    assert len(states) == 3  # process 1, the kernel, the daemon
    assert {state for number, threads in states.items() if number != 1 for state in threads} == {"T"}
    sizes = [(ran.folder / name).stat().st_size for name in ("daemon", "thread")]
    assert sizes == [(ran.folder / name).stat().st_size for name in ("daemon", "thread")]
    ran("os.kill(-1, 9)")
    ran("os.unlink('daemon'); os.unlink('thread')")
