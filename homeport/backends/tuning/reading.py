"""Files of a fine-tuning job become what its trainer reads, or a list of what is wrong, before anything starts.

It goes through each file once, a few lines at a time; of a file stays a digest of each line.
"""

import asyncio
import contextlib
import hashlib
import os
import tempfile
from codecs import BOM_UTF8
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

import msgspec

from homeport.backends.templates.chat_template import ChatTemplate
from homeport.backends.tuning.preparation import (
    PREPARE,
    PREPARED,
    RAW_TRAINING,
    RAW_VALIDATION,
    FileReport,
    LineError,
    Preparation,
    Prepared,
)
from homeport.backends.tuning.rendering import Rendered, Renderer
from homeport.backends.tuning.vocabulary import Vocabulary
from homeport.errors import HomeportError
from homeport.training.text.job import TRAINING, VALIDATION, Example, Pair
from homeport.wire import fine_tuning_data

#: Bounds what the digests of lines take in memory to about 100 MB. A home trains for days on as many.
MOST_EXAMPLES = 1_000_000
#: More than any context here holds, and what is tokenised in seconds.
LONGEST_LINE = 2**20
#: Lines that are read side by side, for what they ask of the library goes to it together. Long ones are fewer.
TOGETHER = 64
#: Errors of a file that are told, and lines that a warning names.
MOST_TOLD = 20
MOST_NAMED = 5


class NotWanted(Exception):
    """Whoever wanted it is gone."""


class TooSlow(Exception):
    """A line takes longer than any should."""


#: Entered for each few lines, and left behind them. Raises NotWanted; TooSlow, from wherever the work is then.
Turn = Callable[[], AbstractContextManager[None]]


def prepare(folder: Path, turn: Turn = nullcontext) -> Prepared:
    """Does what the folder's prepare.json says; it may be done again. Raises NotWanted; ModelNotReady, TemplateFailed:
    the base cannot be used."""
    told = msgspec.json.decode((folder / PREPARE).read_bytes(), type=Preparation)
    os.nice(told.nice)
    vocabulary = Vocabulary(Path(told.base))
    try:
        template = ChatTemplate.of(vocabulary.card)
        end = vocabulary.end_of_turn(template)
        renderer = Renderer(vocabulary, template, end=end, model=told.model, longest=told.max_length)
        found = asyncio.run(prepared(folder, told, renderer, turn))
    finally:
        vocabulary.close()
    with _replaced(folder / PREPARED) as file:
        file.write(msgspec.json.encode(found))
    return found


async def prepared(folder: Path, told: Preparation, renderer: Renderer, turn: Turn = nullcontext) -> Prepared:
    """As prepare, with a model that is there."""
    training = _File("training", told, renderer, turn)
    made = {TRAINING: await training.read(folder / RAW_TRAINING, folder / TRAINING)}
    if (folder / RAW_VALIDATION).exists():
        validation = _File("validation", told, renderer, turn, beside=training.seen)
        made[VALIDATION] = await validation.read(folder / RAW_VALIDATION, folder / VALIDATION)
    if any(report.wrong for report in made.values()):
        for name in made:
            (folder / name).unlink(missing_ok=True)
    return Prepared(training=made[TRAINING], validation=made.get(VALIDATION))


class _File:
    """One of them. seen: a digest of each line."""

    def __init__(
        self,
        name: str,
        told: Preparation,
        renderer: Renderer,
        turn: Turn,
        *,
        beside: Collection[bytes] | None = None,
    ) -> None:
        """beside: what the training file has, where this is the validation file."""
        self._name = name
        self._told = told
        self._renderer = renderer
        self._turn = turn
        self._beside = beside
        self.seen: set[bytes] = set()
        self._ended = False
        self._report = FileReport()
        self._repeated = _Noted()
        self._in_both = _Noted()
        self._truncated = _Noted()
        self._split = _Noted()
        self._unoffered = _Noted()

    async def read(self, raw: Path, to: Path) -> FileReport:
        with raw.open("rb") as lines, _replaced(to) as file:
            for few in _some(_lines(lines)):
                with self._turn():
                    found = await asyncio.gather(*[self._look(number, line) for number, line in few])
                for (number, line), one in zip(few, found, strict=True):
                    for example in self._taken(number, line, one):
                        file.write(msgspec.json.encode(example) + b"\n")
                if self._ended:
                    break
        least = 1 if self._beside is not None else self._told.least
        if self._report.lines < least:
            examples = "example" if least == 1 else "examples"
            words = f"There are {self._report.lines}, but there must be at least {least} {examples}."
            self._refuse(LineError(words))
        self._report.truncated = self._truncated.count
        self._report.warnings = self._warnings()
        return self._report

    async def _look(self, number: int, line: bytes | None) -> Rendered | LineError:
        """Several lines are looked at side by side, so what comes of it is counted by _taken, one after the other."""
        if line is None:
            return LineError(f"It is longer than {LONGEST_LINE // 2**20} MiB.", number)
        try:
            if self._told.method == "dpo":
                return await self._renderer.pair(fine_tuning_data.preference(line))
            return await self._renderer.example(fine_tuning_data.example(line))
        except HomeportError as error:
            return LineError(error.message, number, error.param)
        except RecursionError:  # of JSON in arguments, which is text to whoever reads the line
            return LineError("It is nested too deeply.", number)
        except TooSlow:
            self._ended = True
            return LineError("Reading it takes too long.", number)

    def _taken(self, number: int, line: bytes | None, found: Rendered | LineError) -> Sequence[Example | Pair]:
        if self._report.lines == MOST_EXAMPLES:
            if not self._ended:
                self._ended = True
                self._refuse(LineError(f"There are more than {MOST_EXAMPLES} examples."))
            return ()
        self._report.lines += 1
        if line is not None:
            self._notice(number, line)
        if isinstance(found, LineError):
            self._refuse(found)
            return ()
        self._count(number, found)
        return found.examples

    def _notice(self, number: int, line: bytes) -> None:
        digest = hashlib.blake2b(line.strip(), digest_size=8).digest()
        if digest in self.seen:
            self._repeated.note(number)
        elif self._beside is not None and digest in self._beside:
            self._in_both.note(number)
        self.seen.add(digest)

    def _count(self, number: int, rendered: Rendered) -> None:
        report = self._report
        for one in rendered.examples:
            for example in (one.preferred, one.rejected) if isinstance(one, Pair) else (one,):
                report.tokens += len(example.tokens)
                report.learnt += sum(end - begin for begin, end in example.learnt)
                report.longest = max(report.longest, len(example.tokens))
        report.examples += len(rendered.examples)
        if rendered.truncated:
            self._truncated.note(number)
        if len(rendered.examples) > 1:
            self._split.note(number)
        if rendered.unoffered:
            self._unoffered.note(number)

    def _refuse(self, error: LineError) -> None:
        self._report.wrong += 1
        if self._report.wrong <= MOST_TOLD:
            self._report.errors.append(error)

    def _warnings(self) -> list[str]:
        found = (
            (self._repeated, "the same as an earlier one."),
            (self._in_both, "in the training file as well, so what is measured with it has been learnt."),
            (self._truncated, f"longer than {self._told.max_length} tokens, cut off at the end."),
            (self._split, "earlier answers stand otherwise in later prompts: each has become an example of its own."),
            (self._unoffered, "calls what it does not offer: asked in the same way, the model's call is plain text."),
        )
        return [f"{self._name.capitalize()} file, {noted}: {what}" for noted, what in found if noted.count]


class _Noted:
    """Lines that somebody should know of. As text: `3 lines (4, 7, 9)`."""

    def __init__(self) -> None:
        self.count = 0
        self._first: list[int] = []

    def note(self, line: int) -> None:
        self.count += 1
        if len(self._first) < MOST_NAMED:
            self._first.append(line)

    def __str__(self) -> str:
        named = ", ".join([*map(str, self._first), *(["..."] if self.count > len(self._first) else [])])
        return f"{self.count} line{'s' * (self.count > 1)} ({named})"


_Line = tuple[int, bytes | None]


def _lines(file: BinaryIO) -> Iterator[_Line]:
    """With their numbers, but for blank ones; None in place of one that is too long."""
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(BOM_UTF8)
        if len(line) <= LONGEST_LINE:
            if line.strip():
                yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(LONGEST_LINE)
        yield number, None


def _some(lines: Iterator[_Line]) -> Iterator[list[_Line]]:
    few: list[_Line] = []
    size = 0
    for number, line in lines:
        few.append((number, line))
        size += len(line or b"")
        if len(few) == TOGETHER or size >= LONGEST_LINE:
            yield few
            few, size = [], 0
    if few:
        yield few


@contextlib.contextmanager
def _replaced(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of another one when it is whole, and leaves nothing when it does not become so.
    Another process may be at the same: each writes its own."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
