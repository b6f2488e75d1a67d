"""Files. Source: OpenAIFile, CreateFileRequest, FileExpirationAfter, ListFilesResponse, DeleteFileResponse.

Nulls are the service's: `expires_at` of a file that stays, and `status_details` of one that is well.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from homeport.wire.fields import Request

#: What a client may upload a file for. Those that Homeport writes have others: `batch_output`, `fine-tune-results`, ...
Purpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
Status = Literal["uploaded", "processed", "error"]


class OpenAIFile(Struct):
    id: str
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Status
    expires_at: int | None
    status_details: str | None
    object: Literal["file"] = "file"


class FileExpirationAfter(Request):
    """seconds: from an hour to 30 days."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Meta(ge=3600, le=2_592_000)]


class CreateFileRequest(Request):
    """The fields beside the file."""

    purpose: Purpose
    expires_after: FileExpirationAfter | None = None
