"""Batches, and the lines of their files. Source: Batch, CreateBatchRequest, BatchRequestInput, BatchRequestOutput.

Times that have not come, and files that there are none of, are null, as the description's examples have them; a model
that is not known yet is absent.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from homeport.wire.chat import Metadata, check_metadata
from homeport.wire.fields import Identifier, Request

Status = Literal["validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"]
LONGEST_CUSTOM_ID = 512


class OutputExpiresAfter(Request):
    """anchor: when the file is made."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Meta(ge=3600, le=2_592_000)]


class CreateBatchRequest(Request):
    """endpoint: Azure's documentation writes it without the version, and so do the lines then."""

    input_file_id: Identifier
    endpoint: Literal[
        "/v1/responses",
        "/v1/chat/completions",
        "/v1/embeddings",
        "/v1/completions",
        "/v1/moderations",
        "/v1/images/generations",
        "/v1/images/edits",
        "/v1/videos",
        "/chat/completions",
        "/completions",
        "/embeddings",
        "/responses",
    ]
    completion_window: Literal["24h"]
    metadata: Metadata | None = None
    output_expires_after: OutputExpiresAfter | None = None

    def __post_init__(self) -> None:
        check_metadata(self.metadata)


class BatchError(Struct):
    """line: of the input, from 1; null where it is none of them."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None


class BatchErrors(Struct):
    data: list[BatchError]
    object: Literal["list"] = "list"


class BatchRequestCounts(Struct):
    total: int = 0
    completed: int = 0
    failed: int = 0


class InputTokensDetails(Struct):
    cached_tokens: int


class OutputTokensDetails(Struct):
    reasoning_tokens: int


class BatchUsage(Struct):
    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class Batch(Struct, kw_only=True):
    id: str
    object: Literal["batch"] = "batch"
    endpoint: str
    model: str | UnsetType = UNSET
    errors: BatchErrors | None
    input_file_id: str
    completion_window: str
    status: Status
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: BatchRequestCounts
    usage: BatchUsage
    metadata: Metadata | None


class BatchRequestInput(Struct):
    """A line of the input. body: as it came; an object, which whoever takes it looks at."""

    custom_id: Annotated[str, Meta(min_length=1, max_length=LONGEST_CUSTOM_ID)]
    method: Literal["POST"]
    url: str
    body: msgspec.Raw


class BatchResponse(Struct):
    """Whatever the endpoint answered, an error too."""

    status_code: int
    request_id: str
    body: msgspec.Raw


class BatchRequestError(Struct):
    """Why there is no answer."""

    code: str
    message: str


class BatchRequestOutput(Struct):
    """A line of the output and of the error file."""

    id: str
    custom_id: str
    response: BatchResponse | None
    error: BatchRequestError | None


#: The line as a client can read it, without its end.
encode_line = msgspec.json.Encoder().encode


class _Details(Struct):
    reasoning_tokens: int | None = None


class _Usage(Struct):
    completion_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


class _Answer(Struct):
    usage: _Usage | None = None


_answer: "msgspec.json.Decoder[Any]" = msgspec.json.Decoder(_Answer)


def reasoning_tokens(body: bytes) -> int:
    """That an answer says it took; 0 where it says nothing."""
    if b'"reasoning_tokens"' not in body:
        return 0
    try:
        usage = _answer.decode(body).usage
    except msgspec.DecodeError:
        return 0
    details = usage and (usage.completion_tokens_details or usage.output_tokens_details)
    return (details.reasoning_tokens or 0) if details else 0
