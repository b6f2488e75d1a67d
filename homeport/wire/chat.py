"""Chat completions: the request with every parameter of the description, and the answers.

Source: CreateChatCompletionRequest, CreateChatCompletionResponse and CreateChatCompletionStreamResponse.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from homeport.errors import InvalidRequest
from homeport.wire.base import check_nul, missing
from homeport.wire.chat_messages import AssistantMessage, FunctionMessage, Message, TextPart, ToolMessage

NAME = r"^[a-zA-Z0-9_-]{1,64}$"
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Bias = Annotated[float, Meta(ge=-100, le=100)]
Stops = str | Annotated[list[str], Meta(max_length=4)]
Metadata = dict[str, str]
Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class StreamOptions(Struct, forbid_unknown_fields=True):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class FunctionObject(Struct, forbid_unknown_fields=True):
    name: Annotated[str, Meta(pattern=NAME)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionTool(Struct, tag_field="type", tag="function", forbid_unknown_fields=True):
    function: FunctionObject


class CustomToolFormat(Struct):
    type: Literal["text", "grammar"]


class CustomToolObject(Struct, forbid_unknown_fields=True):
    name: str
    description: str | None = None
    format: CustomToolFormat | None = None


class CustomTool(Struct, tag_field="type", tag="custom", forbid_unknown_fields=True):
    custom: CustomToolObject


class Named(Struct, forbid_unknown_fields=True):
    name: str


class NamedFunction(Struct, tag_field="type", tag="function", forbid_unknown_fields=True):
    function: Named


class NamedCustom(Struct, tag_field="type", tag="custom", forbid_unknown_fields=True):
    custom: Named


class AllowedTools(Struct, forbid_unknown_fields=True):
    mode: Literal["auto", "required"]
    tools: list[NamedFunction | NamedCustom]


class AllowedToolsChoice(Struct, tag_field="type", tag="allowed_tools", forbid_unknown_fields=True):
    allowed_tools: AllowedTools


class ResponseFormatText(Struct, tag_field="type", tag="text", forbid_unknown_fields=True):
    pass


class ResponseFormatJSONObject(Struct, tag_field="type", tag="json_object", forbid_unknown_fields=True):
    pass


class JSONSchema(Struct, forbid_unknown_fields=True):
    """schema: a JSON Schema as the client wrote it."""

    name: Annotated[str, Meta(pattern=NAME)]
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class ResponseFormatJSONSchema(Struct, tag_field="type", tag="json_schema", forbid_unknown_fields=True):
    json_schema: JSONSchema


class PredictionContent(Struct, forbid_unknown_fields=True):
    type: Literal["content"]
    content: str | list[TextPart]


class CreateChatCompletionRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """Everything a request may say, checked; what a backend makes of it is the backend's to say."""

    model: str
    messages: Annotated[list[Message], Meta(min_length=1)]
    audio: dict[str, Any] | None = None
    frequency_penalty: Penalty | None = None
    function_call: Literal["none", "auto"] | Named | None = None
    functions: Annotated[list[FunctionObject], Meta(min_length=1, max_length=128)] | None = None
    logit_bias: dict[str, Bias] | None = None
    logprobs: bool | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    metadata: Metadata | None = None
    modalities: list[Literal["text", "audio"]] | None = None
    moderation: dict[str, Any] | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    parallel_tool_calls: bool | None = None
    prediction: PredictionContent | None = None
    presence_penalty: Penalty | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: Literal["in_memory", "in-memory", "24h"] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    response_format: ResponseFormatText | ResponseFormatJSONObject | ResponseFormatJSONSchema | None = None
    safety_identifier: Annotated[str, Meta(max_length=64)] | None = None
    seed: Seed | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | None = None
    stop: Stops | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedFunction | NamedCustom | AllowedToolsChoice | None = None
    tools: Annotated[list[FunctionTool | CustomTool], Meta(max_length=128)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    user: str | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    web_search_options: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        """What one field says of another. Raises InvalidRequest."""
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise InvalidRequest(
                "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported. Send one of them.",
                param="max_tokens",
                code="invalid_value",
            )
        if self.top_logprobs is not None and not self.logprobs:
            raise InvalidRequest(
                "Invalid value: 'top_logprobs' is only allowed when 'logprobs' is enabled.",
                param="top_logprobs",
                code="invalid_value",
            )
        check_stream_options(self.stream_options, self.stream)
        check_logit_bias(self.logit_bias)
        check_metadata(self.metadata)
        self._check_tools()
        if isinstance(self.response_format, ResponseFormatJSONObject) and not _mentions_json(self.messages):
            raise InvalidRequest(
                "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
                param="messages",
            )
        check_conversation(self.messages)

    def _check_tools(self) -> None:
        if not self.tools:
            if self.tool_choice is not None and self.tool_choice != "none":
                raise InvalidRequest(
                    "'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice", code=None
                )
            if self.parallel_tool_calls is not None:
                raise InvalidRequest(
                    "'parallel_tool_calls' is only allowed when 'tools' are specified.", param="parallel_tool_calls"
                )
        elif self.functions:
            raise InvalidRequest("'functions' and 'tools' cannot both be given. Use 'tools'.", param="functions")
        if self.function_call is not None and not self.functions:
            raise InvalidRequest(
                "'function_call' is only allowed when 'functions' are specified.", param="function_call"
            )


def check_stream_options(options: StreamOptions | None, stream: bool | None) -> None:
    if options is not None and not stream:
        raise InvalidRequest(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )


def check_logit_bias(bias: dict[str, float] | None) -> None:
    for token in bias or ():
        if not token.isdecimal():
            raise InvalidRequest(
                f"Invalid key in 'logit_bias': {token}. You should only be submitting non-negative integers.",
                param="logit_bias",
                code="invalid_value",
            )


def check_metadata(metadata: Metadata | None) -> None:
    """16 pairs; keys up to 64 characters, values up to 512."""
    if metadata is None:
        return
    if len(metadata) > 16:
        raise InvalidRequest(
            "Invalid 'metadata': too many properties. Expected an object with at most 16 properties, but got an "
            f"object with {len(metadata)} properties instead.",
            param="metadata",
            code="object_above_max_properties",
        )
    for key, value in metadata.items():
        for text, most in ((key, 64), (value, 512)):
            if len(text) > most:
                raise InvalidRequest(
                    f"Invalid 'metadata.{key[:64]}': string too long. Expected a string with maximum length {most}, "
                    f"but got a string with length {len(text)} instead.",
                    param=f"metadata.{key[:64]}",
                    code="string_above_max_length",
                )


def check_sought_metadata(metadata: Metadata | None) -> None:
    """Of what is looked for by its metadata."""
    check_metadata(metadata)
    for pair in (metadata or {}).items():
        check_nul("metadata", "".join(pair))


def check_conversation(messages: Sequence[Message]) -> None:
    """Every tool's answer follows its call, and every call is answered before anybody else speaks."""
    open_calls: list[str] = []
    asked_at = 0
    answered: set[str] = set()
    for at, message in enumerate(messages):
        if isinstance(message, ToolMessage):
            if message.tool_call_id not in open_calls and message.tool_call_id not in answered:
                raise InvalidRequest(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceding message with "
                    "'tool_calls'.",
                    param=f"messages[{at}].role",
                )
            if message.tool_call_id in open_calls:
                open_calls.remove(message.tool_call_id)
                answered.add(message.tool_call_id)
            continue
        _check_answered(open_calls, asked_at)
        answered = set()
        if isinstance(message, AssistantMessage):
            if message.tool_calls:
                open_calls, asked_at = [call.id for call in message.tool_calls], at
            elif message.content is None and message.function_call is None and message.refusal is None:
                if message.audio is None:
                    raise missing(f"messages[{at}].content")
        elif isinstance(message, FunctionMessage) and message.content is None:
            raise missing(f"messages[{at}].content")
    _check_answered(open_calls, asked_at)


def _check_answered(open_calls: Sequence[str], asked_at: int) -> None:
    if open_calls:
        raise InvalidRequest(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            "'tool_call_id'. The following tool_call_ids did not have response messages: " + ", ".join(open_calls),
            param=f"messages[{asked_at + 1}].role",
        )


def _mentions_json(messages: Sequence[Message]) -> bool:
    return any(b"json" in msgspec.json.encode(message).lower() for message in messages)
