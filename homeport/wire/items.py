"""Items: what is said, called and found, as conversations and responses have it.

Source: InputItem, Item, ItemResource, ConversationItem and what they are made of. Of the description's types these are
kept: messages, calls of functions and their outputs, `file_search_call`, `code_interpreter_call`, `reasoning`. Another
is refused by its name.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from homeport.errors import InvalidRequest, UnsupportedParameter
from homeport.wire import base
from homeport.wire.base import unsupported_value
from homeport.wire.chat_messages import CacheBreakpoint
from homeport.wire.fields import Identifier, Request
from homeport.wire.vector_stores import Attributes

#: Characters of a text, of an image's URL and of a file's data, as the description bounds them.
LONGEST_TEXT, LONGEST_URL, LONGEST_FILE = 10_485_760, 20_971_520, 73_400_320

Text = Annotated[str, Meta(max_length=LONGEST_TEXT)]
#: Upstreams give calls the ids that they like.
CallId = Annotated[str, Meta(min_length=1, max_length=256)]
Role = Literal["user", "assistant", "system", "developer"]
Status = Literal["in_progress", "completed", "incomplete"]
Detail = Literal["auto", "low", "high", "original"]
Include = Literal[
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
]
INCLUDES: tuple[str, ...] = get_args(Include)


# Parts of messages


class InputText(Request, tag_field="type", tag="input_text"):
    text: Text
    prompt_cache_breakpoint: CacheBreakpoint | UnsetType = UNSET


class InputImage(Request, tag_field="type", tag="input_image", kw_only=True):
    """By URL, which may be a data URL, or by a file of the project."""

    image_url: Annotated[str, Meta(max_length=LONGEST_URL)] | None = None
    file_id: Identifier | None = None
    detail: Detail = "auto"
    prompt_cache_breakpoint: CacheBreakpoint | UnsetType = UNSET


class InputFile(Request, tag_field="type", tag="input_file"):
    """file_data: a data URL, or base64."""

    file_id: Identifier | None = None
    filename: Annotated[str, Meta(max_length=1024)] | UnsetType = UNSET
    file_data: Annotated[str, Meta(max_length=LONGEST_FILE)] | UnsetType = UNSET
    file_url: Annotated[str, Meta(max_length=LONGEST_URL)] | UnsetType = UNSET
    detail: Literal["auto", "low", "high"] | UnsetType = UNSET
    prompt_cache_breakpoint: CacheBreakpoint | UnsetType = UNSET


class FileCitation(Request, tag_field="type", tag="file_citation"):
    """index: the character of the text that it stands at."""

    file_id: str
    index: int
    filename: str


class ContainerFileCitation(Request, tag_field="type", tag="container_file_citation"):
    container_id: str
    file_id: str
    start_index: int
    end_index: int
    filename: str


class URLCitation(Request, tag_field="type", tag="url_citation"):
    url: str
    start_index: int
    end_index: int
    title: str


class FilePath(Request, tag_field="type", tag="file_path"):
    """index: the character of the text that it stands at."""

    file_id: str
    index: int


Annotation = FileCitation | ContainerFileCitation | URLCitation | FilePath


class TopLogProb(Struct):
    token: str
    logprob: float
    bytes: list[int]


class LogProb(Struct):
    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogProb]


class OutputText(Request, tag_field="type", tag="output_text", kw_only=True):
    text: Text
    annotations: list[Annotation] = msgspec.field(default_factory=list)
    logprobs: list[LogProb] = msgspec.field(default_factory=list)


class Refusal(Request, tag_field="type", tag="refusal"):
    refusal: Text


InputPart = InputText | InputImage | InputFile
Part = InputText | InputImage | InputFile | OutputText | Refusal


# Items


class Message(Request, tag_field="type", tag="message", kw_only=True):
    """phase: of an assistant's, kept for models that want to see it again."""

    id: str = ""
    status: Status = "completed"
    role: Role
    content: list[Part]
    phase: Literal["commentary", "final_answer"] | UnsetType = UNSET


class FunctionCall(Request, tag_field="type", tag="function_call", kw_only=True):
    """arguments: JSON as the model wrote it, valid or not."""

    id: str = ""
    call_id: CallId
    name: Annotated[str, Meta(min_length=1, max_length=128)]
    arguments: Text
    status: Status = "completed"


class FunctionCallOutput(Request, tag_field="type", tag="function_call_output", kw_only=True):
    id: str = ""
    call_id: CallId
    output: Text | list[InputPart]
    status: Status = "completed"


class FileSearchResult(Request):
    file_id: str = ""
    text: str = ""
    filename: str = ""
    score: float = 0.0
    attributes: Attributes | None = None


class FileSearchCall(Request, tag_field="type", tag="file_search_call", kw_only=True):
    """results: null where nobody asked for them (`include`)."""

    id: str = ""
    status: Literal["in_progress", "searching", "completed", "incomplete", "failed"] = "completed"
    queries: list[Text]
    results: list[FileSearchResult] | None = None


class CodeLogs(Request, tag_field="type", tag="logs"):
    logs: Text


class CodeImage(Request, tag_field="type", tag="image"):
    url: str


class CodeInterpreterCall(Request, tag_field="type", tag="code_interpreter_call", kw_only=True):
    """outputs: null where nobody asked for them (`include`)."""

    id: str = ""
    status: Literal["in_progress", "completed", "incomplete", "interpreting", "failed"] = "completed"
    container_id: str
    code: Text | None = None
    outputs: list[CodeLogs | CodeImage] | None = None


class SummaryText(Request, tag_field="type", tag="summary_text"):
    text: Text


class ReasoningText(Request, tag_field="type", tag="reasoning_text"):
    text: Text


class Reasoning(Request, tag_field="type", tag="reasoning", kw_only=True):
    id: str = ""
    summary: list[SummaryText]
    content: list[ReasoningText] | UnsetType = UNSET
    encrypted_content: Text | None = None
    status: Status | UnsetType = UNSET


Item = Message | FunctionCall | FunctionCallOutput | FileSearchCall | CodeInterpreterCall | Reasoning


# As they come


class InputMessage(Request, tag_field="type", tag="message", kw_only=True):
    """EasyInputMessage, InputMessage and OutputMessage."""

    id: str = ""
    status: Status = "completed"
    role: Role
    content: Text | list[Part]
    phase: Literal["commentary", "final_answer"] | UnsetType = UNSET


class ItemReference(Request, tag_field="type", tag="item_reference"):
    """Stands for an item that there is already."""

    id: Identifier


_Coming = (
    InputMessage | FunctionCall | FunctionCallOutput | FileSearchCall | CodeInterpreterCall | Reasoning | ItemReference
)
InputItem = Item | ItemReference

#: Parts of what somebody says.
_ALLOWED: Mapping[Role, tuple[type[Part], ...]] = {
    "user": (InputText, InputImage, InputFile),
    "assistant": (OutputText, Refusal),
    "system": (InputText,),
    "developer": (InputText,),
}


def read(values: str | Sequence[Mapping[str, Any]], param: str) -> list[InputItem]:
    """The items of a request. A text is what the user says. param: the request's member that they are.

    What is null is as good as absent, since programs send back what they were given. Raises InvalidRequest, whose
    `param` has the item's place.
    """
    if isinstance(values, str):
        values = [{"role": "user", "content": values}]
    coming = base.convert({param: [_tidied(value) for value in values]}, _wrapper(param))
    return [_item(one, f"{param}[{at}]") for at, one in enumerate(getattr(coming, param))]


@cache
def _wrapper(param: str) -> type[Struct]:
    return msgspec.defstruct("Coming", [(param, list[_Coming])])


def _tidied(value: Mapping[str, Any]) -> dict[str, Any]:
    """Without nulls; with its `type`, which the description lets out of messages and references."""
    tidied = {name: one for name, one in value.items() if one is not None}
    for name in ("content", "output"):
        if isinstance(tidied.get(name), list):
            tidied[name] = [_without_nulls(part) for part in tidied[name]]
    if "type" not in tidied and "role" in tidied:
        tidied["type"] = "message"
    elif tidied.keys() == {"id"}:
        tidied["type"] = "item_reference"
    return tidied


def _without_nulls(part: Any) -> Any:
    return {name: one for name, one in part.items() if one is not None} if isinstance(part, dict) else part


def _item(coming: _Coming, param: str) -> InputItem:
    """Raises InvalidRequest."""
    if isinstance(coming, InputMessage):
        return _message(coming, f"{param}.content")
    if isinstance(coming, FunctionCallOutput) and not isinstance(coming.output, str):
        _check_parts(coming.output, f"{param}.output")
    return coming


def _message(coming: InputMessage, param: str) -> Message:
    assistant = coming.role == "assistant"
    parts: list[Part]
    if isinstance(coming.content, str):
        parts = [OutputText(text=coming.content) if assistant else InputText(text=coming.content)]
    else:
        parts = [
            OutputText(text=part.text) if assistant and isinstance(part, InputText) else part for part in coming.content
        ]
    for at, part in enumerate(parts):
        if not isinstance(part, _ALLOWED[coming.role]):
            names = [f"'{_type(one)}'" for one in _ALLOWED[coming.role]]
            supported = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
            raise unsupported_value(f"{param}[{at}].type", _type(part), supported)
    _check_parts(parts, param)
    return Message(id=coming.id, status=coming.status, role=coming.role, content=parts, phase=coming.phase)


def _type(part: Any) -> str:
    return str(part.__struct_config__.tag)


def _check_parts(parts: Sequence[Part], param: str) -> None:
    """What one member of a part says of another. Raises InvalidRequest."""
    for at, part in enumerate(parts):
        if isinstance(part, InputImage):
            given: dict[str, object] = {"image_url": part.image_url, "file_id": part.file_id}
        elif isinstance(part, InputFile):
            given = {"file_id": part.file_id, "file_data": part.file_data, "file_url": part.file_url}
        else:
            continue
        if isinstance(part, InputFile):
            _check_file(part, f"{param}[{at}]")
        if sum(value is not None and value is not UNSET for value in given.values()) != 1:
            names = ", ".join(f"'{name}'" for name in given)
            raise InvalidRequest(
                f"Invalid '{param}[{at}]': expected exactly one of {names}.",
                param=f"{param}[{at}]",
                code="invalid_value",
            )


def _check_file(part: InputFile, param: str) -> None:
    """A model is given a file's text. Raises UnsupportedParameter."""
    if part.file_url is not UNSET:
        raise UnsupportedParameter(
            "Files are not fetched. Send the file as 'file_data', or upload it and send its 'file_id'.",
            param=f"{param}.file_url",
        )
    if part.detail not in (UNSET, "auto"):
        raise UnsupportedParameter(
            "Pages of files are not looked at as pictures: their text is read. Leave 'detail' out.",
            param=f"{param}.detail",
        )


def shown(item: Item, include: Sequence[str]) -> Item:
    """As an answer has it: what is only there when asked for is left out otherwise."""
    if isinstance(item, FileSearchCall) and "file_search_call.results" not in include:
        return msgspec.structs.replace(item, results=None)
    if isinstance(item, CodeInterpreterCall) and "code_interpreter_call.outputs" not in include:
        return msgspec.structs.replace(item, outputs=None)
    if isinstance(item, Reasoning) and "reasoning.encrypted_content" not in include:
        return msgspec.structs.replace(item, encrypted_content=None)
    if isinstance(item, Message):
        return msgspec.structs.replace(item, content=[_shown_part(part, include) for part in item.content])
    return item


def _shown_part(part: Part, include: Sequence[str]) -> Part:
    if isinstance(part, InputImage) and "message.input_image.image_url" not in include:
        return msgspec.structs.replace(part, image_url=None)
    if isinstance(part, OutputText) and "message.output_text.logprobs" not in include:
        return msgspec.structs.replace(part, logprobs=[])
    return part
