"""The pages of usage, as data: what may be asked of each, what of the rows it adds up, and how a sum is shown."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from homeport.wire import admin_usage as wire
from homeport.wire.money import dollars

#: Units of a price's line as the costs name them.
UNITS = {"tokens": "tokens", "images": "images", "seconds": "duration_seconds", "characters": "characters"}
PICO = "pico"

_TEXT = ("input_tokens", "cached_tokens", "cache_write_tokens")
_INPUT = (*_TEXT, "input_audio_tokens", "input_image_tokens")
_OUTPUT = ("output_tokens", "output_audio_tokens", "output_image_tokens")

Amounts = Mapping[str, int]
Show = Callable[[Amounts, dict[str, Any]], wire.Result]


@dataclass(frozen=True, slots=True)
class Page:
    """One page of usage, named as in its path and in the rows that are counted on it.

    counts: what of the rows is added up. result: how that is shown; None where nothing is recorded yet. stored: it is
    of what vector stores have, and not of requests.
    """

    name: str
    parameters: type[wire.UsageParameters]
    counts: tuple[str, ...] = ()
    result: Show | None = None
    stored: bool = False


def _completions(sums: Amounts, group: dict[str, Any]) -> wire.CompletionsResult:
    """Rows tell cached tokens from others, and not what they were of; what is cached today is text. Text and uncached
    tokens are without those that were written to a cache, as OpenAI counts them."""
    uncached = sums["input_tokens"] + sums["input_audio_tokens"] + sums["input_image_tokens"]
    return wire.CompletionsResult(
        input_tokens=uncached + sums["cached_tokens"] + sums["cache_write_tokens"],
        input_cached_tokens=sums["cached_tokens"],
        input_cache_write_tokens=sums["cache_write_tokens"],
        input_uncached_tokens=uncached,
        output_tokens=sums["output_tokens"] + sums["output_audio_tokens"] + sums["output_image_tokens"],
        input_text_tokens=sums["input_tokens"],
        output_text_tokens=sums["output_tokens"],
        input_cached_text_tokens=sums["cached_tokens"],
        input_audio_tokens=sums["input_audio_tokens"],
        input_cached_audio_tokens=0,
        output_audio_tokens=sums["output_audio_tokens"],
        input_image_tokens=sums["input_image_tokens"],
        input_cached_image_tokens=0,
        output_image_tokens=sums["output_image_tokens"],
        num_model_requests=sums["requests"],
        **group,
    )


def _embeddings(sums: Amounts, group: dict[str, Any]) -> wire.EmbeddingsResult:
    tokens = sum(sums[name] for name in _TEXT)
    return wire.EmbeddingsResult(input_tokens=tokens, num_model_requests=sums["requests"], **group)


def _moderations(sums: Amounts, group: dict[str, Any]) -> wire.ModerationsResult:
    tokens = sum(sums[name] for name in (*_TEXT, "input_image_tokens"))
    return wire.ModerationsResult(input_tokens=tokens, num_model_requests=sums["requests"], **group)


def _images(sums: Amounts, group: dict[str, Any]) -> wire.ImagesResult:
    return wire.ImagesResult(images=sums["images"], num_model_requests=sums["requests"], **group)


def _speeches(sums: Amounts, group: dict[str, Any]) -> wire.AudioSpeechesResult:
    return wire.AudioSpeechesResult(characters=sums["characters"], num_model_requests=sums["requests"], **group)


def _transcriptions(sums: Amounts, group: dict[str, Any]) -> wire.AudioTranscriptionsResult:
    seconds = (sums["milliseconds"] + 500) // 1000
    return wire.AudioTranscriptionsResult(seconds=seconds, num_model_requests=sums["requests"], **group)


def _vector_stores(sums: Amounts, group: dict[str, Any]) -> wire.VectorStoresResult:
    return wire.VectorStoresResult(usage_bytes=sums["bytes"], **group)


PAGES = (
    Page("completions", wire.CompletionsParameters, (*_INPUT, *_OUTPUT), _completions),
    Page("embeddings", wire.ModelParameters, _TEXT, _embeddings),
    Page("moderations", wire.ModelParameters, (*_TEXT, "input_image_tokens"), _moderations),
    Page("images", wire.ImagesParameters, ("images",), _images),
    Page("audio_speeches", wire.ModelParameters, ("characters",), _speeches),
    Page("audio_transcriptions", wire.ModelParameters, ("milliseconds",), _transcriptions),
    Page("vector_stores", wire.ProjectParameters, result=_vector_stores, stored=True),
    Page("code_interpreter_sessions", wire.ProjectParameters),
    Page("file_search_calls", wire.FileSearchParameters),
    Page("web_search_calls", wire.WebSearchParameters),
)


def cost(sums: Amounts, group: dict[str, Any]) -> wire.CostsResult:
    """sums: picodollars by PICO, and of line items the quantity by its unit."""
    units = [unit for unit in sums if unit != PICO]
    alone = units[0] if len(units) == 1 else None
    return wire.CostsResult(
        amount=_amount(sums[PICO]),
        quantity=None if alone is None else sums[alone],
        quantity_unit=None if alone is None else UNITS.get(alone),
        **group,
    )


def saving(sums: Amounts, group: dict[str, Any]) -> wire.SavingsResult:
    """sums: picodollars by PICO."""
    return wire.SavingsResult(amount=_amount(sums[PICO]), **group)


def listed_cost(sums: Amounts, group: dict[str, Any]) -> wire.ListedCostsResult:
    return wire.ListedCostsResult(
        amount=_amount(sums["cost"]),
        saved=_amount(sums["saved"]),
        listed=_amount(sums["listed"]),
        num_model_requests=sums["requests"],
        num_unpriced_requests=sums["unpriced"],
        num_unlisted_requests=sums["unlisted"],
        input_tokens=sums["input"],
        output_tokens=sums["output"],
        **group,
    )


def _amount(pico: int) -> wire.Amount:
    return wire.Amount(value=msgspec.Raw(dollars(pico).encode()))
