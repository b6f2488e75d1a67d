"""A line of a file that is learnt from. Source: FineTuneChatRequestInput, FineTunePreferenceRequestInput,
FineTuneChatCompletionRequestAssistantMessage, FineTuneCompletionRequestInput (which is refused).

The answers of a pair are `preferred_output` and `non_preferred_output`, as the guide and the service have them; the
description of 2024 called them completions.
"""

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from homeport.errors import InvalidRequest
from homeport.wire.base import NOT_JSON, decode, empty, missing
from homeport.wire.chat import CustomTool, FunctionObject, FunctionTool, check_conversation
from homeport.wire.chat_messages import (
    AssistantMessage,
    DeveloperMessage,
    FunctionMessage,
    SystemMessage,
    ToolMessage,
    UserMessage,
)
from homeport.wire.fields import Request

T = TypeVar("T")


class FineTuneChatCompletionRequestAssistantMessage(AssistantMessage, tag="assistant"):
    """weight: 0: it is not learnt, and stands there for what comes after it."""

    weight: Literal[0, 1] | None = None

    @property
    def learnt(self) -> bool:
        return self.weight != 0


Messages = Annotated[
    list[
        SystemMessage
        | DeveloperMessage
        | UserMessage
        | FineTuneChatCompletionRequestAssistantMessage
        | ToolMessage
        | FunctionMessage
    ],
    Meta(min_length=1),
]
Tools = Annotated[list[FunctionTool | CustomTool], Meta(max_length=128)]
OneAnswer = Annotated[list[AssistantMessage], Meta(min_length=1, max_length=1)]


class FineTuneChatRequestInput(Request):
    messages: Messages
    tools: Tools | None = None
    parallel_tool_calls: bool | None = None
    functions: Annotated[list[FunctionObject], Meta(min_length=1, max_length=128)] | None = None

    def __post_init__(self) -> None:
        """What one field says of another. Raises InvalidRequest."""
        if self.tools and self.functions:
            raise InvalidRequest("'functions' and 'tools' cannot both be given. Use 'tools'.", param="functions")
        last = self.messages[-1]
        if not isinstance(last, AssistantMessage):
            raise InvalidRequest(
                "The last message must be from the assistant.", param=f"messages[{len(self.messages) - 1}].role"
            )
        check_conversation(self.messages[:-1])  # what the last one calls nobody has answered
        learnt = 0
        for at, message in enumerate(self.messages):
            if isinstance(message, FineTuneChatCompletionRequestAssistantMessage) and message.learnt:
                learnt += 1
                _check_answer(message, f"messages[{at}]")
        if not learnt:
            raise InvalidRequest(
                "Every assistant message has the weight 0: there is nothing to learn.", param="messages"
            )


class PreferenceInput(Request):
    messages: Messages
    tools: Tools | None = None
    parallel_tool_calls: bool | None = None


class FineTunePreferenceRequestInput(Request):
    """Of the `dpo` method. A weight in `input` says nothing: none of its messages is learnt."""

    input: PreferenceInput
    preferred_output: OneAnswer
    non_preferred_output: OneAnswer

    def __post_init__(self) -> None:
        """As FineTuneChatRequestInput."""
        try:
            check_conversation(self.input.messages)
        except InvalidRequest as error:
            raise below("input", error) from None
        _check_answer(self.preferred_output[0], "preferred_output[0]")
        _check_answer(self.non_preferred_output[0], "non_preferred_output[0]")


_chat = msgspec.json.Decoder(FineTuneChatRequestInput)
_preference = msgspec.json.Decoder(FineTunePreferenceRequestInput)
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def example(line: bytes) -> FineTuneChatRequestInput:
    """Of the `supervised` method. Raises InvalidRequest: what is wrong first, `param` says where in the line."""
    return _read(_chat, line)


def preference(line: bytes) -> FineTunePreferenceRequestInput:
    """As example."""
    return _read(_preference, line)


def below(name: str, error: InvalidRequest) -> InvalidRequest:
    """The same error, of what stands under a name."""
    if error.param is None:
        return InvalidRequest(error.message, param=name, code=error.code)
    param = f"{name}.{error.param}"
    return InvalidRequest(error.message.replace(f"'{error.param}'", f"'{param}'"), param=param, code=error.code)


def _read(decoder: "msgspec.json.Decoder[T]", line: bytes) -> T:
    try:
        return decode(decoder, line)
    except InvalidRequest as error:
        raise _of_another_form(decoder, line) or (_not_an_object() if error.message == NOT_JSON else error) from None


def _not_an_object() -> InvalidRequest:
    return InvalidRequest("The line is not a JSON object.", code="invalid_json_line")


def _of_another_form(decoder: Any, line: bytes) -> InvalidRequest | None:
    """What has been refused may be right elsewhere."""
    try:
        keys = _object.decode(line).keys()
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    if "prompt" in keys and not {"messages", "input"} & keys:
        words = (
            "This is the format of completion models. The models here are chat models: write the prompt and its "
            "completion as two `messages`, of the roles `user` and `assistant`."
        )
        return InvalidRequest(words, param="prompt", code="invalid_file_format")
    if decoder is _chat and "preferred_output" in keys:
        words = "This is a pair of answers, which the method `dpo` learns from, and not `supervised`."
        return InvalidRequest(words, param="preferred_output", code="invalid_file_format")
    if decoder is _preference and "messages" in keys:
        words = "This is an example which the method `supervised` learns from, and not `dpo`."
        return InvalidRequest(words, param="messages", code="invalid_file_format")
    return None


def _check_answer(message: AssistantMessage, where: str) -> None:
    """It says something, or calls something."""
    if message.tool_calls or message.function_call is not None:
        return
    if message.content is None and message.refusal is None:
        raise missing(f"{where}.content")
    if not message.refusal and not _says(message.content):
        raise empty(f"{where}.content", "string")


def _says(content: Any) -> bool:
    if isinstance(content, list):
        return any(getattr(part, "text", "") or getattr(part, "refusal", "") for part in content)
    return bool(content)
