"""What OpenAI's models take of a request for pictures, each by its name. Source: the descriptions of
CreateImageRequest, CreateImageEditRequest and CreateImageVariationRequest."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from homeport.backends.drawing import Quality
from homeport.wire import images

#: What the engine does for each `quality`.
QUALITIES: Mapping[str, Quality] = {
    "standard": "medium",
    "hd": "high",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "auto": "medium",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Of a name. prompt: characters. sizes: those that it takes; None: any. usual: the one that it takes unasked.
    flexible: it takes sizes as gpt-image-2 does. most: pictures of one request. unknown: what it does not know."""

    family: images.Family | None
    prompt: float = math.inf
    sizes: Sequence[str] | None = None
    usual: str = "auto"
    flexible: bool = False
    most: int = images.MOST_IMAGES
    qualities: Collection[str] = tuple(QUALITIES)
    unknown: Collection[str] = ()


_OF_GPT = ("output_format", "output_compression", "background", "moderation", "partial_images", "input_fidelity")
_DALL_E_2 = Rules(
    family="dall-e-2",
    prompt=1000,
    sizes=("256x256", "512x512", "1024x1024"),
    usual="1024x1024",
    qualities=("standard", "auto"),
    unknown=("style", "stream", *_OF_GPT),
)
_DALL_E_3 = Rules(
    family="dall-e-3",
    prompt=4000,
    sizes=("1024x1024", "1792x1024", "1024x1792"),
    usual="1024x1024",
    most=1,
    qualities=("standard", "hd", "auto"),
    unknown=("stream", *_OF_GPT),
)
_GPT_IMAGE = Rules(
    family="gpt-image",
    prompt=32_000,
    sizes=("1024x1024", "1024x1536", "1536x1024", "auto"),
    qualities=("low", "medium", "high", "auto"),
    unknown=("style", "response_format"),
)
_GPT_IMAGE_2 = replace(_GPT_IMAGE, flexible=True)
_OURS = Rules(family=None)


def rules(name: str) -> Rules:
    """name: of a model, as it is asked for."""
    match images.family(name):
        case "dall-e-2":
            return _DALL_E_2
        case "dall-e-3":
            return _DALL_E_3
        case "gpt-image":
            return _GPT_IMAGE_2 if name.startswith("gpt-image-2") else _GPT_IMAGE
    return _OURS


def listed(values: Collection[str]) -> str:
    """As OpenAI writes them."""
    quoted = [f"'{one}'" for one in values]
    return f"{', '.join(quoted[:-1])}, and {quoted[-1]}"
