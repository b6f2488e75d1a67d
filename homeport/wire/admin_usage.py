"""Usage and costs of the organization. Source: the operations under /organization/usage and /organization/costs, and
UsageResponse with its results. `api_source`, `line_items` and costs by user are the SDK's (openai 3): the description
of August 2026 does not have them yet. Savings, and costs beside
list prices, are ours.
"""

from collections.abc import Iterable
from functools import cache
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from homeport.errors import InvalidRequest
from homeport.wire.base import decode

#: The last second of the year 9999.
LATEST = 253_402_300_799
Second = Annotated[int, Meta(ge=0, le=LATEST)]
Names = Annotated[list[str], Meta(max_length=1000)]
Source = Literal["image.generation", "image.edit", "image.variation"]
#: The description's, and those of later models.
Size = Literal[
    "256x256", "512x512", "1024x1024", "1792x1792", "1024x1792", "1792x1024", "1024x1536", "1536x1024", "auto"
]
Group = Literal["project_id", "user_id", "api_key_id", "model"]


class Parameters(Struct, kw_only=True):
    """What all of them take. start_time: inclusive; end_time: exclusive; limit: of buckets."""

    start_time: Second
    end_time: Second | None = None
    project_ids: Names | None = None
    limit: Annotated[int, Meta(ge=1)] | None = None
    page: str | None = None


class UsageParameters(Parameters, kw_only=True):
    bucket_width: Literal["1m", "1h", "1d"] = "1d"


class ProjectParameters(UsageParameters, kw_only=True):
    """Of vector stores and code interpreter sessions."""

    group_by: list[Literal["project_id"]] | None = None


class ModelParameters(UsageParameters, kw_only=True):
    """Of embeddings, moderations, speeches, transcriptions, savings and our costs."""

    user_ids: Names | None = None
    api_key_ids: Names | None = None
    models: Names | None = None
    group_by: list[Group] | None = None


class CompletionsParameters(UsageParameters, kw_only=True):
    user_ids: Names | None = None
    api_key_ids: Names | None = None
    models: Names | None = None
    batch: bool | None = None
    group_by: list[Group | Literal["batch", "service_tier", "api_source"]] | None = None


class ImagesParameters(UsageParameters, kw_only=True):
    user_ids: Names | None = None
    api_key_ids: Names | None = None
    models: Names | None = None
    sources: list[Source] | None = None
    sizes: list[Size] | None = None
    group_by: list[Group | Literal["size", "source"]] | None = None


class FileSearchParameters(UsageParameters, kw_only=True):
    user_ids: Names | None = None
    api_key_ids: Names | None = None
    vector_store_ids: Names | None = None
    group_by: list[Literal["project_id", "user_id", "api_key_id", "vector_store_id"]] | None = None


class WebSearchParameters(UsageParameters, kw_only=True):
    user_ids: Names | None = None
    api_key_ids: Names | None = None
    models: Names | None = None
    context_levels: list[Literal["low", "medium", "high"]] | None = None
    group_by: list[Group | Literal["context_level", "api_source"]] | None = None


class CostsParameters(Parameters, kw_only=True):
    bucket_width: Literal["1d"] = "1d"
    api_key_ids: Names | None = None
    line_items: Names | None = None
    group_by: list[Literal["project_id", "line_item", "api_key_id", "user_id", "api_source"]] | None = None


class CompletionsResult(Struct, kw_only=True):
    """input: everything of the prompt; cached and uncached are its parts, and text, audio and image are theirs."""

    object: Literal["organization.usage.completions.result"] = "organization.usage.completions.result"
    input_tokens: int
    input_cached_tokens: int
    input_cache_write_tokens: int
    input_uncached_tokens: int
    output_tokens: int
    input_text_tokens: int
    output_text_tokens: int
    input_cached_text_tokens: int
    input_audio_tokens: int
    input_cached_audio_tokens: int
    output_audio_tokens: int
    input_image_tokens: int
    input_cached_image_tokens: int
    output_image_tokens: int
    num_model_requests: int
    project_id: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None
    model: str | None = None
    batch: bool | None = None
    service_tier: str | None = None
    api_source: str | UnsetType = UNSET


class EmbeddingsResult(Struct, kw_only=True):
    object: Literal["organization.usage.embeddings.result"] = "organization.usage.embeddings.result"
    input_tokens: int
    num_model_requests: int
    project_id: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None
    model: str | None = None


class ModerationsResult(Struct, kw_only=True):
    object: Literal["organization.usage.moderations.result"] = "organization.usage.moderations.result"
    input_tokens: int
    num_model_requests: int
    project_id: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None
    model: str | None = None


class ImagesResult(Struct, kw_only=True):
    object: Literal["organization.usage.images.result"] = "organization.usage.images.result"
    images: int
    num_model_requests: int
    source: str | None = None
    size: str | None = None
    project_id: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None
    model: str | None = None


class AudioSpeechesResult(Struct, kw_only=True):
    object: Literal["organization.usage.audio_speeches.result"] = "organization.usage.audio_speeches.result"
    characters: int
    num_model_requests: int
    project_id: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None
    model: str | None = None


class AudioTranscriptionsResult(Struct, kw_only=True):
    object: Literal["organization.usage.audio_transcriptions.result"] = "organization.usage.audio_transcriptions.result"
    seconds: int
    num_model_requests: int
    project_id: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None
    model: str | None = None


class VectorStoresResult(Struct, kw_only=True):
    object: Literal["organization.usage.vector_stores.result"] = "organization.usage.vector_stores.result"
    usage_bytes: int
    project_id: str | None = None


class Amount(Struct, kw_only=True):
    """value: a decimal number as it is, which a float would not be."""

    value: Raw
    currency: Literal["usd"] = "usd"


class CostsResult(Struct, kw_only=True):
    """quantity, quantity_unit: of a line item; null where several units meet."""

    object: Literal["organization.costs.result"] = "organization.costs.result"
    amount: Amount
    line_item: str | None = None
    project_id: str | None = None
    api_key_id: str | None = None
    quantity: int | None = None
    quantity_unit: str | None = None
    user_id: str | UnsetType | None = UNSET
    api_source: str | UnsetType = UNSET


class SavingsResult(Struct, kw_only=True):
    """What answers from the cache would have cost."""

    object: Literal["homeport.savings.result"] = "homeport.savings.result"
    amount: Amount
    project_id: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None
    model: str | None = None


class ListedCostsResult(Struct, kw_only=True):
    """amount: what was spent; saved: what answers from the cache would have cost; listed: what all of it costs at list
    price, under the names that were asked for. Requests without a price, and without a list price, are in no amount.
    Tokens are of every endpoint and kind."""

    object: Literal["homeport.costs.result"] = "homeport.costs.result"
    amount: Amount
    saved: Amount
    listed: Amount
    num_model_requests: int
    num_unpriced_requests: int
    num_unlisted_requests: int
    input_tokens: int
    output_tokens: int
    project_id: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None
    model: str | None = None


Result = (
    CompletionsResult
    | EmbeddingsResult
    | ModerationsResult
    | ImagesResult
    | AudioSpeechesResult
    | AudioTranscriptionsResult
    | VectorStoresResult
    | CostsResult
    | SavingsResult
    | ListedCostsResult
)


class UsageTimeBucket(Struct, kw_only=True):
    object: Literal["bucket"] = "bucket"
    start_time: int
    end_time: int
    results: list[Result]


class UsageResponse(Struct, kw_only=True):
    object: Literal["page"] = "page"
    data: list[UsageTimeBucket]
    has_more: bool
    next_page: str | None


P = TypeVar("P", bound=Struct)

#: Parameters that are lists: `models=a&models=b`, or `models[]=a&models[]=b` as the SDK writes it.
_LISTS = {
    "project_ids",
    "user_ids",
    "api_key_ids",
    "models",
    "sources",
    "sizes",
    "vector_store_ids",
    "context_levels",
    "line_items",
    "endpoints",
    "outcomes",
    "group_by",
}
#: Of words that hold no comma, which OpenAI takes between them, too: `group_by=project_id,model`.
_WORDS = {"sources", "sizes", "context_levels", "endpoints", "outcomes", "group_by"}


def read(kind: type[P], query: Iterable[tuple[str, str]]) -> P:
    """Parameters from a query's names and values. Raises InvalidRequest."""
    fields: dict[str, Any] = {}
    for given, value in query:
        name = given.removesuffix("[]")
        if name not in kind.__struct_fields__ or (given != name and name not in _LISTS):
            raise InvalidRequest(f"Unknown parameter: '{given}'.", param=given, code="unknown_parameter")
        if not value.isprintable():
            raise InvalidRequest(f"Invalid '{name}': {value!r} is not printable.", param=name, code="invalid_value")
        if name in _LISTS:
            fields.setdefault(name, []).extend(value.split(",") if name in _WORDS else [value])
        elif name in fields:
            raise InvalidRequest(f"The parameter '{name}' is there twice.", param=name, code="invalid_value")
        else:
            fields[name] = value
    decoder: msgspec.json.Decoder[P] = _decoder(kind)
    return decode(decoder, msgspec.json.encode(fields))


@cache
def _decoder(kind: type[Struct]) -> "msgspec.json.Decoder[Any]":
    """Not strict: numbers and booleans are text in a query."""
    return msgspec.json.Decoder(kind, strict=False)
