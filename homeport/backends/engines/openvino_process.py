"""The engine's side of the process in which OpenVINO runs (openvino_worker.py): starts it, speaks with it, ends it."""

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from typing import Any

import msgspec

from homeport import process
from homeport.errors import HomeportError, ModelNotReady

log = logging.getLogger("homeport.openvino")

_COMMAND = (sys.executable, "-m", "homeport.backends.engines.openvino_worker")
_PATIENCE = 5.0  # seconds that a process told to end may take


class Process:
    """One process at a time: when it dies, the next one is started, and what ran in it is lost.

    hear: called with each message, lost: called after a death; both in a thread of this class.
    """

    def __init__(
        self, settings: Mapping[str, object], hear: Callable[[dict[str, Any]], None], lost: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._hear = hear
        self._lost = lost
        self._closing = False
        self._failed = False
        self._child: subprocess.Popen[bytes] | None = None
        self._outbox: SimpleQueue[bytes | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def launch(self) -> None:
        """Start loading, and do not wait for it."""
        self._child = child = subprocess.Popen(_COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._outbox = SimpleQueue()
        self._outbox.put(msgspec.json.encode(self._settings) + b"\n")
        self._spawn("openvino-write", self._write, child, self._outbox)

    def ready(self) -> str:
        """Wait until the model is loaded -> OpenVINO's version. Raises ModelNotReady."""
        version = self._greeting()
        self._spawn("openvino-read", self._read)
        return version

    def resident(self) -> int | None:
        """Bytes of memory; None: it has just died, or the system does not tell."""
        return process.resident(self._child.pid) if self._child is not None else None

    def tell(self, message: Mapping[str, object]) -> None:
        """Never blocks. Raises HomeportError when the model died and could not be loaded again."""
        if self._failed:
            raise HomeportError("The model failed and could not be loaded again.")
        self._outbox.put(msgspec.json.encode(message) + b"\n")

    def close(self) -> None:
        self._closing = True
        self._outbox.put(None)
        if self._child is not None:
            self._end(self._child)  # its output ends with it, and so does the reader
        for thread in self._threads:
            thread.join(_PATIENCE)
        if self._child is not None and self._child.stdout is not None:
            self._child.stdout.close()

    def _spawn(self, name: str, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, name=name, daemon=True)
        self._threads = [one for one in self._threads if one.is_alive()]
        thread.start()
        self._threads.append(thread)

    def _greeting(self) -> str:
        line = self._line()
        message: dict[str, Any] = msgspec.json.decode(line) if line else {"failed": "its process died"}
        if "ready" not in message:
            raise ModelNotReady(f"OpenVINO cannot load this model: {_brief(message['failed'])}")
        return str(message["ready"])

    def _line(self) -> bytes:
        assert self._child is not None
        assert self._child.stdout is not None
        return self._child.stdout.readline()

    def _read(self) -> None:
        while True:
            while line := self._line():
                self._hear(msgspec.json.decode(line))
            if self._closing:
                return
            log.error("OpenVINO's process died; the model is loaded again")
            self._outbox.put(None)
            self._bury()
            self.launch()
            self._lost()
            try:
                self._greeting()
            except ModelNotReady as error:
                self._failed = not self._closing
                if self._failed:
                    log.error("%s", error.message)
                self._lost()
                return

    def _bury(self) -> None:
        assert self._child is not None
        assert self._child.stdout is not None
        self._end(self._child)
        self._child.stdout.close()

    @staticmethod
    def _write(child: subprocess.Popen[bytes], outbox: "SimpleQueue[bytes | None]") -> None:
        assert child.stdin is not None
        try:
            while (data := outbox.get()) is not None:
                child.stdin.write(data)
                child.stdin.flush()
        except OSError:
            pass  # it died: the reader sees that too
        finally:
            try:
                child.stdin.close()
            except OSError:
                pass

    @staticmethod
    def _end(child: subprocess.Popen[bytes]) -> None:
        try:
            child.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _brief(reason: str) -> str:
    """The last line of OpenVINO's message says what is wrong; those before it name files of its build."""
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no reason given"
