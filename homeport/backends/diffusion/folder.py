"""A model's folder, as diffusers' OnnxStableDiffusionPipeline and Optimum write it: which files there are, and what
their settings say. Nothing of the networks themselves is read here.

    model_index.json                             which pipeline it is
    scheduler/scheduler_config.json
    tokenizer/ (tokenizer_2/)                    vocab.json, merges.txt
    text_encoder/ (text_encoder_2/)  model.onnx
    unet/ or transformer/            model.onnx  the network that draws; config.json, if there is one
    vae_decoder/ vae_encoder/        model.onnx  latents to pixels, and back. A model without them draws pixels, and
                                                 one without the second edits nothing

Weights may lie beside a `model.onnx` in a file that it names.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from homeport.backends.diffusion import schedulers
from homeport.backends.diffusion.clip import ClipTokenizer
from homeport.backends.diffusion.schedulers import Scheduler

log = logging.getLogger("homeport.backends")
INDEX = "model_index.json"
_NETWORK = "model.onnx"
_DRAWING = ("unet", "transformer")


class Pipeline(NamedTuple):
    """guidance, steps: where nobody has said them. scaling: of latents, where no settings of the VAE say it. side: of
    the latents, where no settings say it. masked: it is told what is to be kept. two_texts: as SDXL has them. mended:
    its scheduler's settings have, whatever they say, `steps_offset` 1 and no clipping: diffusers mends those of the
    first Stable Diffusions so."""

    guidance: float
    steps: int = 25
    scaling: float = 0.18215
    side: int = 64
    masked: bool = False
    two_texts: bool = False
    mended: bool = False


_STABLE = Pipeline(guidance=7.5, mended=True)
_INPAINTING = _STABLE._replace(masked=True)
_XL = Pipeline(guidance=5.0, scaling=0.13025, side=128, two_texts=True)
_LCM = Pipeline(guidance=8.5)
#: `_class_name` of model_index.json -> what it is. A new one is a line here, if its networks have the same inputs.
PIPELINES: Mapping[str, Pipeline] = {
    "OnnxStableDiffusionPipeline": _STABLE,
    "StableDiffusionOnnxPipeline": _STABLE,
    "OnnxStableDiffusionImg2ImgPipeline": _STABLE,
    "ORTStableDiffusionPipeline": _STABLE,
    "ORTStableDiffusionImg2ImgPipeline": _STABLE,
    "StableDiffusionPipeline": _STABLE,
    "StableDiffusionImg2ImgPipeline": _STABLE,
    "OnnxStableDiffusionInpaintPipeline": _INPAINTING,
    "ORTStableDiffusionInpaintPipeline": _INPAINTING,
    "StableDiffusionInpaintPipeline": _INPAINTING,
    "LatentConsistencyModelPipeline": _LCM,
    "LatentConsistencyModelImg2ImgPipeline": _LCM,
    "ORTLatentConsistencyModelPipeline": _LCM,
    "ORTLatentConsistencyModelImg2ImgPipeline": _LCM,
    "StableDiffusionXLPipeline": _XL,
    "StableDiffusionXLImg2ImgPipeline": _XL,
    "ORTStableDiffusionXLPipeline": _XL,
    "ORTStableDiffusionXLImg2ImgPipeline": _XL,
    # What `python -m homeport.training.image export` writes: one text encoder, `unet` without VAE, flow matching.
    "HomeportFlowPipeline": Pipeline(guidance=3.0),
}


class _Index(msgspec.Struct):
    kind: str = msgspec.field(name="_class_name")
    force_zeros_for_empty_prompt: bool = True
    requires_aesthetics_score: bool | None = None


class _Drawing(msgspec.Struct):
    """Of the network that draws: unet/config.json."""

    in_channels: int | None = None
    sample_size: int | tuple[int, int] | None = None
    down_block_types: list[str] | None = None
    time_cond_proj_dim: int | None = None


class _Vae(msgspec.Struct):
    block_out_channels: list[int] | None = None
    latent_channels: int | None = None
    scaling_factor: float | None = None
    shift_factor: float | None = None
    latents_mean: list[float] | None = None
    latents_std: list[float] | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """texts: networks and tokenizers that read the prompt, in pairs. decoder: None of a model that draws pixels.
    scaling, shift: latents are (z - shift) * scaling of the encoder's. factor: pixels of a latent's side. depth: of how
    many latents' sides the network wants multiples. channels, latents: of its input and of the latents; None: the
    network says it. side: of the latents that it was taught. guidance_width: of the vector by which it is told how
    closely to follow the prompt. zeros: what an empty prompt is told as, and not by the encoders."""

    folder: Path
    pipeline: Pipeline
    scheduler: Scheduler
    texts: tuple[tuple[Path, ClipTokenizer], ...]
    drawing: Path
    decoder: Path | None
    encoder: Path | None
    scaling: float
    shift: float
    factor: int
    depth: int
    channels: int | None
    latents: int | None
    side: int
    guidance_width: int | None
    zeros: bool


def read(path: Path) -> Parts:
    """path: of the folder, or its model_index.json. Raises ValueError: what is missing or not supported; OSError."""
    folder = path.parent if path.name == INDEX else path
    index: _Index = _json(folder / INDEX, _Index)
    pipeline = PIPELINES.get(index.kind)
    if pipeline is None:
        raise ValueError(f"{folder / INDEX}: the pipeline {index.kind!r} is not supported. Supported: {known()}")
    if index.requires_aesthetics_score:
        raise ValueError(f"{folder / INDEX}: a refiner (requires_aesthetics_score) draws nothing by itself")
    name = next((one for one in _DRAWING if (folder / one / _NETWORK).is_file()), None)
    if name is None:
        raise ValueError(f"{folder}: there is neither {' nor '.join(f'{one}/{_NETWORK}' for one in _DRAWING)}")
    drawing: _Drawing = _settings(folder, (name,), _Drawing)
    if (folder / "safety_checker").is_dir():
        log.warning("%s: its safety checker is not run", folder)
    decoder, encoder = (_optional(folder / one / _NETWORK) for one in ("vae_decoder", "vae_encoder"))
    vae: _Vae = _settings(folder, ("vae", "vae_decoder", "vae_encoder"), _Vae)
    if vae.latents_mean is not None or vae.latents_std is not None:
        raise ValueError(f"{folder}: a VAE with latents_mean and latents_std is not supported")
    if decoder is None and (encoder is not None or (folder / "vae").is_dir()):
        raise ValueError(f"{folder}: there is no vae_decoder/{_NETWORK}")
    return Parts(
        folder=folder,
        pipeline=pipeline,
        scheduler=_scheduler(folder, pipeline),
        texts=tuple(_text(folder, suffix) for suffix in (("", "_2") if pipeline.two_texts else ("",))),
        drawing=folder / name / _NETWORK,
        decoder=decoder,
        encoder=encoder,
        scaling=1.0 if decoder is None else vae.scaling_factor or pipeline.scaling,
        shift=vae.shift_factor or 0.0,
        factor=1 if decoder is None else 2 ** (len(vae.block_out_channels or [0] * 4) - 1),
        depth=2 ** (len(drawing.down_block_types or [""] * 4) - 1),
        channels=drawing.in_channels,
        latents=vae.latent_channels,
        side=_side(drawing.sample_size) or pipeline.side,
        guidance_width=drawing.time_cond_proj_dim,
        zeros=pipeline.two_texts and index.force_zeros_for_empty_prompt,
    )


def known() -> str:
    return ", ".join(PIPELINES)


def _scheduler(folder: Path, pipeline: Pipeline) -> Scheduler:
    path = folder / "scheduler" / "scheduler_config.json"
    found: dict[str, Any] = _json(path, dict[str, Any])
    if pipeline.mended:
        found |= {"steps_offset": 1, "clip_sample": False}
    if (name := str(found.get("_class_name"))) in schedulers.STOOD_IN_FOR:
        log.warning("%s: Euler's scheduler stands in for %s", folder, name)
    try:
        return schedulers.read(found)
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"{path}: {error}") from None


def _text(folder: Path, suffix: str) -> tuple[Path, ClipTokenizer]:
    network = folder / f"text_encoder{suffix}" / _NETWORK
    if not network.is_file():
        raise ValueError(f"{folder}: there is no text_encoder{suffix}/{_NETWORK}")
    return network, ClipTokenizer.read(folder / f"tokenizer{suffix}")


def _side(size: int | tuple[int, int] | None) -> int | None:
    return max(size) if isinstance(size, tuple) else size


def _optional(path: Path) -> Path | None:
    return path if path.is_file() else None


def _settings(folder: Path, names: tuple[str, ...], kind: Any) -> Any:
    """The first config.json that there is. diffusers' own exports have none: then all of it is unknown."""
    found = next((folder / name / "config.json" for name in names if (folder / name / "config.json").is_file()), None)
    return kind() if found is None else _json(found, kind)


def _json(path: Path, kind: Any) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        raise ValueError(f"there is no {path}") from None
    except msgspec.MsgspecError as error:
        raise ValueError(f"{path}: {error}") from None
