"""Runs of threads and their steps. Source: RunObject, RunStepObject, RunStepDetailsToolCalls..., RunToolCallObject.

`expires_at` of a step is not in the description; OpenAI's service sent it.
"""

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from homeport.wire.chat import Metadata

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
    """tools, truncation_strategy, tool_choice, response_format: as they were checked when it was made."""

    id: str
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
    temperature: float | None
    top_p: float | None
    max_prompt_tokens: int | None
    max_completion_tokens: int | None
    truncation_strategy: dict[str, Any]
    tool_choice: Any
    parallel_tool_calls: bool
    response_format: Any
    reasoning_effort: str | None
    object: Literal["thread.run"] = "thread.run"


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
    object: Literal["thread.run.step"] = "thread.run.step"
