"""The messages of a chat request. Source: ChatCompletionRequestMessage and its content parts."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

NonEmpty = Meta(min_length=1)


class CacheBreakpoint(Struct, forbid_unknown_fields=True):
    mode: str | None = None


class TextPart(Struct, tag_field="type", tag="text", forbid_unknown_fields=True):
    text: str
    prompt_cache_breakpoint: CacheBreakpoint | None = None


class RefusalPart(Struct, tag_field="type", tag="refusal", forbid_unknown_fields=True):
    refusal: str


class ImageURL(Struct, forbid_unknown_fields=True):
    url: str
    detail: str | None = None


class ImagePart(Struct, tag_field="type", tag="image_url", forbid_unknown_fields=True):
    image_url: ImageURL
    prompt_cache_breakpoint: CacheBreakpoint | None = None


class InputAudio(Struct, forbid_unknown_fields=True):
    data: str
    format: str


class AudioPart(Struct, tag_field="type", tag="input_audio", forbid_unknown_fields=True):
    input_audio: InputAudio
    prompt_cache_breakpoint: CacheBreakpoint | None = None


class File(Struct, forbid_unknown_fields=True):
    filename: str | None = None
    file_data: str | None = None
    file_id: str | None = None


class FilePart(Struct, tag_field="type", tag="file", forbid_unknown_fields=True):
    file: File
    prompt_cache_breakpoint: CacheBreakpoint | None = None


Texts = Annotated[list[TextPart], NonEmpty]


class SystemMessage(Struct, tag_field="role", tag="system", forbid_unknown_fields=True):
    content: str | Texts
    name: str | None = None


class DeveloperMessage(Struct, tag_field="role", tag="developer", forbid_unknown_fields=True):
    content: str | Texts
    name: str | None = None


class UserMessage(Struct, tag_field="role", tag="user", forbid_unknown_fields=True):
    content: str | Annotated[list[TextPart | ImagePart | AudioPart | FilePart], NonEmpty]
    name: str | None = None


class CalledFunction(Struct, forbid_unknown_fields=True):
    """arguments: JSON as the model wrote it, valid or not."""

    name: str
    arguments: str


class FunctionToolCall(Struct, tag_field="type", tag="function", forbid_unknown_fields=True):
    id: str
    function: CalledFunction
    index: int | None = None


class CalledCustom(Struct, forbid_unknown_fields=True):
    name: str
    input: str


class CustomToolCall(Struct, tag_field="type", tag="custom", forbid_unknown_fields=True):
    id: str
    custom: CalledCustom


class AudioReference(Struct):
    """An earlier spoken answer; given back whole, it has more members than the id that counts."""

    id: str


class AssistantMessage(Struct, tag_field="role", tag="assistant", forbid_unknown_fields=True):
    """Also takes what answers carry beyond the request's schema (`annotations`), since programs send answers back."""

    content: str | Annotated[list[TextPart | RefusalPart], NonEmpty] | None = None
    refusal: str | None = None
    name: str | None = None
    audio: AudioReference | None = None
    tool_calls: Annotated[list[FunctionToolCall | CustomToolCall], NonEmpty] | None = None
    function_call: CalledFunction | None = None
    annotations: list[dict[str, Any]] | None = None


class ToolMessage(Struct, tag_field="role", tag="tool", forbid_unknown_fields=True):
    content: str | Texts
    tool_call_id: str
    name: str | None = None


class FunctionMessage(Struct, tag_field="role", tag="function", forbid_unknown_fields=True):
    name: str
    content: str | None = msgspec.field(default=None)


Message = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage
