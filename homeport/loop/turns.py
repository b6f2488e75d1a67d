"""What a loop is to do, what happens in it, and how it ends; the same for runs of assistants and for responses.

A *turn* is one call of the model: it says something, or calls tools, or both. Tools of the client's (`function`) end
the loop, until their outputs are there; hosted ones (`file_search`, `code_interpreter`) are called, and another turn
begins.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from msgspec import Struct, field

from homeport.control.owners import Owner

ToolType = Literal["function", "file_search", "code_interpreter"]


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


class Annotation(Struct, frozen=True):
    """A place of a message's text that says where it is from. text: the marker, or the path, as it stands there;
    begins, ends: characters of the text, of which it is one that the message keeps.

    file_citation: a passage of `file_id`. file_path: a file that code has made (`sandbox:/mnt/data/...`).
    """

    type: Literal["file_citation", "file_path"]
    text: str
    begins: int
    ends: int
    file_id: str
    filename: str
    container_id: str = ""
    container_file_id: str = ""


class Truncation(Struct, frozen=True):
    """auto: messages are left out of the middle until the prompt fits. last_messages: no more than so many are sent.
    disabled: a prompt that does not fit fails."""

    type: Literal["auto", "last_messages", "disabled"] = "auto"
    last_messages: int | None = None


class Plan(Struct, kw_only=True):
    """A loop, from its first turn or from where it was interrupted.

    messages: the conversation as chat completions have it, the instructions first; the loop adds what its turns say.
    own: how many of them, from the end, its turns have said already; the truncation is about those before, without the
    instructions.
    parameters: further members of every request (`temperature`, `response_format`, `reasoning_effort`, ...).
    functions: the client's tools, as chat completions have them. tool_choice: as chat completions have it, or `{"type"}`
    of a hosted tool; of the first turn alone (and of it only where `first` says that it is still to come), or the loop
    would never end.
    most_prompt, most_completion: tokens that are left for all turns together.
    most_calls: calls of tools that are left, of hosted ones.
    pending: calls of an interrupted turn that have no output yet, of which `messages` has the turn; hosted ones are made
    before the next turn, and functions end the loop.
    sources: what earlier turns of this loop have found and made, for annotations.
    keeps_markers: whether the text keeps its citation markers (assistants) or loses them (responses).
    """

    who: Owner
    model: str
    messages: list[dict[str, Any]]
    own: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    functions: Sequence[Mapping[str, Any]] = ()
    tool_choice: Any = None
    first: bool = True
    parallel_tool_calls: bool | None = None
    most_prompt: int | None = None
    most_completion: int | None = None
    most_calls: int | None = None
    truncation: Truncation = Truncation()
    pending: Sequence[Calling] = ()
    sources: Sequence[Searched | Ran] = ()
    keeps_markers: bool = True
    request_id: str = ""


class Used(NamedTuple):
    """Tokens of one turn."""

    prompt: int
    completion: int
    cached: int = 0
    reasoning: int = 0


class Outcome(NamedTuple):
    """How a loop has ended. calls: of `requires_action`, those whose outputs are wanted of the client. reason: of
    `incomplete`: `max_prompt_tokens`, `max_completion_tokens`, `content_filter`. model: what really answered."""

    status: Literal["completed", "requires_action", "incomplete"]
    calls: Sequence[Calling] = ()
    reason: str = ""
    model: str = ""
