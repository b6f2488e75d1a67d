"""Threads, and the messages in them. Source: ThreadObject, CreateThreadRequest, ModifyThreadRequest, MessageObject,
CreateMessageRequest, ModifyMessageRequest, and the parts of a message's content.
"""

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from msgspec import UNSET, Meta, Struct, UnsetType

from homeport.errors import InvalidRequest
from homeport.wire.assistants import OtherToolResources, ToolResources
from homeport.wire.chat import Metadata, check_metadata
from homeport.wire.fields import Identifier, Request

#: Characters of a message, its parts together.
LONGEST_MESSAGE = 256_000
LONGEST_URL = 8192
#: Messages that are made with a thread, or with a run.
MOST_MESSAGES = 1000

Detail = Literal["auto", "low", "high"]
Role = Literal["user", "assistant"]
IncompleteReason = Literal["content_filter", "max_tokens", "run_cancelled", "run_expired", "run_failed"]


class FileReference(Struct):
    file_id: str


class FileCitationAnnotation(Struct, kw_only=True, tag_field="type", tag="file_citation"):
    """text: what stands in the message from `start_index` up to and without `end_index`, in characters."""

    text: str
    start_index: int
    end_index: int
    file_citation: FileReference


class FilePathAnnotation(Struct, kw_only=True, tag_field="type", tag="file_path"):
    text: str
    start_index: int
    end_index: int
    file_path: FileReference


class Text(Struct):
    value: str
    annotations: list[FileCitationAnnotation | FilePathAnnotation]


class TextContent(Struct, tag_field="type", tag="text"):
    text: Text


class ImageFile(Struct):
    file_id: str
    detail: Detail = "auto"


class ImageFileContent(Struct, tag_field="type", tag="image_file"):
    image_file: ImageFile


class ImageURL(Struct):
    url: str
    detail: Detail = "auto"


class ImageURLContent(Struct, tag_field="type", tag="image_url"):
    image_url: ImageURL


class RefusalContent(Struct, tag_field="type", tag="refusal"):
    refusal: str


#: A part of a message, as its row and its object have it.
Content = TextContent | ImageFileContent | ImageURLContent | RefusalContent


class IncompleteDetails(Struct):
    reason: IncompleteReason


class Message(Struct, kw_only=True):
    """As the service shows it: what there is none of is null, or empty, and not absent."""

    id: str
    object: Literal["thread.message"] = "thread.message"
    created_at: int
    thread_id: str
    status: Literal["in_progress", "incomplete", "completed"]
    incomplete_details: IncompleteDetails | None
    completed_at: int | None
    incomplete_at: int | None
    role: Role
    content: list[Content]
    assistant_id: str | None
    run_id: str | None
    attachments: list[dict[str, Any]]
    metadata: Metadata


class Thread(Struct, kw_only=True):
    id: str
    object: Literal["thread"] = "thread"
    created_at: int
    tool_resources: dict[str, Any]
    metadata: Metadata


class ListedThread(Thread, kw_only=True):
    """Ours: OpenAI has no list of threads. title: how its first message of the user begins."""

    title: str | None


class CodeInterpreterAttachment(Request, tag_field="type", tag="code_interpreter"):
    """Code of the thread sees the file."""


class FileSearchAttachment(Request, tag_field="type", tag="file_search"):
    """The file is put into the thread's vector store."""


class Attachment(Request):
    file_id: Identifier
    tools: Annotated[list[CodeInterpreterAttachment | FileSearchAttachment], Meta(min_length=1)]

    def is_for(self, kind: type[Request]) -> bool:
        return any(isinstance(tool, kind) for tool in self.tools)


class TextPart(Request, tag_field="type", tag="text"):
    text: str


class RequestedImageFile(Request):
    file_id: Identifier
    detail: Detail | None = None


class ImageFilePart(Request, tag_field="type", tag="image_file"):
    """A file of the project's, with a picture in it."""

    image_file: RequestedImageFile


class RequestedImageURL(Request):
    """url: `https://...`; the picture is fetched when a model is asked about it."""

    url: Annotated[str, Meta(max_length=LONGEST_URL)]
    detail: Detail | None = None


class ImageURLPart(Request, tag_field="type", tag="image_url"):
    image_url: RequestedImageURL


Part = TextPart | ImageFilePart | ImageURLPart


class CreateMessageRequest(Request):
    role: Role
    content: str | Annotated[list[Part], Meta(min_length=1)]
    attachments: list[Attachment] | None = None
    metadata: Metadata | None = None

    def __post_init__(self) -> None:
        check_metadata(self.metadata)
        parts = self.parts
        length = sum(len(part.text) for part in parts if isinstance(part, TextPart))
        if length > LONGEST_MESSAGE:
            raise InvalidRequest(
                f"Invalid 'content': string too long. Expected a string with maximum length {LONGEST_MESSAGE}, but got "
                f"a string with length {length} instead.",
                param="content",
                code="string_above_max_length",
            )
        for at, part in enumerate(parts):
            if isinstance(part, ImageURLPart):
                _check_url(part.image_url.url, f"content[{at}].image_url.url")
        if not length and all(isinstance(part, TextPart) for part in parts):
            raise InvalidRequest("Message content must be non-empty.", param="content")

    @property
    def parts(self) -> list[Part]:
        return [TextPart(text=self.content)] if isinstance(self.content, str) else self.content

    @property
    def shown_content(self) -> list[Content]:
        """As its object has it."""
        return [_content(part) for part in self.parts]


def _content(part: Part) -> Content:
    if isinstance(part, ImageFilePart):
        return ImageFileContent(ImageFile(part.image_file.file_id, part.image_file.detail or "auto"))
    if isinstance(part, ImageURLPart):
        return ImageURLContent(ImageURL(part.image_url.url, part.image_url.detail or "auto"))
    return TextContent(Text(part.text, []))


def _check_url(url: str, param: str) -> None:
    """Raises InvalidRequest. What the address leads to is looked at when it is fetched."""
    try:
        good = urlsplit(url).scheme in ("http", "https") and bool(urlsplit(url).hostname) and url.isprintable()
    except ValueError:
        good = False
    if not good:
        raise InvalidRequest(
            f"Invalid '{param}'. Expected a valid URL, but got a value with an invalid format. It begins with https:// "
            "(or http://). A picture that you have is uploaded as a file of purpose 'vision', and named in "
            "'image_file'.",
            param=param,
            code="invalid_value",
        )


NewMessages = Annotated[list[CreateMessageRequest], Meta(max_length=MOST_MESSAGES)]


class ModifyMessageRequest(Request):
    """The pairs that there were are gone; where nothing is said they stay."""

    metadata: Metadata | UnsetType | None = UNSET

    def __post_init__(self) -> None:
        if self.metadata is not UNSET:
            check_metadata(self.metadata)


class CreateThreadRequest(Request):
    messages: NewMessages | None = None
    tool_resources: ToolResources | None = None
    metadata: Metadata | None = None

    def __post_init__(self) -> None:
        check_metadata(self.metadata)


class ModifyThreadRequest(Request):
    """What is not there stays as it is."""

    tool_resources: OtherToolResources | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET

    def __post_init__(self) -> None:
        if self.metadata is not UNSET:
            check_metadata(self.metadata)
