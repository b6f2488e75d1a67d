"""Uploads: a large file that comes in parts. Source: Upload, UploadPart, CreateUploadRequest, CompleteUploadRequest."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from homeport.wire.fields import Request
from homeport.wire.files import FileExpirationAfter, OpenAIFile, Purpose

LARGEST_UPLOAD = 8 * 2**30
LARGEST_PART = 64 * 2**20

Status = Literal["pending", "completed", "cancelled", "expired"]


class Upload(Struct, kw_only=True):
    """bytes: that are to come. file: of a completed one, unless it was deleted since."""

    id: str
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: Status
    file: OpenAIFile | None = None
    object: Literal["upload"] = "upload"


class UploadPart(Struct, kw_only=True):
    id: str
    created_at: int
    upload_id: str
    object: Literal["upload.part"] = "upload.part"


class CreateUploadRequest(Request):
    filename: str
    purpose: Purpose
    bytes: Annotated[int, Meta(ge=1, le=LARGEST_UPLOAD)]
    mime_type: Annotated[str, Meta(max_length=255)]
    expires_after: FileExpirationAfter | None = None


class CompleteUploadRequest(Request):
    """part_ids: in the order of the file. md5: of all of it, in hexadecimal."""

    part_ids: Annotated[list[str], Meta(min_length=1)]
    md5: Annotated[str, Meta(pattern=r"^[0-9a-fA-F]{32}$")] | None = None


class AddUploadPartRequest(Request):
    """A part is its bytes and nothing else."""
