"""Vector stores, the files in them, and batches of these. Source: VectorStoreObject, VectorStoreFileObject,
VectorStoreFileBatchObject, CreateVectorStoreRequest, UpdateVectorStoreRequest, CreateVectorStoreFileRequest,
UpdateVectorStoreFileAttributesRequest, CreateVectorStoreFileBatchRequest, VectorStoreFileContentResponse.

What is searched for, and found, is in vector_store_search.py.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from homeport.errors import InvalidRequest
from homeport.wire.chat import Metadata, check_metadata
from homeport.wire.fields import Identifier, Request

#: Tokens of a chunk, and of two neighbours in common, where nobody chooses.
CHUNK_SIZE, CHUNK_OVERLAP = 800, 400
#: Files of one batch, and of a store while it is made.
MOST_IN_BATCH, MOST_AT_FIRST = 2000, 500
MOST_ATTRIBUTES, LONGEST_KEY, LONGEST_VALUE = 16, 64, 512

#: PostgreSQL's texts have no NUL.
Name = Annotated[str, Meta(max_length=256, pattern=r"^[^\x00]*$")]
Description = Annotated[str, Meta(max_length=512, pattern=r"^[^\x00]*$")]
Attributes = dict[str, str | bool | int | float]
Status = Literal["in_progress", "completed", "cancelled", "failed"]
#: In the order of the description.
STATUSES: tuple[Status, ...] = ("in_progress", "completed", "failed", "cancelled")
ErrorCode = Literal["server_error", "unsupported_file", "invalid_file"]


class StaticChunking(Request):
    """Both in tokens. The overlap is half of the size at most."""

    max_chunk_size_tokens: Annotated[int, Meta(ge=100, le=4096)]
    chunk_overlap_tokens: Annotated[int, Meta(ge=0)]

    def __post_init__(self) -> None:
        if self.chunk_overlap_tokens > self.max_chunk_size_tokens // 2:
            raise InvalidRequest(
                f"Invalid 'chunk_overlap_tokens': it must not exceed half of 'max_chunk_size_tokens', which is "
                f"{self.max_chunk_size_tokens // 2}, but got {self.chunk_overlap_tokens} instead.",
                param="chunking_strategy.static.chunk_overlap_tokens",
                code="invalid_value",
            )


class AutoChunkingStrategy(Request, tag_field="type", tag="auto"):
    """800 and 400 tokens."""


class StaticChunkingStrategy(Request, tag_field="type", tag="static"):
    static: StaticChunking


ChunkingStrategy = AutoChunkingStrategy | StaticChunkingStrategy


class ExpiresAfter(Request):
    """anchor: when it was used last."""

    anchor: Literal["last_active_at"]
    days: Annotated[int, Meta(ge=1, le=365)]


class CreateVectorStoreRequest(Request):
    """chunking_strategy: of the files."""

    file_ids: Annotated[list[Identifier], Meta(max_length=MOST_AT_FIRST)] | None = None
    name: Name | None = None
    description: Description | None = None
    expires_after: ExpiresAfter | None = None
    chunking_strategy: ChunkingStrategy | None = None
    metadata: Metadata | None = None

    def __post_init__(self) -> None:
        check_metadata(self.metadata)


class UpdateVectorStoreRequest(Request):
    """What is not there stays as it is. Null: no name, no end, no metadata."""

    name: Name | UnsetType | None = UNSET
    expires_after: ExpiresAfter | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET

    def __post_init__(self) -> None:
        if self.metadata is not UNSET:
            check_metadata(self.metadata)


class CreateVectorStoreFileRequest(Request):
    file_id: Identifier
    chunking_strategy: ChunkingStrategy | None = None
    attributes: Attributes | None = None

    def __post_init__(self) -> None:
        check_attributes(self.attributes)


class UpdateVectorStoreFileAttributesRequest(Request):
    """Those that there were are gone."""

    attributes: Attributes | None

    def __post_init__(self) -> None:
        check_attributes(self.attributes)


class CreateVectorStoreFileBatchRequest(Request):
    """file_ids, for which the other two hold; or files, each with its own."""

    file_ids: Annotated[list[Identifier], Meta(min_length=1, max_length=MOST_IN_BATCH)] | None = None
    files: Annotated[list[CreateVectorStoreFileRequest], Meta(min_length=1, max_length=MOST_IN_BATCH)] | None = None
    chunking_strategy: ChunkingStrategy | None = None
    attributes: Attributes | None = None

    def __post_init__(self) -> None:
        check_attributes(self.attributes)
        if (self.file_ids is None) == (self.files is None):
            found = "neither is there" if self.files is None else "both are there"
            raise InvalidRequest(
                f"A file batch has either 'file_ids' or 'files': {found}.", param="file_ids", code="invalid_value"
            )

    @property
    def each(self) -> list[CreateVectorStoreFileRequest]:
        """Of the files, what a request for it alone would be."""
        if self.files is not None:
            return self.files
        return [
            CreateVectorStoreFileRequest(
                file_id=file_id, chunking_strategy=self.chunking_strategy, attributes=self.attributes
            )
            for file_id in self.file_ids or ()
        ]


def check_attributes(attributes: Mapping[str, Any] | None) -> None:
    """16 pairs; keys up to 64 characters, texts up to 512. Raises InvalidRequest."""
    if attributes is None:
        return
    if len(attributes) > MOST_ATTRIBUTES:
        raise InvalidRequest(
            f"Invalid 'attributes': too many properties. Expected an object with at most {MOST_ATTRIBUTES} properties, "
            f"but got an object with {len(attributes)} properties instead.",
            param="attributes",
            code="object_above_max_properties",
        )
    for key, value in attributes.items():
        for text, most in ((key, LONGEST_KEY), (value, LONGEST_VALUE)):
            if isinstance(text, str):
                _check_text(f"attributes.{key[:LONGEST_KEY]}", text, most)


def _check_text(param: str, text: str, most: int) -> None:
    if len(text) > most:
        raise InvalidRequest(
            f"Invalid '{param}': string too long. Expected a string with maximum length {most}, but got a string with "
            f"length {len(text)} instead.",
            param=param,
            code="string_above_max_length",
        )
    if "\0" in text:
        raise InvalidRequest(f"Invalid '{param}': there is a NUL in it.", param=param, code="invalid_value")


class FileCounts(Struct):
    in_progress: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    total: int = 0


class VectorStore(Struct, kw_only=True):
    """As the service shows it: what there is none of is null, or empty, and not absent."""

    id: str
    object: Literal["vector_store"] = "vector_store"
    created_at: int
    name: str
    description: str | None
    usage_bytes: int
    file_counts: FileCounts
    status: Literal["expired", "in_progress", "completed"]
    expires_after: ExpiresAfter | None
    expires_at: int | None
    last_active_at: int
    metadata: Metadata


class LastError(Struct):
    code: ErrorCode
    message: str


class VectorStoreFile(Struct, kw_only=True):
    """id: the file's."""

    id: str
    object: Literal["vector_store.file"] = "vector_store.file"
    usage_bytes: int
    created_at: int
    vector_store_id: str
    status: Status
    last_error: LastError | None
    chunking_strategy: StaticChunkingStrategy
    attributes: Attributes


class VectorStoreFileBatch(Struct, kw_only=True):
    id: str
    object: Literal["vector_store.files_batch"] = "vector_store.files_batch"
    created_at: int
    vector_store_id: str
    status: Status
    file_counts: FileCounts


class Text(Struct, tag_field="type", tag="text"):
    text: str


class VectorStoreFileContent(Struct):
    """A page of what was read from a file."""

    data: list[Text]
    has_more: bool = False
    next_page: str | None = None
    object: Literal["vector_store.file_content.page"] = "vector_store.file_content.page"
