"""The process that reads: what hostile files cost, what it may do, and that it never outlives whoever asked for it.

The file that takes long is HTML whose elements are nested 100,000 deep: the real parser spends minutes on it.
"""

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
import uvloop

from homeport.documents import child, confinement
from homeport.documents import reader as reading
from homeport.documents.document import UnreadableFile
from homeport.documents.reader import Reader
from tests.documents import made
from tests.documents.conftest import Read

SLOW = b"<div>" * 100_000 + b"x"
MIB = 1024**2

Found = TypeVar("Found")

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes by /proc, or at what only Linux has")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda: made.docx(b" " * (100 * MIB)), "unpacks to 100 MiB", id="zip bomb"),
        pytest.param(
            lambda: made.zipped({f"{number}.xml": "" for number in range(10_001)}), "10,000 parts", id="many parts"
        ),
        pytest.param(
            lambda: made.docx("<w:p><w:r><w:t>&b;</w:t></w:r></w:p>", prologue='<!DOCTYPE a [<!ENTITY b "c">]>'),
            "document type",
            id="entities",
        ),
        pytest.param(
            lambda: made.zipped({"[Content_Types].xml": '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'.encode("utf-16")}),
            "document type",
            id="entities in UTF-16",
        ),
        pytest.param(
            lambda: made.pdf_objects(
                [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Count 1000000/Kids[2 0 R 2 0 R]>>"],
            ),
            "longer than 2 seconds|None of its pages",  # as fast as the machine is
            id="PDF whose pages are themselves",
        ),
        pytest.param(lambda: SLOW, "longer than 2 seconds", id="deep HTML"),
        pytest.param(lambda: b"x" * (65 * MIB), "64 MiB of text", id="long text"),
        pytest.param(
            lambda: made.pdf([["x" * 100]])[:-600], "None of its pages|no PDF|no text|pictures", id="half a PDF"
        ),
    ],
)
def test_a_hostile_file_costs_one_failed_file(read: Read, make: Callable[[], bytes], message: str) -> None:
    content = make()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnreadableFile, match=message) as refused:
        read(content, "a.html" if content is SLOW else "a", seconds=20 if "MiB of text" in message else 2)
    assert refused.value.code in ("invalid_file", "unsupported_file")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


@linux
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: made.docx(b"<w:r/>" * 10_000_000), id="tree"),
        pytest.param(lambda: made.pdf_of([made.deflated(b" " * MIB, 1500)], packed=True), id="PDF bomb"),
    ],
)
def test_a_file_that_takes_too_much_memory(read: Read, make: Callable[[], bytes]) -> None:
    with pytest.raises(UnreadableFile, match="memory") as refused:
        read(make(), memory_mb=64)
    assert refused.value.code == "invalid_file"


def test_long_text_without_a_line_is_read(read: Read) -> None:
    content = b'{"a": "' + b"x" * 10_000_000 + b'"}'
    assert len(read(content, "a.json").text) == len(content)


@linux
def test_a_parser_that_crashes(tmp_path: Path) -> None:
    async def crash() -> None:
        async with _slow_read(tmp_path) as (reading, process, _):
            os.kill(process, signal.SIGSEGV)
            with pytest.raises(UnreadableFile, match="broke down") as refused:
                await reading
            assert refused.value.code == "invalid_file"

    asyncio.run(crash())


@linux
def test_whoever_cancels_ends_the_process(tmp_path: Path) -> None:
    async def cancel() -> None:
        async with _slow_read(tmp_path) as (reading, process, _):
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert not _alive(process)

    asyncio.run(cancel())


@linux
def test_closing_ends_the_process_and_is_nobodys_fault(tmp_path: Path) -> None:
    async def close() -> None:
        async with _slow_read(tmp_path) as (reading, process, reader):
            await reader.close()
            with pytest.raises(OSError, match="server ends"):
                await reading
            assert not _alive(process)
            with pytest.raises(OSError, match="server ends"):
                await reader.read(tmp_path / "slow", "a.html")

    asyncio.run(close())


@linux
def test_one_file_waits_for_the_other(tmp_path: Path) -> None:
    async def two() -> None:
        async with _slow_read(tmp_path) as (reading, process, reader):
            (tmp_path / "quick").write_bytes(b"text")
            waiting = asyncio.ensure_future(reader.read(tmp_path / "quick", "a.txt"))
            await asyncio.sleep(0.5)
            assert _children() == [process]
            assert not waiting.done()
            reading.cancel()
            assert (await waiting).text == "text"

    asyncio.run(two())


@linux
def test_the_process_knows_nothing_of_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEPORT_API_KEY", "sk-very-secret")
    inherited = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(inherited, True)

    async def look() -> None:
        async with _slow_read(tmp_path) as (_, process, _reader):
            about = Path(f"/proc/{process}")
            environment = (about / "environ").read_bytes()
            assert b"secret" not in environment
            assert b"HOME=" not in environment
            assert b"slow" not in (about / "cmdline").read_bytes()
            files = {os.readlink(file) for file in (about / "fd").iterdir()}
            assert str(tmp_path) not in files
            assert os.getsid(process) == process
            assert os.getpriority(os.PRIO_PROCESS, process) >= 10

    try:
        asyncio.run(look())
    finally:
        os.close(inherited)


_READING = """
import asyncio, sys
from pathlib import Path
from homeport.documents.reader import Reader

asyncio.run(Reader(seconds=60, memory_mb=512, at_once=1).read(Path(sys.argv[1]), "a.html"))
"""


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize(
    ("says", "code", "message"),
    [
        pytest.param("while True: os.write(1, bytes(1 << 20))", "server_error", "its log tells more", id="endless"),
        pytest.param("os.write(1, bytes(1 << 26)); time.sleep(99)", "invalid_file", "longer than 3", id="and waits"),
        pytest.param("os.write(1, b'nonsense')", "server_error", "its log tells more", id="nonsense"),
        pytest.param("sys.exit(3)", "server_error", "its log tells more", id="nothing"),
    ],
)
def test_a_process_that_was_taken_over(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    loop: Callable[[], asyncio.AbstractEventLoop],
    says: str,
    code: str,
    message: str,
) -> None:
    monkeypatch.setattr(reading, "_COMMAND", (sys.executable, "-c", f"import os, sys, time\n{says}"))
    (tmp_path / "a").write_bytes(b"text")

    async def read() -> None:
        with pytest.raises(UnreadableFile, match=message) as refused:
            await Reader(seconds=3, memory_mb=64, at_once=1).read(tmp_path / "a", "a")
        assert refused.value.code == code

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(read())


@linux
def test_it_dies_with_the_server(tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    slow.write_bytes(SLOW)
    server = subprocess.Popen([sys.executable, "-c", _READING, str(slow)])
    process = _eventually(lambda: next((one for one in _children(server.pid) if _is_sealed(one)), None))
    server.kill()
    server.wait()
    assert _eventually(lambda: not _alive(process))


_SEALED = """
import os, socket
from homeport.documents import confinement

confinement.limit(seconds=5, memory_mb=100)
confinement.seal(os.getppid())

def attempt(name, action):
    try:
        action()
    except (OSError, MemoryError):
        return
    print(name, flush=True)

attempt("read a file", lambda: open(os.environ["A_FILE"]).read())
attempt("list a folder", lambda: os.listdir(os.path.dirname(os.environ["A_FILE"])))
attempt("write a file", lambda: open(os.environ["A_FILE"] + ".new", "w"))
attempt("connect", lambda: socket.create_connection(("127.0.0.1", int(os.environ["A_PORT"])), 1))
attempt("kill its parent", lambda: os.kill(os.getppid(), 0))
attempt("take memory", lambda: bytearray(600 * 1024**2))
import lzma, zoneinfo  # modules still load
print("done", flush=True)
"""


@linux
def test_what_a_sealed_process_cannot_do(tmp_path: Path) -> None:
    """All of it, on a kernel with Landlock of version 6 or later (6.12): else this test has nothing to say."""
    version = confinement._call(confinement._libc.syscall, confinement._LANDLOCK_CREATE_RULESET, None, 0, 1)
    if version < 6:
        pytest.skip(f"this kernel has Landlock {version}")
    (tmp_path / "secret").write_text("text")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        environment = os.environ | {"A_FILE": str(tmp_path / "secret"), "A_PORT": str(listening.getsockname()[1])}
        sealed = subprocess.run(
            [sys.executable, "-c", _SEALED], env=environment, capture_output=True, text=True, check=False, timeout=60
        )
    assert (sealed.stdout, sealed.stderr) == ("done\n", "")


def test_a_missing_extra_is_the_servers_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process: what is missing cannot be taken from another one."""
    monkeypatch.setattr(confinement, "seal", lambda parent: None)
    monkeypatch.setitem(sys.modules, "homeport.documents.formats.pdf", None)
    (tmp_path / "a.pdf").write_bytes(made.pdf([["text"]]))
    with (tmp_path / "a.pdf").open("rb") as file:
        answer = child._answer(file, "pdf", os.getpid())
    assert (answer.code, "homeport[documents]" in answer.message) == ("server_error", True)  # type: ignore[union-attr]


@asynccontextmanager
async def _slow_read(folder: Path) -> AsyncIterator[tuple[asyncio.Task[object], int, Reader]]:
    """Being read, and by which process: sealed, and in the parser."""
    slow = folder / "slow"
    slow.write_bytes(SLOW)
    reader = Reader(seconds=60, memory_mb=512, at_once=1)
    reading: asyncio.Task[object] = asyncio.ensure_future(reader.read(slow, "a.html"))
    try:
        while not (process := next(filter(_is_sealed, _children()), 0)):
            assert not reading.done()
            await asyncio.sleep(0.02)
        yield reading, process, reader
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await reader.close()


def _children(of: int | None = None) -> list[int]:
    children = Path(f"/proc/{of or os.getpid()}/task/{of or os.getpid()}/children")
    return [one for one in map(int, children.read_text().split()) if b"homeport.documents.child" in _command(one)]


def _command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def _is_sealed(process: int) -> bool:
    try:
        return "Max file size             0 " in Path(f"/proc/{process}/limits").read_text()
    except OSError:
        return False


def _alive(process: int) -> bool:
    return _command(process) != b""


def _eventually(look: Callable[[], Found | None]) -> Found:
    deadline = time.monotonic() + 30
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found
