"""The ways in which models write a call of a tool, as a table. The first whose mark stands in a
template is that model's own.

    hermes    <tool_call>\\n{"name": "f", "arguments": {...}}\\n</tool_call>   Hermes 2, Qwen 2.5, 3; ours by default
    llama3    {"name": "f", "parameters": {...}}, with or without <|python_tag|> before it      Llama 3.1, 3.2, 3.3
    mistral   [TOOL_CALLS] [{"name": "f", "arguments": {...}}, {...}]                Mistral 7B v0.3, Nemo, Small

Sources: the chat templates published with these models.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """opening, closing, separator: around and between calls as we force them; argument_key: of the call's JSON object.

    marks: what begins a call in free text, longest first. bare: a JSON object at the very start of the text is a call
    as well. listed: the objects stand in a JSON array. end: what ends a call after its object ("" where nothing does).
    """

    name: str
    opening: str
    closing: str
    separator: str
    argument_key: str
    marks: tuple[str, ...]
    end: str = ""
    bare: bool = False
    listed: bool = False


HERMES = ToolFormat(
    name="hermes",
    opening="<tool_call>\n",
    closing="\n</tool_call>",
    separator="\n",
    argument_key="arguments",
    marks=("<tool_call>",),
    end="</tool_call>",
)
LLAMA3 = ToolFormat(
    name="llama3",
    opening="",
    closing="",
    separator="; ",
    argument_key="parameters",
    marks=("<|python_tag|>",),
    bare=True,
)
MISTRAL = ToolFormat(
    name="mistral",
    opening="[TOOL_CALLS] [",
    closing="]",
    separator="",
    argument_key="arguments",
    marks=("[TOOL_CALLS]",),
    listed=True,
)

_NATIVE = (
    (re.compile(r"<tool_call>"), HERMES),
    (re.compile(r"\[TOOL_CALLS\]"), MISTRAL),
    (re.compile(r"<\|python_tag\|>|[\"']parameters[\"']\s*:"), LLAMA3),
)


def native(template: str) -> ToolFormat | None:
    """The format that a template with a tools block teaches; None where it has no such block or one we do not know."""
    if not re.search(r"\btools\b", template) or "<function=" in template:  # Qwen3-Coder's XML: not one of ours
        return None
    return next((form for mark, form in _NATIVE if mark.search(template)), None)


def written(form: ToolFormat, calls: Sequence[Mapping[str, object]], content: str = "") -> str:
    """What a model says when it makes these calls, as tool_calls.py reads it again. content: that it says before them.

    calls: `{"function": {"name", "arguments": object, or text that is none}}`.
    """
    objects = [_call(form, call["function"]) for call in calls]
    if form.listed:
        said = form.opening + ", ".join(objects) + form.closing
    else:
        said = form.separator.join([form.opening + one + form.closing for one in objects])
    if not content:
        return said
    mark = form.marks[0] if form.bare else ""  # alone, it is a call at the very beginning only
    return f"{content}\n{mark}{said}"


def _call(form: ToolFormat, function: object) -> str:
    assert isinstance(function, Mapping)
    arguments = function["arguments"]
    if isinstance(arguments, str):  # the client's own text, which was no JSON object: kept as it is
        name = json.dumps(function["name"], ensure_ascii=False)
        return f'{{"name": {name}, "{form.argument_key}": {arguments}}}'
    return json.dumps({"name": function["name"], form.argument_key: arguments}, ensure_ascii=False)
