"""Responses: what is asked for, and the object that answers are. Source: CreateResponse, Response, ToolsArray,
ToolChoiceParam, ResponseTextParam, ResponseUsage. What responses are made of is in items.py, what streams tell in
response_events.py.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from homeport.errors import InvalidRequest, UnsupportedParameter
from homeport.wire.base import missing, unsupported_value
from homeport.wire.chat import NAME, Metadata, check_metadata
from homeport.wire.fields import MOST_TOKENS, Identifier, Request
from homeport.wire.items import INCLUDES, Item

#: Characters of instructions, as assistants have them.
LONGEST_INSTRUCTIONS = 256_000
MOST_TOOLS = 128
Status = Literal["completed", "failed", "in_progress", "cancelled", "queued", "incomplete"]
#: What can be said of what went wrong once a response has begun.
ErrorCode = Literal["server_error", "rate_limit_exceeded", "invalid_prompt", "vector_store_timeout"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Tier = Literal["auto", "default", "flex", "scale", "priority", "fast"]
#: PostgreSQL's texts have no NUL.
Text = Annotated[str, Meta(pattern=r"^[^\x00]*$")]


# Tools


class FunctionTool(Request, tag_field="type", tag="function", omit_defaults=True):
    """Of the client's, which ends the response with a call of it."""

    name: Annotated[str, Meta(pattern=NAME)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    def as_chat(self) -> dict[str, Any]:
        """As chat completions have it."""
        members = {"description": self.description, "parameters": self.parameters, "strict": self.strict}
        function = {"name": self.name, **{name: value for name, value in members.items() if value is not None}}
        return {"type": "function", "function": function}


class HybridSearch(Request):
    """How much each half of a search counts."""

    embedding_weight: Annotated[float, Meta(ge=0, le=1_000_000)]
    text_weight: Annotated[float, Meta(ge=0, le=1_000_000)]

    def __post_init__(self) -> None:
        """Raises InvalidRequest."""
        if self.embedding_weight == self.text_weight == 0:
            raise InvalidRequest(
                "Invalid 'hybrid_search': one of 'embedding_weight' and 'text_weight' has to be greater than 0.",
                param="tools.ranking_options.hybrid_search",
                code="invalid_value",
            )


class RankingOptions(Request, omit_defaults=True):
    ranker: Literal["auto", "default-2024-11-15"] = "auto"
    score_threshold: Annotated[float, Meta(ge=0, le=1)] = 0.0
    hybrid_search: HybridSearch | None = None


class FileSearchTool(Request, tag_field="type", tag="file_search", omit_defaults=True):
    vector_store_ids: Annotated[list[Identifier], Meta(min_length=1, max_length=64)]
    max_num_results: Annotated[int, Meta(ge=1, le=50)] | None = None
    ranking_options: RankingOptions | None = None
    filters: dict[str, Any] | None = None


class AutoContainer(Request, tag_field="type", tag="auto", omit_defaults=True):
    """A container that is made for the response."""

    file_ids: Annotated[list[Identifier], Meta(max_length=50)] | None = None


class CodeInterpreterTool(Request, tag_field="type", tag="code_interpreter"):
    """container: one that there is, or one that is made."""

    container: Identifier | AutoContainer


Tool = FunctionTool | FileSearchTool | CodeInterpreterTool


class ChosenFunction(Request, tag_field="type", tag="function"):
    name: str


class ChosenFileSearch(Request, tag_field="type", tag="file_search"):
    pass


class ChosenCodeInterpreter(Request, tag_field="type", tag="code_interpreter"):
    pass


Chosen = ChosenFunction | ChosenFileSearch | ChosenCodeInterpreter


class AllowedTools(Request, tag_field="type", tag="allowed_tools"):
    """Only these may be called."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[Chosen], Meta(min_length=1, max_length=MOST_TOOLS)]


ToolChoice = Literal["none", "auto", "required"] | Chosen | AllowedTools


# What an answer looks like


class TextFormat(Request, tag_field="type", tag="text"):
    pass


class JSONObjectFormat(Request, tag_field="type", tag="json_object"):
    pass


class JSONSchemaFormat(Request, tag_field="type", tag="json_schema", omit_defaults=True):
    name: Annotated[str, Meta(pattern=NAME)]
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class TextConfig(Request, omit_defaults=True):
    format: TextFormat | JSONObjectFormat | JSONSchemaFormat = field(default_factory=TextFormat)
    verbosity: Literal["low", "medium", "high"] | None = None

    def as_chat(self) -> dict[str, Any] | None:
        """The `response_format` of chat completions; None: text."""
        if isinstance(self.format, JSONSchemaFormat):
            members = {"description": self.format.description, "strict": self.format.strict}
            given = {name: value for name, value in members.items() if value is not None}
            return {
                "type": "json_schema",
                "json_schema": {"name": self.format.name, "schema": self.format.schema, **given},
            }
        return {"type": "json_object"} if isinstance(self.format, JSONObjectFormat) else None


class Reasoning(Request, omit_defaults=True):
    """What the model thinks is told as it is, where it is told at all (`reasoning_text`): nobody sums it up."""

    effort: Effort | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None
    context: Literal["auto", "current_turn", "all_turns"] | None = None


class StreamOptions(Request):
    include_obfuscation: bool | None = None


class Conversation(Request):
    id: Identifier


#: Members that are there, and why no response can have them here.
_REFUSED = {
    "prompt": "Prompts are not kept here. Send the text as 'instructions' and 'input'.",
    "moderation": "Moderate the text by `POST /v1/moderations` instead, or have the project's requests moderated.",
    "context_management": "Nothing is compacted here. Send truncation 'auto': what does not fit is left out.",
    "prompt_cache_options": "How long prompts stay in a cache cannot be promised. Leave it out.",
    "top_logprobs": "Ask /v1/chat/completions for log-probabilities.",
}
_HARMLESS = {"top_logprobs": 0}


class CreateResponse(Request, omit_defaults=True):
    """input: read by items.read. What nobody has said is not said again, and so it is with the members' members."""

    model: Annotated[Text, Meta(min_length=1, max_length=256)]
    input: str | list[dict[str, Any]] | None = None
    background: bool | None = None
    context_management: Any = None
    conversation: Identifier | Conversation | None = None
    include: list[str] | None = None
    instructions: Annotated[Text, Meta(max_length=LONGEST_INSTRUCTIONS)] | None = None
    max_output_tokens: Annotated[int, Meta(ge=16, le=MOST_TOKENS)] | None = None
    max_tool_calls: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    metadata: Metadata | None = None
    moderation: Any = None
    parallel_tool_calls: bool | None = None
    previous_response_id: Identifier | None = None
    prompt: Any = None
    prompt_cache_key: Text | None = None
    prompt_cache_options: Any = None
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None
    reasoning: Reasoning | None = None
    safety_identifier: Annotated[Text, Meta(max_length=64)] | None = None
    service_tier: Tier | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    text: TextConfig | None = None
    tool_choice: ToolChoice | None = None
    tools: Annotated[list[Tool], Meta(max_length=MOST_TOOLS)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    user: Text | None = None

    refused = _REFUSED

    def __post_init__(self) -> None:
        """What cannot be honoured, and what one member says of another. Raises InvalidRequest."""
        for name, instead in self.refused.items():
            value = getattr(self, name)
            if value is not None and value != _HARMLESS.get(name):
                raise UnsupportedParameter(f"'{name}' is not supported here. {instead}", param=name)
        check_metadata(self.metadata)
        self._check_include()
        self._check_reasoning()
        self._check_tools()
        if self.previous_response_id is not None and self.conversation is not None:
            raise InvalidRequest(
                "'previous_response_id' and 'conversation' cannot both be given: say what goes before in one of them.",
                param="previous_response_id",
                code="mutually_exclusive_parameters",
            )
        if self.background and self.store is False:
            raise InvalidRequest("Background mode requires 'store' to be true.", param="background")
        if self.stream_options is not None and not self.stream:
            raise InvalidRequest(
                "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
            )
        if self.input is None:
            raise missing("input")
        if self.stream_options is not None and self.stream_options.include_obfuscation:
            raise UnsupportedParameter(
                "Events are not padded here. Leave 'include_obfuscation' out, or send false.",
                param="stream_options.include_obfuscation",
            )

    def _check_include(self) -> None:
        check_include(self.include or ())

    def _check_reasoning(self) -> None:
        if self.reasoning is None:
            return
        for name in ("summary", "generate_summary", "context"):
            if getattr(self.reasoning, name) not in (None, "auto"):
                raise unsupported_value(f"reasoning.{name}", getattr(self.reasoning, name), "'auto'")

    def _check_tools(self) -> None:
        tools = self.tools or []
        for at, tool in enumerate(tools):
            if not isinstance(tool, FunctionTool) and any(type(one) is type(tool) for one in tools[:at]):
                raise InvalidRequest(
                    f"Only one tool of type '{type_of(tool)}' is allowed.", param=f"tools[{at}]", code="invalid_value"
                )
        choice = self.tool_choice
        if choice == "required" and not tools:
            raise InvalidRequest("'tool_choice' is 'required', but there are no 'tools'.", param="tool_choice")
        wanted = choice.tools if isinstance(choice, AllowedTools) else [choice]
        for one in wanted:
            if one is not None and not isinstance(one, str) and not any(_is_meant(one, tool) for tool in tools):
                name = one.name if isinstance(one, ChosenFunction) else type_of(one)
                raise InvalidRequest(f"Tool choice '{name}' not found in 'tools' parameter.", param="tool_choice")

    @property
    def conversation_id(self) -> str | None:
        return self.conversation.id if isinstance(self.conversation, Conversation) else self.conversation


def check_include(include: Sequence[str]) -> None:
    """Raises InvalidRequest. What is asked for of items that no response has here is asked for in vain, as it is where
    a response happens to have none of them."""
    for at, name in enumerate(include):
        if name not in INCLUDES:
            raise unsupported_value(f"include[{at}]", name, ", ".join(f"'{one}'" for one in INCLUDES))
        if name == "message.output_text.logprobs":
            raise UnsupportedParameter(
                "Responses have no log-probabilities here. Ask /v1/chat/completions for them.", param=f"include[{at}]"
            )


def type_of(tool: Tool | Chosen) -> str:
    return str(tool.__struct_config__.tag)


def _is_meant(choice: Chosen, tool: Tool) -> bool:
    named = not isinstance(choice, ChosenFunction) or not isinstance(tool, FunctionTool) or choice.name == tool.name
    return type_of(choice) == type_of(tool) and named


# The object


class InputTokensDetails(Struct):
    cached_tokens: int
    cache_write_tokens: int = 0


class OutputTokensDetails(Struct):
    reasoning_tokens: int


class ResponseUsage(Struct):
    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class ResponseError(Struct):
    code: ErrorCode
    message: str


class IncompleteDetails(Struct):
    reason: Literal["max_output_tokens", "content_filter"]


class ResponseConversation(Struct):
    id: str


class Response(Struct, kw_only=True):
    """Members that nobody chose are there with what holds then."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    status: Status
    background: bool
    completed_at: int | None = None
    conversation: ResponseConversation | None = None
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    metadata: Metadata
    model: str
    output: list[Item]
    parallel_tool_calls: bool
    previous_response_id: str | None = None
    prompt_cache_key: str | UnsetType = UNSET
    prompt_cache_retention: str | None = None
    reasoning: dict[str, Any]
    safety_identifier: str | UnsetType = UNSET
    service_tier: str
    store: bool
    temperature: float
    text: dict[str, Any]
    tool_choice: ToolChoice
    tools: list[dict[str, Any]]
    top_logprobs: int = 0
    top_p: float
    truncation: str
    usage: ResponseUsage | None = None
    user: str | UnsetType = UNSET


class DeletedResponse(Struct):
    id: str
    object: Literal["response"] = "response"
    deleted: bool = True
