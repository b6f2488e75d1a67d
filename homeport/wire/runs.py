"""Runs of threads and their steps. Source: CreateRunRequest, CreateThreadAndRunRequest, ModifyRunRequest,
SubmitToolOutputsRunRequest, RunObject, RunStepObject, RunStepDetailsToolCalls..., RunToolCallObject.

`expires_at` of a step is not in the description; OpenAI's service sent it.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from homeport.errors import InvalidRequest
from homeport.wire.assistants import (
    Instructions,
    OtherToolResources,
    ReasoningEffort,
    ResponseFormat,
    Temperature,
    Tools,
    TopP,
    check_tools,
)
from homeport.wire.base import missing
from homeport.wire.chat import Metadata, Named, check_metadata
from homeport.wire.fields import MOST_TOKENS, Identifier, ModelName, Request
from homeport.wire.threads import CreateThreadRequest, NewMessages

#: Bytes of what functions have put out, all calls together: OpenAI's limit.
LARGEST_OUTPUTS = 512 * 2**10

Status = Literal[
    "queued",
    "in_progress",
    "requires_action",
    "cancelling",
    "cancelled",
    "failed",
    "completed",
    "incomplete",
    "expired",
]
StepStatus = Literal["in_progress", "cancelled", "failed", "completed", "expired"]
ErrorCode = Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]


Tokens = Annotated[int, Meta(ge=256, le=MOST_TOKENS)]


class TruncationObject(Request):
    type: Literal["auto", "last_messages"]
    last_messages: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None

    def __post_init__(self) -> None:
        if self.type == "last_messages" and self.last_messages is None:
            raise missing("truncation_strategy.last_messages")
        if self.type == "auto" and self.last_messages is not None:
            raise InvalidRequest(
                "'truncation_strategy.last_messages' is only allowed when 'truncation_strategy.type' is "
                "'last_messages'.",
                param="truncation_strategy.last_messages",
                code="invalid_value",
            )


class NamedToolChoice(Request):
    type: Literal["function", "code_interpreter", "file_search"]
    function: Named | None = None

    def __post_init__(self) -> None:
        if self.type == "function" and self.function is None:
            raise missing("tool_choice.function")
        if self.type != "function" and self.function is not None:
            raise InvalidRequest(
                f"'tool_choice.function' is only allowed when 'tool_choice.type' is 'function', and it is "
                f"'{self.type}'.",
                param="tool_choice.function",
                code="invalid_value",
            )


class RunRequest(Request):
    """What both ways to begin a run have. What is not there, or null, is as the assistant has it."""

    assistant_id: Identifier
    model: ModelName | None = None
    instructions: Instructions | None = None
    tools: Tools | None = None
    metadata: Metadata | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    stream: bool | None = None
    max_prompt_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    truncation_strategy: TruncationObject | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None

    def __post_init__(self) -> None:
        check_metadata(self.metadata)
        check_tools(self.tools)

    @property
    def shown_choice(self) -> Any:
        """As it is stored."""
        choice = self.tool_choice
        if not isinstance(choice, NamedToolChoice):
            return choice
        named = {} if choice.function is None else {"function": {"name": choice.function.name}}
        return {"type": choice.type, **named}

    def check_choice(self, tools: Sequence[Mapping[str, Any]]) -> None:
        """tools: that the run has. Raises InvalidRequest: it is to call one that is not among them."""
        choice = self.tool_choice
        if choice in (None, "auto", "none"):
            return
        if not tools:
            raise InvalidRequest("'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
        if not isinstance(choice, NamedToolChoice):
            return
        if choice.function is not None:
            names = [tool["function"]["name"] for tool in tools if tool["type"] == "function"]
            wanted, where = choice.function.name, "tool_choice.function.name"
        else:
            names, wanted, where = [tool["type"] for tool in tools], choice.type, "tool_choice.type"
        if wanted not in names:
            raise InvalidRequest(
                f"Invalid value for '{where}': {wanted!r} is not among the tools of this run.",
                param=where,
                code="invalid_value",
            )


class CreateRunRequest(RunRequest):
    """additional_instructions: after those of the run. additional_messages: said before it begins."""

    reasoning_effort: ReasoningEffort | None = None
    additional_instructions: Instructions | None = None
    additional_messages: NewMessages | None = None


class CreateThreadAndRunRequest(RunRequest):
    """tool_resources: in the place of the assistant's."""

    thread: CreateThreadRequest | None = None
    tool_resources: OtherToolResources | None = None


class ModifyRunRequest(Request):
    """The pairs that there were are gone; where nothing is said they stay."""

    metadata: Metadata | UnsetType | None = UNSET

    def __post_init__(self) -> None:
        if self.metadata is not UNSET:
            check_metadata(self.metadata)


class ToolOutput(Request):
    tool_call_id: str
    output: str


class SubmitToolOutputsRunRequest(Request):
    tool_outputs: list[ToolOutput]
    stream: bool | None = None

    def __post_init__(self) -> None:
        size = sum(len(one.output.encode()) for one in self.tool_outputs)
        if size > LARGEST_OUTPUTS:
            raise InvalidRequest(
                f"Invalid 'tool_outputs': the outputs have {size} bytes together, and {LARGEST_OUTPUTS} are the most. "
                "Submit what the model needs of them, or put the rest into a file.",
                param="tool_outputs",
                code="string_above_max_length",
            )


class LastError(Struct):
    """Of a step never `invalid_prompt`."""

    code: ErrorCode
    message: str


class Usage(Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int

    @classmethod
    def of(cls, prompt: int, completion: int) -> "Usage":
        return cls(prompt, completion, prompt + completion)


class IncompleteDetails(Struct):
    """reason: `max_completion_tokens` or `max_prompt_tokens`; not in the description: `content_filter`."""

    reason: str


class Function(Struct):
    name: str
    arguments: str


class RunToolCall(Struct, tag_field="type", tag="function"):
    id: str
    function: Function


class ToolOutputsWanted(Struct):
    tool_calls: list[RunToolCall]


class RequiredAction(Struct, tag_field="type", tag="submit_tool_outputs"):
    submit_tool_outputs: ToolOutputsWanted


class Run(Struct, kw_only=True):
    """tools, truncation_strategy, tool_choice, response_format: as they were checked when it was made. What nobody said
    has OpenAI's value."""

    id: str
    object: Literal["thread.run"] = "thread.run"
    created_at: int
    thread_id: str
    assistant_id: str
    status: Status
    required_action: RequiredAction | None
    last_error: LastError | None
    expires_at: int | None
    started_at: int | None
    cancelled_at: int | None
    failed_at: int | None
    completed_at: int | None
    incomplete_details: IncompleteDetails | None
    model: str
    instructions: str
    tools: list[dict[str, Any]]
    metadata: Metadata
    usage: Usage | None
    temperature: float
    top_p: float
    max_prompt_tokens: int | None
    max_completion_tokens: int | None
    truncation_strategy: dict[str, Any]
    tool_choice: Any
    parallel_tool_calls: bool
    response_format: Any
    reasoning_effort: str | None


class CreatedMessage(Struct):
    message_id: str


class MessageCreation(Struct, tag_field="type", tag="message_creation"):
    message_creation: CreatedMessage


class FunctionCall(Struct):
    """output: null until it is submitted."""

    name: str
    arguments: str
    output: str | None


class FunctionToolCall(Struct, tag_field="type", tag="function"):
    id: str
    function: FunctionCall


class RankingOptions(Struct):
    ranker: str
    score_threshold: float


class ResultText(Struct, tag_field="type", tag="text"):
    text: str


class SearchResult(Struct, omit_defaults=True):
    """content: only where it is asked for (`include[]`)."""

    file_id: str
    file_name: str
    score: float
    content: list[ResultText] | UnsetType = UNSET


class FileSearch(Struct, omit_defaults=True):
    """Empty until it has searched."""

    ranking_options: RankingOptions | UnsetType = UNSET
    results: list[SearchResult] | UnsetType = UNSET


class FileSearchToolCall(Struct, tag_field="type", tag="file_search"):
    id: str
    file_search: FileSearch


class Logs(Struct, tag_field="type", tag="logs"):
    logs: str


class ImageFile(Struct):
    file_id: str


class Image(Struct, tag_field="type", tag="image"):
    image: ImageFile


class CodeInterpreter(Struct):
    input: str
    outputs: list[Logs | Image]


class CodeInterpreterToolCall(Struct, tag_field="type", tag="code_interpreter"):
    id: str
    code_interpreter: CodeInterpreter


ToolCall = FunctionToolCall | FileSearchToolCall | CodeInterpreterToolCall


class ToolCalls(Struct, tag_field="type", tag="tool_calls"):
    tool_calls: list[ToolCall]


class RunStep(Struct, kw_only=True):
    id: str
    object: Literal["thread.run.step"] = "thread.run.step"
    created_at: int
    assistant_id: str
    thread_id: str
    run_id: str
    type: Literal["message_creation", "tool_calls"]
    status: StepStatus
    step_details: MessageCreation | ToolCalls
    last_error: LastError | None
    expires_at: int | None
    expired_at: int | None
    cancelled_at: int | None
    failed_at: int | None
    completed_at: int | None
    usage: Usage | None
    metadata: Metadata | None = None
