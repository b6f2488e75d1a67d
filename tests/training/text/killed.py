"""A trainer that is struck at given moments: `python -m tests.training.text.killed FOLDER SECONDS SIGNAL@MOMENT ...`

Each is begun in a process of its own, forked here, and sends itself the signal at that moment of its life, counted from
1: before each piece, each event and each file that is put into its place. `-`: it ends by itself. SECONDS: between
states. Prints how each ended: its status, or minus the signal.
"""

import itertools
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from homeport.training.text import events, stopping
from homeport.training.text.__main__ import main
from homeport.training.text.run import train


def ended(arguments: Sequence[str], blow: str) -> int:
    """Its status."""
    child = os.fork()
    if child == 0:
        try:
            if blow != "-":
                name, _, moment = blow.partition("@")
                _strike(signal.Signals[f"SIG{name}"], int(moment))
            os._exit(main(arguments))
        finally:
            os._exit(70)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _strike(number: signal.Signals, moment: int) -> None:
    moments = itertools.count(1)

    def counted(before: Callable[..., Any]) -> Callable[..., Any]:
        def then(*arguments: Any) -> Any:
            if next(moments) == moment:
                os.kill(os.getpid(), number)
            return before(*arguments)

        return then

    # setattr: mypy takes no other function for a method.
    setattr(events.Events, "say", counted(events.Events.say))  # noqa: B010
    setattr(stopping.Stop, "check", counted(stopping.Stop.check))  # noqa: B010
    setattr(os, "fsync", counted(os.fsync))  # noqa: B010


if __name__ == "__main__":
    assert callable(train)  # with PyTorch: once, for all of them
    folder, seconds, *blows = sys.argv[1:]
    for one in blows:
        print(ended([folder, "--save-every", seconds], one), flush=True)
