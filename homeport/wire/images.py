"""Images. Source: CreateImageRequest, CreateImageEditRequest, CreateImageVariationRequest and what answers them.

Edits and variations come as forms: what is checked here is the form's fields as JSON, with numbers and flags that may
still be texts. A form that was read is such an object with `image` and `mask` beside the fields
(backends/capabilities.py: Call.body).
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

#: Whoever names no model means it. Source: the description's `default` of 2024, which its clients were written for.
DEFAULT_MODEL = "dall-e-2"
#: The same of an edit as JSON, which is younger.
DEFAULT_JSON_MODEL = "gpt-image-1.5"
MOST_IMAGES = 10
MOST_INPUTS = 16
MOST_PARTIAL = 3

Background = Literal["transparent", "opaque", "auto"]
OutputFormat = Literal["png", "jpeg", "webp"]
ResponseFormat = Literal["url", "b64_json"]
Family = Literal["dall-e-2", "dall-e-3", "gpt-image"]
Count = Annotated[int, Meta(ge=1, le=MOST_IMAGES)]
Percent = Annotated[int, Meta(ge=0, le=100)]
Partial = Annotated[int, Meta(ge=0, le=MOST_PARTIAL)]


class File(Struct):
    """What stands in a body for a file of its form."""

    filename: str | None
    bytes: int
    sha256: str


class _Asked(Struct, kw_only=True, omit_defaults=True):
    """Of every request. seed: ours; the same one, model and request give the same pictures where the model is on this
    machine."""

    model: str | None = None
    n: Count | None = None
    response_format: ResponseFormat | None = None
    size: str | None = None
    user: str | None = None
    seed: int | None = None


class _Prompted(_Asked, kw_only=True, omit_defaults=True):
    prompt: str
    output_format: OutputFormat | None = None
    output_compression: Percent | None = None
    stream: bool | None = None
    partial_images: Partial | None = None
    moderation: Literal["low", "auto"] | None = None
    background: Background | None = None


class CreateImageRequest(_Prompted, kw_only=True, forbid_unknown_fields=True):
    quality: Literal["standard", "hd", "low", "medium", "high", "auto"] | None = None
    style: Literal["vivid", "natural"] | None = None


class CreateImageEditRequest(_Prompted, kw_only=True):
    """Fields that are not named here are kept, for whoever knows them (api/forms.py)."""

    image: list[File]
    mask: File | None = None
    quality: Literal["standard", "low", "medium", "high", "auto"] | None = None
    input_fidelity: Literal["high", "low"] | None = None


class ImageRefParam(Struct, forbid_unknown_fields=True):
    """One of the two."""

    image_url: str | None = None
    file_id: str | None = None


class EditImageBodyJsonParam(Struct):
    """An edit that is no form: its pictures. The other fields are those of CreateImageEditRequest."""

    images: Annotated[list[ImageRefParam], Meta(min_length=1, max_length=MOST_INPUTS)]
    mask: ImageRefParam | None = None
    model: str | None = None


class CreateImageVariationRequest(_Asked, kw_only=True):
    image: File


class Image(Struct, omit_defaults=True):
    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None


class _Addressed(Struct):
    url: str | None = None


class _Addresses(Struct):
    data: list[_Addressed] = []


_addresses = msgspec.json.Decoder(_Addresses)


def has_addresses(answer: bytes) -> bool:
    """Of an ImagesResponse: a picture of it is given by its address."""
    return any(one.url is not None for one in _addresses.decode(answer).data)


class InputTokensDetails(Struct):
    text_tokens: int
    image_tokens: int


class ImagesUsage(Struct):
    """Of models that count tokens: the GPT image models' names."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: InputTokensDetails


class ImagesResponse(Struct):
    """What the GPT image models say beside the pictures is unset of the others."""

    created: int
    data: list[Image]
    background: Literal["transparent", "opaque"] | UnsetType = UNSET
    output_format: OutputFormat | UnsetType = UNSET
    size: str | UnsetType = UNSET
    quality: str | UnsetType = UNSET
    usage: ImagesUsage | UnsetType = UNSET


class _Event(Struct, kw_only=True):
    b64_json: str
    created_at: int
    size: str
    quality: str
    background: str
    output_format: OutputFormat


class ImageGenPartialImageEvent(_Event, tag_field="type", tag="image_generation.partial_image", kw_only=True):
    partial_image_index: int


class ImageGenCompletedEvent(_Event, tag_field="type", tag="image_generation.completed", kw_only=True):
    usage: ImagesUsage


class ImageEditPartialImageEvent(_Event, tag_field="type", tag="image_edit.partial_image", kw_only=True):
    partial_image_index: int


class ImageEditCompletedEvent(_Event, tag_field="type", tag="image_edit.completed", kw_only=True):
    usage: ImagesUsage


def family(name: str) -> Family | None:
    """Of OpenAI's models the one whose rules a name has; None: it is none of theirs."""
    if name.startswith(("gpt-image", "chatgpt-image")):
        return "gpt-image"
    return "dall-e-2" if name.startswith("dall-e-2") else "dall-e-3" if name.startswith("dall-e-3") else None


_BEGINNINGS = re.compile(
    rb"(?P<png>\x89PNG\r\n\x1a\n)|(?P<jpeg>\xff\xd8\xff)|(?P<gif>GIF8[79]a)|(?P<webp>RIFF.{4}WEBP)", re.DOTALL
)


def kind_of(picture: bytes) -> str | None:
    """`png`, `jpeg`, `webp` or `gif`, by how its bytes begin; None: nothing that is known."""
    found = _BEGINNINGS.match(picture)
    return found.lastgroup if found is not None else None


_SIZE = re.compile(r"[0-9]{1,5}x[0-9]{1,5}|auto")
_QUALITIES = ("hd", "low", "medium", "high")


def count(fields: Mapping[str, msgspec.Raw]) -> int:
    """Of pictures that are asked for; what is no such number is refused by whoever draws."""
    try:
        asked = msgspec.json.decode(fields.get("n", b"null"), type=int | None, strict=False)
    except msgspec.DecodeError:
        return 1
    return min(max(asked or 1, 1), MOST_IMAGES)


def priced_size(fields: Mapping[str, msgspec.Raw]) -> str:
    """As price lists have it (pricing.Units): the size, and the quality before it where that is not the usual one. What
    is no size is none: it goes into records."""
    return sized(_text(fields, "size") or "1024x1024", _text(fields, "quality"))


def sized(size: str, quality: str | None) -> str:
    """The same of an answer."""
    size = size if _SIZE.fullmatch(size) else ""
    return f"{quality} {size}" if size and quality in _QUALITIES else size


def _text(fields: Mapping[str, msgspec.Raw], name: str) -> str | None:
    value: Any = msgspec.json.decode(fields.get(name, b"null"))
    return value if isinstance(value, str) else None


def by_url(name: str, fields: Mapping[str, msgspec.Raw]) -> bool:
    """Whether the client is to have addresses of pictures and not their bytes. name: of the model, as it asked for it.
    fields: of its request."""
    asked: Any = msgspec.json.decode(fields.get("response_format", b"null"))
    return asked == "url" or (asked is None and family(name) != "gpt-image" and not _streams(fields))


def _streams(fields: Mapping[str, msgspec.Raw]) -> bool:
    return msgspec.json.decode(fields.get("stream", b"null")) in (True, "true")
