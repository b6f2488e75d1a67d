"""Process 1 of a cell: it starts the kernel, passes code to it, takes what it writes, and ends what takes too much.

    server  -> warden    {"execute": TOKEN, "code": CODE, "seconds": SECONDS}    {"interrupt": TOKEN}
    warden  -> server    {"ready": true}
                         {"ended": TOKEN, "failed": WHY, "cut": BOOLEAN, "output": N, "gone": BOOLEAN}, then N bytes
    warden  -> kernel    {"execute": TOKEN, "code": CODE}
    kernel  -> warden    {"ended": TOKEN, "failed": WHY}

Lines of JSON; the first two on its standard input and output, which no other process of the cell has. Of all its
processes this is the one that the code cannot signal (the kernel of the system sees to that for process 1), look into
(it cannot be dumped) or outlive. Between executions all others are stopped, so that nothing changes, and no work is
done that nobody waits for. Where the server closes the pipe, or dies, it ends, and with it the cell.
"""

import ctypes
import json
import os
import select
import signal
import time
from contextlib import suppress
from typing import Any, NamedTuple

from . import kernel, tree, watch

#: Seconds between two looks; from the interrupt of an execution until the end of all of them.
_LOOK, _GRACE = 0.05, 2.0
_BLOCK = 65536
#: Of a line that the kernel says.
_LINE = 65536
#: Characters of why an execution has failed.
_REASON = 500
#: Stopped, traced, or ended.
_STILL = {"T", "t", "Z", "X"}
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_CAPABILITIES_3 = 0x20080522


class Limits(NamedTuple):
    """uid: whom it becomes; None: whoever it is already. The rest in bytes, and number."""

    uid: int | None
    memory: int
    disk: int
    entries: int
    processes: int
    output: int


class _Output:
    """The beginning and the end of what is written, so many bytes of both together."""

    def __init__(self, most: int) -> None:
        self._most_head, self._most_tail = most - most // 4, most // 4
        self._head, self._tail = bytearray(), bytearray()
        self._total = 0

    def add(self, block: bytes) -> None:
        self._total += len(block)
        room = self._most_head - len(self._head)
        self._head += block[:room]
        self._tail += block[room:]
        if len(self._tail) > 2 * self._most_tail + _BLOCK:
            del self._tail[: -self._most_tail]

    @property
    def cut(self) -> bool:
        return self._total > self._most_head + self._most_tail

    def bytes(self) -> bytes:
        if not self.cut:
            return bytes(self._head + self._tail)
        left_out = self._total - self._most_head - self._most_tail
        return b"%s\n[... %d bytes are left out ...]\n%s" % (self._head, left_out, self._tail[-self._most_tail :])


class _Execution:
    def __init__(self, token: str, seconds: float, limits: Limits, output: _Output) -> None:
        self.token = token
        self.output = output
        self.failed = ""
        self.interrupt_at = time.monotonic() + seconds
        self.end_at = self.interrupt_at + _GRACE
        self.look_at = 0.0
        self.disk = watch.Disk(most_bytes=limits.disk, most_entries=limits.entries)


def main(argument: str) -> None:
    if os.getpid() != 1:
        raise SystemExit("There are no walls: it would stop processes that are none of a cell.")
    limits = Limits(**json.loads(argument))
    libc = ctypes.CDLL(None)
    if limits.uid is not None:
        os.setgroups([])
        os.setresgid(limits.uid, limits.uid, limits.uid)
        os.setresuid(limits.uid, limits.uid, limits.uid)
        libc.capset((ctypes.c_uint32 * 2)(_CAPABILITIES_3, 0), (ctypes.c_uint32 * 6)())  # what may be inherited, too
    os.chdir(watch.DATA)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # becoming somebody else has taken it back
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, answers, output = os.pipe(), os.pipe(), os.pipe()
    libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    pid = os.fork()
    if pid == 0:
        try:
            kernel.begin(requests[0], answers[1], output[1], _limits_of_processes(limits))
        finally:
            os._exit(1)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    for used in (requests[0], answers[1]):  # of the output it keeps both: it has no end, even where code closes its own
        os.close(used)
    _Warden(limits, pid, requests[1], answers[0], output[0]).run()


def _limits_of_processes(limits: Limits) -> dict[str, int]:
    """Of each of them. Address space is wide: it is what is written to that counts, as RLIMIT_DATA does."""
    return {
        "RLIMIT_NPROC": limits.processes + 1,
        "RLIMIT_DATA": limits.memory,
        "RLIMIT_AS": limits.memory + 4 * 1024**3,
        "RLIMIT_FSIZE": limits.disk // 8 * 7,  # so that a file by itself is an error, and no end
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_MSGQUEUE": 0,
    }


class _Warden:
    def __init__(self, limits: Limits, pid: int, requests: int, answers: int, output: int) -> None:
        self._limits = limits
        self._kernel = pid
        self._requests, self._answers, self._output = requests, answers, output
        self._execution: _Execution | None = None
        self._from_server, self._from_kernel, self._to_kernel = bytearray(), bytearray(), bytearray()
        for pipe in (requests, answers, output):
            os.set_blocking(pipe, False)
        self._poll = select.poll()
        for pipe in (0, answers, output):
            self._poll.register(pipe, select.POLLIN)

    def run(self) -> None:
        self._say({"ready": True})
        while True:
            ready = dict(self._poll.poll(None if self._execution is None else _LOOK * 1000))
            if 0 in ready:
                self._hear_server()
            if self._output in ready:
                self._take_output()
            if self._answers in ready:
                self._hear_kernel()
            if self._requests in ready:
                self._write_kernel()
            if self._has_gone():
                self._end("died", gone=True)
            if self._execution is not None:
                self._look(self._execution)

    def _say(self, told: dict[str, Any], output: bytes = b"") -> None:
        rest = memoryview(json.dumps(told).encode() + b"\n" + output)
        while rest:
            rest = rest[os.write(1, rest) :]

    def _hear_server(self) -> None:
        block = os.read(0, _BLOCK)
        if not block:
            os._exit(0)  # and all others with it
        self._from_server += block
        while (end := self._from_server.find(b"\n")) >= 0:
            told = json.loads(self._from_server[:end])
            del self._from_server[: end + 1]
            if "code" in told:
                self._begin(told)
            elif self._execution is not None and self._execution.token == told["interrupt"]:
                self._interrupt(self._execution, "interrupted")

    def _begin(self, told: dict[str, Any]) -> None:
        os.chmod(watch.DATA, 0o700)  # where code has forbidden it to itself
        output = _Output(self._limits.output)
        self._execution = _Execution(told["execute"], told["seconds"], self._limits, output)
        request = {"execute": told["execute"], "code": told["code"]}
        self._to_kernel += json.dumps(request).encode() + b"\n"
        _signal_all(signal.SIGCONT)
        self._write_kernel()

    def _write_kernel(self) -> None:
        with suppress(BlockingIOError, BrokenPipeError):
            del self._to_kernel[: os.write(self._requests, self._to_kernel)]
        if self._to_kernel:
            self._poll.register(self._requests, select.POLLOUT)
        else:
            with suppress(KeyError):
                self._poll.unregister(self._requests)

    def _hear_kernel(self) -> None:
        block = self._read(self._answers)
        if not block:
            self._poll.unregister(self._answers)
        self._from_kernel += block
        while (end := self._from_kernel.find(b"\n")) >= 0:
            line = bytes(self._from_kernel[:end])
            del self._from_kernel[: end + 1]
            try:
                token, failed = (json.loads(line)[name] for name in ("ended", "failed"))
            except (ValueError, TypeError, LookupError, RecursionError):
                continue  # the code writes where it should not
            if self._execution is not None and token == self._execution.token and isinstance(failed, str):
                self._end(failed[:_REASON].encode(errors="replace").decode())
        if len(self._from_kernel) > _LINE:
            self._from_kernel.clear()

    def _take_output(self) -> None:
        block = self._read(self._output)
        if self._execution is not None:
            self._execution.output.add(block)

    def _read(self, pipe: int) -> bytes:
        try:
            return os.read(pipe, _BLOCK)
        except BlockingIOError:
            return b""

    def _look(self, execution: _Execution) -> None:
        now = time.monotonic()
        if now >= execution.end_at:
            self._end(execution.failed or "timeout", gone=True)
        elif now >= execution.interrupt_at:
            self._interrupt(execution, "timeout")
        elif now >= execution.look_at:
            if why := self._too_much(execution):
                self._end(why, gone=True)
            execution.look_at = time.monotonic() + max(_LOOK, 3 * (time.monotonic() - now))

    def _too_much(self, execution: _Execution) -> str:
        try:
            if watch.too_much_memory(self._limits.memory):
                return "memory"
            return "disk" if execution.disk.too_much() else ""
        except tree.TooMuch:
            return "disk"
        except watch.Hidden:
            return "died"

    def _interrupt(self, execution: _Execution, why: str) -> None:
        if not execution.failed:
            execution.failed = why
            execution.interrupt_at = float("inf")
            execution.end_at = time.monotonic() + _GRACE
            with suppress(ProcessLookupError):
                os.kill(self._kernel, signal.SIGINT)
                os.kill(self._kernel, signal.SIGCONT)  # where code has stopped itself

    def _has_gone(self) -> bool:
        """Whether the kernel has. Whoever else has ended is forgotten."""
        with suppress(ChildProcessError):
            while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                if pid == self._kernel:
                    return True
        return False

    def _end(self, failed: str, *, gone: bool = False) -> None:
        """gone: the kernel has; then the cell ends with it."""
        execution, self._execution = self._execution, None
        if execution is None:
            os._exit(0)  # it died between two executions
        if not gone and not _stop_all():
            failed, gone = "died", True
        if not gone and (why := self._too_much(execution)):
            failed, gone = why, True
        if gone:
            _signal_all(signal.SIGKILL)
            _reap()
        while block := self._read(self._output):  # what was written before it ended
            execution.output.add(block)
        if gone and failed == "disk":
            execution.disk.take_back()
        execution.disk.close()
        output = execution.output.bytes()
        self._say(
            {
                "ended": execution.token,
                "failed": execution.failed or failed,
                "cut": execution.output.cut,
                "output": len(output),
                "gone": gone,
            },
            output,
        )
        if gone:
            os._exit(0)


def _signal_all(number: int) -> None:
    """All but this one, at once: nobody forks out of it."""
    with suppress(ProcessLookupError):
        os.kill(-1, number)


def _stop_all() -> bool:
    """Whether they stand still, each thread of them; but for what the system does for one, which it cannot leave."""
    _signal_all(signal.SIGSTOP)
    begin = time.monotonic()
    while moving := watch.states() - _STILL:
        waited = time.monotonic() - begin
        if moving == {"D"} and waited > _GRACE:
            return True
        if waited > 10 * _GRACE:
            return False
        time.sleep(_LOOK / 100)
    return True


def _reap() -> None:
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
