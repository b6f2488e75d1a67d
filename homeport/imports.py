"""`homeport import threads`: threads that were dumped from OpenAI's API become threads of a project here.

It works on the database, whether a server runs or not; a running one shows them at once.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from homeport.control import command_line, exported_threads
from homeport.control.changes import Changes
from homeport.control.exported_threads import Exported, NotTaken
from homeport.control.thread_imports import Taken, ThreadImports
from homeport.errors import SettingsError
from homeport.settings import Settings

#: Files that are named, of those that are missing.
_SHOWN = 10


class Line(NamedTuple):
    """For a person. wrong: something of the file is not here."""

    text: str
    wrong: bool = False


def threads(settings: Settings, file: Path, *, project: str | None = None, dry: bool = False) -> list[Line]:
    """project: id or name; the default one without. dry: nothing is written. Raises SettingsError."""

    async def work(changes: Changes) -> list[Line]:
        imports = ThreadImports(changes.database, await command_line.project(changes, project))
        lines: list[Line] = []
        sums = _Sums()
        with file.open("rb") as opened:
            for found in exported_threads.read(opened):
                if not isinstance(found, Exported):
                    lines.append(Line(f"{found.where}: {found.why}", wrong=True))
                    continue
                try:
                    taken = await imports.take(found, dry=dry)
                except NotTaken as problem:
                    lines.append(Line(f"{found.where}: {problem}", wrong=True))
                    continue
                sums.add(taken)
                lines += [Line(text) for text in _told(found.where, taken)]
        wrong = sum(line.wrong for line in lines)
        return [*lines, *(Line(text) for text in sums.told(wrong=wrong, dry=dry))]

    try:
        return command_line.run(settings, work)
    except OSError as error:
        raise SettingsError(f"{str(file)!r} cannot be read: {error.strerror}.") from None


def _told(where: str, taken: Taken) -> Iterator[str]:
    for old, new in taken.renamed.items():
        yield f"{where}: {old} is {new} here: the id is taken, or is none that threads have"


class _Sums:
    def __init__(self) -> None:
        self.made = self.longer = self.there = self.messages = self.runs = 0
        self.missing: set[str] = set()

    def add(self, taken: Taken) -> None:
        self.messages += taken.messages
        self.runs += taken.runs
        self.missing.update(taken.missing)
        if taken.made:
            self.made += 1
        elif taken.messages or taken.runs:
            self.longer += 1
        else:
            self.there += 1

    def told(self, *, wrong: int, dry: bool) -> Iterator[str]:
        if self.missing:
            names = sorted(self.missing)
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            yield (
                f"{len(names)} files and vector stores that the threads name are not in this project: "
                f"{', '.join(names[:_SHOWN])}{more}"
            )
        runs = f" and {_count(self.runs, 'run')}" if self.runs else ""
        said = [f"{_count(self.made, 'thread')} imported, with {_count(self.messages, 'message')}{runs}"]
        if self.longer:
            said.append(f"{self.longer} of before have grown")
        if self.there:
            said.append(f"{self.there} were there already")
        if wrong:
            said.append(f"{wrong} could not be read")
        yield ("dry run, nothing is written: " if dry else "") + "; ".join(said)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
