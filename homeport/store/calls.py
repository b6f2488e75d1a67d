"""Calls of tools as rows keep them: `run_steps.calls` is a list of `Calling`. What a model is told of a call, and what
whoever looks at a run or a response sees of it, are both made from here.
"""

import json
import re
from typing import Any, Literal

from msgspec import Struct

ToolType = Literal["function", "file_search", "code_interpreter"]


_FENCED = re.compile(r"\s*```(?:python|py)?[ \t]*\n(.*?)\n?```\s*", re.DOTALL | re.IGNORECASE)
_NO_CODE = 'There is no code to run. Call it again with {"code": "..."}.'
_BROKEN = 'The arguments are no JSON. Call it again with {"code": "..."}, in which quotes and line ends are escaped.'


class Passage(Struct, frozen=True):
    """What `file_search` has found. marker: what the model cites it by, `【CALL:RESULT†FILENAME】`; score: 0 to 1."""

    marker: str
    file_id: str
    filename: str
    score: float
    text: str
    attributes: dict[str, Any] | None = None


class Searched(Struct, frozen=True, tag_field="type", tag="file_search"):
    """Of one call of `file_search`. ranker, score_threshold: that it was done with."""

    queries: list[str]
    passages: list[Passage]
    ranker: str = "default_2024_08_21"
    score_threshold: float = 0.0


class MadeFile(Struct, frozen=True):
    """What code has left in its folder. path: below `/mnt/data`. file_id: of the project's file that it became;
    container_file_id: the same, as its container has it. image: whether it is a picture that was drawn."""

    path: str
    file_id: str
    container_file_id: str
    bytes: int
    image: bool = False


class Ran(Struct, frozen=True, tag_field="type", tag="code_interpreter"):
    """Of one call of `code_interpreter`. logs: what it has written, cut to what is shown; files: that are new, or other
    than they were. failed: why it has not run to its end; empty where it has."""

    container_id: str
    code: str
    logs: str
    files: list[MadeFile]
    failed: str = ""


class Calling(Struct, kw_only=True):
    """A call of a tool. id: `call_...`. arguments: the model's, JSON. output: what the model is told of it, None until
    it has ended; result: the same of hosted tools, in full."""

    id: str
    type: ToolType
    name: str
    arguments: str
    output: str | None = None
    result: Searched | Ran | None = None


def code_of(arguments: str) -> tuple[str, str]:
    """What a model wants to be run, however it has written it; and what is wrong with that, else empty."""
    try:
        value = json.loads(arguments, strict=False)
    except (ValueError, RecursionError):
        if re.match(r'\s*\{\s*"(?:code|input)"\s*:', arguments):
            return arguments, _BROKEN
        value = arguments  # some models write nothing but the code
    if isinstance(value, dict):
        texts = [one for one in value.values() if isinstance(one, str)]
        value = value.get("code", texts[0] if len(texts) == 1 else "")
    elif not isinstance(value, str):
        value = arguments  # `[1, 2]` is code, too
    if not isinstance(value, str):
        return "", _NO_CODE
    fenced = _FENCED.fullmatch(value)
    code = fenced[1] if fenced is not None else value
    return (paired(code), "") if code.strip() else ("", _NO_CODE)


def paired(text: str) -> str:
    """Halves of characters, which JSON can write and UTF-8 cannot, are none."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
