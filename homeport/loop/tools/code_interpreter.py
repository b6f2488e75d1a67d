"""`code_interpreter`: Python in a container, whose files stay from one call to the next."""

from collections.abc import Collection, Sequence
from typing import Any

from homeport.control.container_work import Kept
from homeport.control.owners import Owner
from homeport.loop.citations import LINK
from homeport.loop.tools.workplaces import Done, Workplaces
from homeport.loop.turns import Calling, MadeFile, Ran, ToolType
from homeport.store.calls import code_of
from homeport.wire.containers import FOLDER

#: Characters of what code has written that are kept to be shown, and that the model is told: of more, the middle goes.
LONGEST_SHOWN, LONGEST_TOLD = 65_536, 16_384
#: Characters of a token, of a model's context, and what an output may take of it.
_PER_TOKEN, _SHARE = 4, 0.25
#: Names of files that are told at once.
_MOST_NAMES = 20

_DESCRIPTION = (
    "Runs Python and gives back what it prints, and the value of its last expression. Variables stay from one call to "
    f"the next. There is no network. Files are in {FOLDER}{{names}}. What you write there, the user can get: link to "
    f"it as [name]({LINK}name). Pictures that you save there are shown to the user."
)
_RESTARTED = "(This ran in a new process: variables and imports of earlier calls are lost. The files are still there.)"
_SILENT = "(It ran to its end and wrote nothing.)"
_WHY = {
    "timeout": "(It was stopped: it took too long. Do less at once.)",
    "memory": "(It was stopped: it took more memory than there is.)",
    "disk": "(It was stopped: its files took more room than there is. What it has written is gone.)",
    "died": "(Its process died.)",
}


class CodeInterpreter:
    """A Hosted (loop/tools)."""

    type: ToolType = "code_interpreter"

    def __init__(
        self,
        who: Owner,
        workplaces: Workplaces,
        container_id: str,
        *,
        there: Sequence[Kept] = (),
        context: int | None = None,
    ) -> None:
        """there: files of the container. context: tokens of the model's, where they are known."""
        self.container_id = container_id
        self._who = who
        self._workplaces = workplaces
        self._there = there
        share = LONGEST_TOLD if context is None else int(context * _SHARE) * _PER_TOKEN
        self._longest = min(LONGEST_TOLD, share)

    @property
    def definition(self) -> dict[str, Any]:
        return definition([one.path for one in self._there])

    @property
    def sources(self) -> Sequence[Ran]:
        """Files that earlier runs have left, to which a text may link, too."""
        return [Ran(self.container_id, "", "", [_made(one, ()) for one in self._there])]

    async def call(self, calling: Calling) -> None:
        """As Workplaces.run raises."""
        code, wrong = code_of(calling.arguments)
        if wrong:
            calling.output = wrong
            calling.result = Ran(self.container_id, code, "", [], wrong)
            return
        done = await self._workplaces.run(self._who, self.container_id, code)
        failed = done.executed.failed
        why = _WHY.get(failed, failed)
        logs = cut(done.executed.logs, LONGEST_SHOWN)
        files = [_made(one, done.pictures) for one in done.files]
        calling.result = Ran(self.container_id, code, logs, files, failed)
        calling.output = self._told(done, why)

    def _told(self, done: Done, why: str) -> str:
        logs = cut(done.executed.logs, self._longest).strip("\n")
        pictures = [one.path for one in done.files if one.path in done.pictures]
        others = [one.path for one in done.files if one.path not in done.pictures]
        lines = [_RESTARTED] if done.restarted else []
        lines += [logs] if logs else []
        lines += [why] if why and why not in logs else []
        if pictures:
            lines.append(f"(Pictures that the user sees: {_listed(pictures)})")
        if others:
            lines.append(f"(Files, each to be linked to like this: {_listed([LINK + path for path in others])})")
        lines += [f"({done.unkept})"] if done.unkept else []
        return "\n".join(lines or [_SILENT])


def definition(names: Sequence[str]) -> dict[str, Any]:
    """What a model is told of the tool. names: of the files that are there."""
    shown = _listed(names)
    code = {"type": "string", "description": "Python source."}
    return {
        "type": "function",
        "function": {
            "name": "code_interpreter",
            "description": _DESCRIPTION.format(names=f": {shown}" if shown else ""),
            "parameters": {
                "type": "object",
                "properties": {"code": code},
                "required": ["code"],
                "additionalProperties": False,
            },
        },
    }


def cut(text: str, most: int) -> str:
    """With a note in the place of its middle, where it is longer."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters are left out ...\n{text[len(text) - half :]}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else "")


def _made(kept: Kept, pictures: Collection[str]) -> MadeFile:
    return MadeFile(kept.path, kept.file_id, kept.container_file_id, kept.bytes, kept.path in pictures)
