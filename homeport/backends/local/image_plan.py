"""What a request for pictures wants, by the rules of the model that it names, checked against what the engine can do.

OpenAI's models differ in what they take, and clients were written for each of them: whoever asks for `dall-e-3` is
answered as by `dall-e-3`, whatever draws here. Names that are not OpenAI's take everything that the engine can do.

Two parameters change nothing, by their own definition. `user` names an end user for abuse reports. `moderation` is how
much OpenAI's filter lets pass, and `low` and `auto` both allow what an engine without a filter does; whoever wants
requests moderated says so for a project (docs/moderations.md).
"""

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import msgspec

from homeport.backends.drawing import Base, DrawingCard, Quality, Wish
from homeport.backends.local.image_rules import QUALITIES, Rules, listed, rules
from homeport.backends.local.image_size import Size, chosen, nearest
from homeport.backends.local.parameters import EDITS, check
from homeport.errors import InvalidRequest, NotFound, UnsupportedParameter
from homeport.wire import images
from homeport.wire.base import decode, empty, unsupported_value

if TYPE_CHECKING:
    from homeport.backends.drawing import Mask

Kind = Literal["generation", "edit", "variation"]
#: Seeds are below it (drawing.Wish).
_SEEDS = 2**63


class _Edit(images.CreateImageEditRequest, forbid_unknown_fields=True, kw_only=True):
    """Nothing else is known here."""


class _Variation(images.CreateImageVariationRequest, forbid_unknown_fields=True, kw_only=True):
    """The same."""


_generation = msgspec.json.Decoder(images.CreateImageRequest)
_edit = msgspec.json.Decoder(_Edit)
_variation = msgspec.json.Decoder(_Variation)


@dataclass(frozen=True, slots=True)
class Plan:
    """size: None until `sized`: as the picture that is given. quality: the engine's. style: None: the engine's own.
    background: as asked for. compression: 100 is the best. unfinished: pictures in the making to be shown of each."""

    kind: Kind
    rules: Rules
    prompt: str
    size: Size | None
    count: int
    seed: int
    quality: Quality
    asked_quality: str
    style: Literal["vivid", "natural"] | None
    background: images.Background
    output_format: images.OutputFormat
    compression: int
    stream: bool
    unfinished: int

    def sized(self, width: int, height: int, card: DrawingCard) -> "Plan":
        """With the size that a picture of this size is answered in, unless one was asked for."""
        if self.size is not None:
            return self
        if self.rules.family is None:
            return replace(self, size=nearest(width, height, card))
        shapes = [nearest(card.native * x // 2, card.native * y // 2, card) for x, y in ((2, 2), (3, 2), (2, 3))]
        shape = math.log(width / height)
        return replace(self, size=min(shapes, key=lambda one: abs(math.log(one.width / one.height) - shape)))

    def wish(self, place: int, bases: Sequence[Base] = (), mask: "Mask | None" = None) -> Wish:
        """Of the picture in this place of the answer. The same seed gives the same pictures."""
        assert self.size is not None
        return Wish(
            self.kind,
            self.prompt,
            self.size.width,
            self.size.height,
            (self.seed + place) % _SEEDS,
            self.quality,
            self.style,
            self.background == "transparent",
            bases,
            mask,
            self.unfinished,
        )


def plan_generation(body: bytes, name: str, card: DrawingCard) -> Plan:
    """name: of the model, as it is asked for. Raises InvalidRequest."""
    return _planned("generation", decode(_generation, body), name, card)


def plan_edit(body: bytes, name: str, card: DrawingCard) -> Plan:
    """As plan_generation. Raises NotFound, too: it edits none."""
    if not card.edits:
        raise NotFound(
            "This model does not edit images and is thus not supported in the v1/images/edits endpoint.", param="model"
        )
    request = decode(_edit, body)
    if images.family(name) == "dall-e-3":
        raise unsupported_value("model", name, "'dall-e-2', and the GPT image models")
    if request.input_fidelity is not None:
        _check_known("input_fidelity", rules(name))
    check(request, EDITS, name)
    return _planned("edit", _as_generation(request), name, card)


def plan_variation(body: bytes, name: str, card: DrawingCard) -> Plan:
    """As plan_edit."""
    if card.varies == "none":
        raise NotFound(
            "This model does not vary images and is thus not supported in the v1/images/variations endpoint.",
            param="model",
        )
    request = decode(_variation, body)
    if images.family(name) in ("dall-e-3", "gpt-image"):
        raise InvalidRequest(f"Invalid value: '{name}'. Value must be 'dall-e-2'.", param="model", code="invalid_value")
    return _planned("variation", _as_generation(request), name, card)


def _as_generation(request: msgspec.Struct) -> images.CreateImageRequest:
    """What all of them may have."""
    wanted = images.CreateImageRequest(prompt="")
    for name in wanted.__struct_fields__:
        setattr(wanted, name, getattr(request, name, getattr(wanted, name)))
    return wanted


def _planned(kind: Kind, request: images.CreateImageRequest, name: str, card: DrawingCard) -> Plan:
    asked = rules(name)
    for param in asked.unknown:
        value = getattr(request, param, None)
        if value is not None and value is not False:  # no stream is what they all do
            _check_known(param, asked)
    if kind != "variation":
        _check_prompt(request.prompt, min(asked.prompt, card.prompt))
    count = request.n or 1
    if count > asked.most:
        raise InvalidRequest(f"You must provide n={asked.most} for this model.", param="n")
    quality = request.quality or "auto"
    if quality not in asked.qualities:
        raise unsupported_value("quality", quality, listed(asked.qualities))
    _check_stream(request)
    _check_format(request, card)
    return Plan(
        kind,
        asked,
        request.prompt,
        chosen(request.size, asked, card, given=kind != "generation"),
        count,
        _seed(request.seed),
        QUALITIES[quality],
        quality,
        _style(request.style, asked, card),
        request.background or "auto",
        request.output_format or "png",
        100 if request.output_compression is None else request.output_compression,
        bool(request.stream),
        (request.partial_images or 0) if card.unfinished else 0,
    )


def _check_known(param: str, asked: Rules) -> None:
    if param in asked.unknown:
        raise InvalidRequest(f"Unknown parameter: '{param}'.", param=param, code="unknown_parameter")


def _check_prompt(prompt: str, most: float) -> None:
    if not prompt.strip():
        raise empty("prompt", "string")
    if len(prompt) > most:
        raise InvalidRequest(
            f"Invalid 'prompt': string too long. Expected a string with maximum length {most}, but got a string with "
            f"length {len(prompt)} instead.",
            param="prompt",
            code="string_above_max_length",
        )


def _check_stream(request: images.CreateImageRequest) -> None:
    if request.partial_images and not request.stream:
        raise InvalidRequest(
            "`partial_images` are events of a stream. Set `stream` to true, or leave them out.", param="partial_images"
        )
    if request.stream and request.response_format == "url":
        raise InvalidRequest(
            "The events of a stream have pictures in them, and no addresses. Set `response_format` to `b64_json`, or "
            "leave it out.",
            param="response_format",
        )


def _check_format(request: images.CreateImageRequest, card: DrawingCard) -> None:
    kind = request.output_format or "png"
    if kind == "png" and request.output_compression not in (None, 100):
        raise InvalidRequest(
            "Compression less than 100 is not supported for PNG output format.",
            param="output_compression",
            code="invalid_png_output_compression",
        )
    if request.background != "transparent":
        return
    if not card.transparent:
        raise InvalidRequest(
            "Transparent background is not supported for this model.", param="background", code="invalid_value"
        )
    if kind == "jpeg":
        raise InvalidRequest(
            "Transparent background is not supported for JPEG output format. Set `output_format` to `png` or `webp`.",
            param="background",
            code="invalid_value",
        )


def _seed(asked: int | None) -> int:
    if asked is None:
        return secrets.randbelow(_SEEDS)
    if 0 <= asked < _SEEDS:
        return asked
    below = asked < 0
    raise InvalidRequest(
        f"Invalid 'seed': integer {'below minimum' if below else 'above maximum'} value. Expected a value "
        f"{'>= 0' if below else f'<= {_SEEDS - 1}'}, but got {str(asked)[:40]} instead.",
        param="seed",
        code="integer_below_min_value" if below else "integer_above_max_value",
    )


def _style(
    asked: Literal["vivid", "natural"] | None, by: Rules, card: DrawingCard
) -> Literal["vivid", "natural"] | None:
    """`vivid` is what dall-e-3 does unasked, so that whoever asks for it gets what he gets anyway."""
    if card.steers:
        return asked or ("vivid" if by.family == "dall-e-3" else None)
    if asked == "natural":
        raise UnsupportedParameter(
            "This model draws in one style. Leave `style` out, or put what you want into the prompt.", param="style"
        )
    return None
