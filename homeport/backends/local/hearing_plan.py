"""What a request to transcribe or to translate wants of an engine, checked against what the engine can do."""

from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import msgspec

from homeport.backends.hearing import Ask, HearingCard
from homeport.backends.local.languages import NAMES, OTHERWISE
from homeport.backends.local.parameters import TRANSCRIPTIONS
from homeport.backends.local.windows import Cutting
from homeport.errors import InvalidRequest, UnsupportedParameter
from homeport.wire.audio import CreateTranscriptionRequest, CreateTranslationRequest, VadConfig
from homeport.wire.base import decode, empty, unsupported_value

Format = Literal["json", "text", "srt", "verbose_json", "vtt"]
#: Formats that say when something was said.
_TIMED = ("srt", "verbose_json", "vtt")


class _Transcription(CreateTranscriptionRequest, forbid_unknown_fields=True, kw_only=True):
    """Nothing else is known here."""


class _Translation(CreateTranslationRequest, forbid_unknown_fields=True, kw_only=True):
    """The same."""


_transcription = msgspec.json.Decoder(_Transcription)
_translation = msgspec.json.Decoder(_Translation)


@dataclass(frozen=True, slots=True)
class Plan:
    """segments: they are asked for, in `verbose_json`."""

    ask: Ask
    response_format: Format
    segments: bool
    cutting: Cutting


def plan_transcription(body: bytes, card: HearingCard) -> Plan:
    """Raises InvalidRequest."""
    request = decode(_transcription, body)
    wanted = request.response_format or "json"
    if wanted == "diarized_json":
        _unsupported("response_format", "does not tell speakers apart, which `diarized_json` needs")
    for name, parameter in TRANSCRIPTIONS.items():
        if parameter.verdict == "refused" and getattr(request, name):
            raise UnsupportedParameter(f"Unsupported parameter: '{name}'. {parameter.note}", param=name)
    granularities = request.timestamp_granularities or []
    _check_times(wanted, granularities, card)
    if request.stream and wanted not in ("json", "text"):
        raise InvalidRequest(
            f"`stream` goes with response_format `json` or `text`, not with `{wanted}`.", param="response_format"
        )
    logprobs = "logprobs" in (request.include or [])
    if logprobs and not card.logprobs:
        _unsupported("include", "does not tell the log probabilities of its tokens")
    if logprobs and wanted != "json":
        raise InvalidRequest("`logprobs` can only be included with response_format `json`.", param="include")
    for field, value in (("prompt", request.prompt), ("keywords", request.keywords)):
        if value and not card.prompts:
            _unsupported(field, f"does not heed `{field}`")
    ask = Ask(
        languages=_languages(request, card),
        prompt=request.prompt or "",
        keywords=tuple(request.keywords or ()),
        temperature=request.temperature or 0.0,
        words="word" in granularities,
        logprobs=logprobs,
    )
    return Plan(ask, wanted, "segment" in granularities or not granularities, _cutting(request.chunking_strategy))


def plan_translation(body: bytes) -> Plan:
    """For an engine that translates. Raises InvalidRequest."""
    request = decode(_translation, body)
    ask = Ask("translate", prompt=request.prompt or "", temperature=request.temperature or 0.0)
    return Plan(ask, request.response_format or "json", True, Cutting())


def _unsupported(param: str, why: str) -> NoReturn:
    raise UnsupportedParameter(f"Unsupported parameter: '{param}'. This model {why}.", param=param)


def _check_times(wanted: str, granularities: list[Any], card: HearingCard) -> None:
    if granularities and wanted != "verbose_json":
        raise InvalidRequest(
            "`timestamp_granularities` can only be given with response_format `verbose_json`.",
            param="timestamp_granularities",
        )
    if wanted in _TIMED and not card.times:
        _unsupported("response_format", f"does not tell when something was said, which `{wanted}` needs")


def _languages(request: CreateTranscriptionRequest, card: HearingCard) -> tuple[str, ...]:
    if request.language and request.languages is not None:
        raise InvalidRequest("Give `language` or `languages`, not both.", param="languages")
    if request.languages == []:
        raise empty("languages", "array")
    if request.languages:
        return tuple([_language(one, "languages", card) for one in request.languages])
    return (_language(request.language, "language", card),) if request.language else ()


def _language(given: str, param: str, card: HearingCard) -> str:
    code = OTHERWISE.get(given.lower(), given.lower())
    if code in card.languages:
        return code
    if code not in NAMES:
        raise InvalidRequest(
            f"Invalid language '{given[:100]}'. Language parameter must be specified in ISO-639-1 format.",
            param=param,
            code="unsupported_language",
        )
    known = ", ".join(sorted(card.languages))
    raise InvalidRequest(
        f"This model does not know the language '{given}'. It knows: {known}.", param=param, code="unsupported_language"
    )


def _cutting(strategy: str | dict[str, Any] | None) -> Cutting:
    """`auto` is what is done anyway. Fields of a form are texts, an object among them, too."""
    if isinstance(strategy, str) and strategy.lstrip().startswith("{"):
        try:
            strategy = msgspec.json.decode(strategy, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            raise unsupported_value("chunking_strategy", strategy, "'auto' and an object") from None
    if strategy is None or strategy == "auto":
        return Cutting()
    if isinstance(strategy, str):
        raise unsupported_value("chunking_strategy", strategy, "'auto' and an object")
    config = decode(_strategy, msgspec.json.encode({"chunking_strategy": strategy})).chunking_strategy
    return Cutting(
        threshold=config.threshold,
        before=config.prefix_padding_ms / 1000,
        silence=config.silence_duration_ms / 1000,
        ends=True,
    )


class _Strategy(msgspec.Struct):
    chunking_strategy: VadConfig


_strategy = msgspec.json.Decoder(_Strategy, strict=False)
