"""What the engine does to the process around it: sockets, folders, signals, threads, and how it loads and ends."""

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from homeport.backends.engines.llama_cpp import LlamaCpp
from homeport.backends.text import Sampling
from homeport.errors import ModelNotReady, SettingsError
from tests.llama import Llama, said, unstarted


def tcp_listeners() -> set[str]:
    """Inodes of this process's listening TCP sockets."""
    own = {
        os.readlink(f"/proc/self/fd/{fd}")
        for fd in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{fd}")
    }
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:] if Path(table).exists() else ():
            columns = line.split()
            if columns[3] == "0A" and f"socket:[{columns[9]}]" in own:
                found.add(columns[1])
    return found


def test_the_check_for_listeners_finds_one() -> None:
    with socket.create_server(("127.0.0.1", 0)):
        assert tcp_listeners()


def test_it_opens_no_port(smollm2: LlamaCpp) -> None:
    before = tcp_listeners()
    asyncio.run(smollm2.start())
    assert tcp_listeners() == before


def test_its_socket_is_private_and_goes_with_it(smollm2: LlamaCpp) -> None:
    asyncio.run(smollm2.start())
    folder = Path(smollm2._loaded.folder)
    assert [one.name for one in folder.iterdir()] == ["llama.sock"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    asyncio.run(smollm2.close())
    assert not folder.exists()


def test_its_socket_wants_the_key(llama: Llama) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(f"{llama.engine._loaded.folder}/llama.sock")
        client.sendall(b"GET /props HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.split()[1] == b"401"
    assert llama.engine._loaded.key.encode() not in answer


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_the_handlers_of_signals_stay_as_they_were(smollm2: LlamaCpp) -> None:
    """Python's own view cannot tell: the library goes behind its back. So a signal is sent."""
    got: list[int] = []
    kept = {number: signal.signal(number, lambda n, _: got.append(n)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        asyncio.run(smollm2.start())
        for number in kept:
            os.kill(os.getpid(), number)
        assert got == [signal.SIGINT, signal.SIGTERM]
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def test_a_model_closed_right_after_its_start_does_not_hang(smollm2_file: Path) -> None:
    """In a process of its own: a deadlock in llama.cpp's threads cannot be interrupted."""
    script = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from tests.llama import unstarted\n"
        "async def run():\n"
        "    for _ in range(2):\n"
        "        engine = unstarted(Path(sys.argv[1]))\n"
        "        await engine.start()\n"
        "        await engine.close()\n"
        "        await engine.close()\n"
        "asyncio.run(run())\n"
        "print('ended')\n"
    )
    command = [sys.executable, "-W", "error", "-c", script, str(smollm2_file)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=Path(__file__).parents[2]
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended\n", "")


def test_it_says_nothing_on_the_terminal(smollm2: LlamaCpp, capfd: pytest.CaptureFixture[str]) -> None:
    async def run() -> None:
        await smollm2.start()
        await said(smollm2, "Hello", Sampling(2))

    asyncio.run(run())
    assert capfd.readouterr() == ("", "")


def test_closing_what_was_never_started(smollm2_file: Path) -> None:
    asyncio.run(unstarted(smollm2_file).close())


def test_before_its_start_it_says_that_it_is_not_ready(smollm2: LlamaCpp) -> None:
    with pytest.raises(ModelNotReady):
        _ = smollm2.card


@pytest.mark.parametrize("start", [b"", b"GGUF", b"<html>", b"GGUF\x03\0\0\0" + b"\xff" * 16])
def test_a_file_that_is_no_model_is_told(tmp_path: Path, start: bytes) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(start)

    async def run() -> None:
        engine = unstarted(file)
        try:
            await engine.start()
        finally:
            await engine.close()

    with pytest.raises(SettingsError, match="GGUF"):
        asyncio.run(run())


def test_a_damaged_model_is_told(tmp_path: Path, smollm2_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A right header, and half of the weights."""
    sockets = tmp_path / "sockets"
    sockets.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(sockets))
    file = tmp_path / "half.gguf"
    with smollm2_file.open("rb") as whole:
        file.write_bytes(whole.read(8_000_000))

    engine = unstarted(file)
    with pytest.raises(ModelNotReady, match=r"half\.gguf"):
        asyncio.run(engine.start())
    asyncio.run(engine.close())
    assert not list(sockets.iterdir())


def test_threads_leave_a_core_free_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, threads in ((8, 7), (2, 1), (1, 1), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        assert LlamaCpp(Path("x.gguf"))._threads == threads
    assert LlamaCpp(Path("x.gguf"), threads=3)._threads == 3


def test_what_the_card_tells(llama: Llama) -> None:
    card = llama.engine.card
    assert (card.bos, card.eos, card.add_bos) == ("<|im_start|>", "<|im_end|>", False)
    assert card.chat_template is not None
    assert "im_start" in card.chat_template
    assert card.default_answer is not None
    assert card.default_answer <= card.context_length
    assert "SmolLM2" in card.identity
    assert os.sep not in card.identity


def test_the_librarys_own_prompt_cache_is_off(smollm2: LlamaCpp, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take 8 GiB of memory by default."""
    import xllamacpp

    seen: list[object] = []
    real = xllamacpp.Server

    def server(parameters: object) -> object:
        seen.append(parameters)
        return real(parameters)

    monkeypatch.setattr(xllamacpp, "Server", server)
    asyncio.run(smollm2.start())
    (parameters,) = seen
    assert parameters.cache_ram_mib == 0  # type: ignore[attr-defined]
    assert (parameters.ui, parameters.endpoint_slots) == (False, False)  # type: ignore[attr-defined]
    assert parameters.cpuparams.n_threads == 1  # type: ignore[attr-defined]
