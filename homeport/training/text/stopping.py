"""Being asked to end: by signals, or by the end of the process that began it."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Literal

from homeport.training.text.ending import Stopped

#: What is left to a run whose parent has ended, to write its state.
_GRACE_SECONDS = 20.0
_HOW: dict[int, Literal["cancelled", "paused"]] = {
    signal.SIGTERM: "cancelled",
    signal.SIGUSR1: "paused",
    signal.SIGINT: "paused",
}


class Stop:
    """What was asked for, to be looked at between pieces of work."""

    def __init__(self) -> None:
        self._asked: set[Literal["cancelled", "paused", "left"]] = set()

    def ask(self, how: Literal["cancelled", "paused", "left"]) -> None:
        self._asked.add(how)

    def check(self) -> None:
        """Raises Stopped. Whoever has cancelled does not want it to go on later."""
        for how in ("cancelled", "paused", "left"):
            if how in self._asked:
                raise Stopped(how)


@contextmanager
def asked(*, alone: bool) -> Iterator[Stop]:
    """alone: it outlives the process that began it."""
    stop = Stop()

    def note(number: int, _: FrameType | None) -> None:
        stop.ask(_HOW[number])

    before = {number: signal.signal(number, note) for number in _HOW}
    closed = threading.Event()
    if not alone:
        threading.Thread(target=_watch, args=(os.getppid(), stop, closed), daemon=True).start()
    try:
        yield stop
    finally:
        closed.set()
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(parent: int, stop: Stop, closed: threading.Event) -> None:
    """Looks at the parent's id, which changes when it ends. Linux could send a signal instead (PR_SET_PDEATHSIG): it
    does so when the *thread* ends that began this process, and no run would be left to write its state."""
    while os.getppid() == parent:
        if closed.wait(0.5):
            return
    stop.ask("left")
    if not closed.wait(_GRACE_SECONDS):
        os._exit(1)  # in a piece that takes too long: it goes on from the last state
