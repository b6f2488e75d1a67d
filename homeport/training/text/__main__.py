"""`python -m homeport.training.text FOLDER`: see `--help`, and docs/fine-tuning.md."""

import argparse
import fcntl
import importlib.util
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import msgspec

from homeport.training.text.ending import Refused, Stopped
from homeport.training.text.job import JOB, LOCK, Began, Checkpoint, Ended, Event, Job, Step
from homeport.training.text.stopping import Stop, asked

_NEEDED = ("torch", "safetensors", "numpy", "gguf")
#: A trainer whose parent has ended needs less to end itself: stopping.py.
_LOCK_SECONDS = 30.0
_FAILED, _REFUSED = 1, 2

_ABOUT = """\
Trains an adapter (LoRA) over the weights of a chat model, as the folder of a job says, and writes it as a GGUF file for
llama.cpp. Homeport begins it; it may be begun by hand, too, on another machine that has the folder and the base."""
_MORE = """\
the folder:
  job.json, training.jsonl, validation.jsonl and start.gguf (these two may be missing) say what is to be done;
  events.jsonl is told what happens, adapter.gguf is what comes out. homeport/training/text/job.py describes them all.

Ctrl-C, SIGUSR1: write the state, and end; the same command goes on from there as if it had never ended.
SIGTERM: the job is cancelled.

example:
  nohup python -m homeport.training.text --alone ftjob-abc &"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    given = parser.parse_args(arguments)
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    try:
        if missing:
            raise Refused(f"It needs {', '.join(missing)}: pip install 'homeport[local,train]'.")
        with asked(alone=given.alone) as stop, _locked(given.folder, stop):
            job = _job(given.folder)
            os.nice(max(0, job.nice - os.nice(0)))
            # PyTorch reads it when it is loaded. Its threads sleep when they have done their part: where others want
            # the cores, they would wait, busily, for one that is not let in (docs/fine-tuning.md#training).
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # noqa: TID251
            from homeport.training.text.run import train

            ended = train(given.folder, job, stop, save_every=given.save_every, shown=_Shown(sys.stderr.isatty()))
    except Refused as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return _REFUSED
    except Stopped:
        return 0
    return _FAILED if ended.how == "failed" else 0


def _job(folder: Path) -> Job:
    try:
        return msgspec.json.decode((folder / JOB).read_bytes(), type=Job)
    except OSError as error:
        raise Refused(f"{folder / JOB}: {error.strerror}.") from None
    except msgspec.DecodeError as error:
        raise Refused(f"{folder / JOB}: {error}.") from None


@contextmanager
def _locked(folder: Path, stop: Stop) -> Iterator[None]:
    """Nobody else trains there."""
    if not folder.is_dir():
        raise Refused(f"{folder} is no folder.")
    with (folder / LOCK).open("ab") as file:
        end = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise Refused(f"Another trainer works in {folder}.") from None
            stop.check()
            time.sleep(0.1)
        yield


class _Shown:
    """Events as people read them, on stderr where that is a terminal."""

    def __init__(self, terminal: bool) -> None:
        self._terminal = terminal
        self._steps = 0
        self._took = 0.0
        self._taken = 0

    def __call__(self, event: Event) -> None:
        if self._terminal:
            print(self._words(event), file=sys.stderr, flush=True)

    def _words(self, event: Event) -> str:
        match event:
            case Began():
                self._steps = event.steps
                goes_on = f", going on from step {event.at}" if event.at else ""
                return f"{event.parameters / 1e6:.1f} million parameters, {event.precision} on {event.device}{goes_on}"
            case Step():
                self._took += event.seconds
                self._taken += 1
                left = timedelta(seconds=round((self._steps - event.step) * self._took / self._taken))
                held_out = "" if event.valid_loss is None else f"  held out {event.valid_loss:.4f}"
                return f"step {event.step}/{self._steps}  loss {event.loss:.4f}{held_out}  {left} left"
            case Checkpoint():
                held_out = "" if event.full_valid_loss is None else f"  held out {event.full_valid_loss:.4f}"
                return f"epoch {event.epoch}: {event.file}{held_out}"
            case Ended():
                return f"{event.how} at step {event.step}, {event.peak_bytes / 2**20:.0f} MB at most. {event.why or ''}"
        return ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m homeport.training.text",
        description=_ABOUT,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of the job")
    parser.add_argument(
        "--alone", action="store_true", help="go on when the process that began it ends (a shell that is left)"
    )
    parser.add_argument(
        "--save-every",
        type=_seconds,
        default=30.0,
        metavar="SECONDS",
        help="between states, what is lost at most by a kill (30); 0: after every step",
    )
    return parser


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError(text)
    return value


_seconds.__name__ = "number of seconds"


if __name__ == "__main__":
    sys.exit(main())
