"""What a loop is to do, what happens in it, and how it ends; the same for runs of assistants and for responses.

A *turn* is one call of the model: it says something, or calls tools, or both. Tools of the client's (`function`) end
the loop, until their outputs are there; hosted ones (`file_search`, `code_interpreter`) are called, and another turn
begins.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from msgspec import Struct, field

from homeport.control.owners import Owner
from homeport.store.calls import Calling as Calling
from homeport.store.calls import MadeFile as MadeFile
from homeport.store.calls import Passage as Passage
from homeport.store.calls import Ran as Ran
from homeport.store.calls import Searched as Searched
from homeport.store.calls import ToolType as ToolType

#: Why a message is incomplete -> why its loop is then.
REASONS = {"max_tokens": "max_completion_tokens", "content_filter": "content_filter"}


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
    functions: the client's tools, as chat completions have them. tool_choice: the same, or `{"type"}` of a hosted
    tool; of the first turn alone (and of it only where `first` says that it is still to come), or the loop would never
    end.
    most_prompt, most_completion: tokens that are left for all turns together.
    most_calls: calls of tools that are left, of hosted ones.
    pending: calls without output of an interrupted turn, which `messages` has: hosted ones are made before the next
    turn, functions end the loop.
    sources: what earlier turns of this loop have found and made, for annotations.
    keeps_markers: whether the text keeps its citation markers (assistants) or loses them (responses).
    request_id: of the first turn. told: the header lines of its answer (Call.told). batch: it is a line of one.
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
    told: list[bytes] = field(default_factory=list)
    batch: bool = False


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
