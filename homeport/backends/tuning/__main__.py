"""`python -m homeport.backends.tuning FOLDER`: see `--help`, preparation.py and reading.py.

A process of its own: what it reads is anybody's, it loads a vocabulary, and it may take minutes.
"""

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from homeport.backends.templates.sandbox import TemplateFailed
from homeport.backends.tuning import reading
from homeport.errors import HomeportError, SettingsError

_ABOUT = """\
Makes what a model is fine-tuned on: the files of FOLDER, which prepare.json tells about, become tokens as the model's
own server makes them. prepared.json says what has come of it: counts and warnings, or which lines are wrong.

Ends with 0 when prepared.json is there, whatever it says; with 1 where the base model cannot be used; with 3 when the
process that has begun it has ended."""
#: Of a processor, for a few lines. The longest take a tenth; a pattern of a strict function's schema may take for ever.
_SECONDS = 30.0
#: For each further line among them, once these are over.
_MORE_SECONDS = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m homeport.backends.tuning",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="of a fine-tuning job")
    folder: Path = parser.parse_args(arguments).folder
    signal.signal(signal.SIGPROF, _too_slow)
    try:
        reading.prepare(folder, _turns(os.getppid()))
    except reading.NotWanted:
        return 3
    except (HomeportError, SettingsError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    except TemplateFailed as error:
        print(f"{parser.prog}: The chat template of this model does not work: {error}", file=sys.stderr)
        return 1
    return 0


def _turns(parent: int) -> reading.Turn:
    @contextmanager
    def turn() -> Iterator[None]:
        if os.getppid() != parent:
            raise reading.NotWanted
        signal.setitimer(signal.ITIMER_PROF, _SECONDS, _MORE_SECONDS)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    return turn


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise reading.TooSlow


if __name__ == "__main__":
    sys.exit(main())
