"""How much of a picture is left at each time that the model was taught at, and what a scheduler's settings say of it.

Source: the fields of diffusers' `scheduler/scheduler_config.json`, under their names and with their meaning.
"""

import itertools
import math
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import numpy
from msgspec import Struct

Levels = numpy.ndarray[Any, numpy.dtype[numpy.floating[Any]]]
Prediction = Literal["epsilon", "v_prediction", "sample"]
Spacing = Literal["leading", "trailing", "linspace"]

#: With a last share of exactly 0 there would be infinitely much noise. As diffusers has it: float16's smallest number.
_ALMOST_NOTHING = 2.0**-24
_LARGEST_BETA = 0.999


class Settings(Struct, frozen=True, kw_only=True):
    """What is used of scheduler_config.json. What is there and not here changes nothing in how pictures come out
    (`variance_type`, ...), or is in `_REFUSED`."""

    num_train_timesteps: int = 1000
    beta_start: float = 0.0001
    beta_end: float = 0.02
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = "linear"
    trained_betas: list[float] | None = None
    prediction_type: Prediction = "epsilon"
    timestep_spacing: Spacing = "leading"
    steps_offset: int = 0
    set_alpha_to_one: bool = True
    clip_sample: bool | None = False
    clip_sample_range: float = 1.0
    rescale_betas_zero_snr: bool = False
    use_karras_sigmas: bool | None = False
    sigma_min: float | None = None
    sigma_max: float | None = None
    final_sigmas_type: Literal["zero", "sigma_min"] = "zero"
    original_inference_steps: int = 50
    timestep_scaling: float = 10.0
    skip_prk_steps: bool = False
    shift: float = 1.0


#: Settings that would change the pictures and are not built, and what they must be.
_REFUSED: Mapping[str, tuple[object, ...]] = {
    "thresholding": (False, None),
    "use_exponential_sigmas": (False, None),
    "use_beta_sigmas": (False, None),
    "use_lu_lambdas": (False, None),
    "use_flow_sigmas": (False, None),
    "use_dynamic_shifting": (False, None),
    "invert_sigmas": (False, None),
    "stochastic_sampling": (False, None),
    "shift_terminal": (None, 0),
    "timestep_type": ("discrete", None),
    "interpolation_type": ("linear", None),
}


def read(found: Mapping[str, Any], defaults: Mapping[str, Any]) -> Settings:
    """defaults: of its class, where these are others. Raises ValueError."""
    for name, allowed in _REFUSED.items():
        if name in found and found[name] not in allowed:
            raise ValueError(f"{name} = {found[name]!r} is not supported")
    settings = msgspec.convert({**defaults, **found}, Settings)
    if not 1 <= settings.num_train_timesteps <= 100_000:
        raise ValueError(f"num_train_timesteps = {settings.num_train_timesteps} makes no sense")
    return settings


def shares(settings: Settings) -> Levels:
    """Of each time: how much of the picture's variance is left, the rest being noise (diffusers' `alphas_cumprod`)."""
    kept: Levels = numpy.cumprod(1.0 - _betas(settings))
    if settings.rescale_betas_zero_snr:
        roots = numpy.sqrt(kept)
        kept = ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2
        kept[-1] = _ALMOST_NOTHING
    return kept


def _betas(settings: Settings) -> Levels:
    """What each time adds of noise."""
    count, first, last = settings.num_train_timesteps, settings.beta_start, settings.beta_end
    if settings.trained_betas is not None:
        if len(settings.trained_betas) != count:
            raise ValueError("trained_betas are not num_train_timesteps")
        return numpy.array(settings.trained_betas, numpy.float64)
    if settings.beta_schedule == "linear":
        return numpy.linspace(first, last, count)
    if settings.beta_schedule == "scaled_linear":
        return numpy.linspace(first**0.5, last**0.5, count) ** 2
    left = [math.cos((at / count + 0.008) / 1.008 * math.pi / 2) ** 2 for at in range(count + 1)]
    return numpy.array([min(1 - after / before, _LARGEST_BETA) for before, after in itertools.pairwise(left)])


def times(settings: Settings, steps: int) -> Levels:
    """So many of the times of training, evenly spaced, the last one first. Whole numbers except of `linspace`. Source:
    table 2 of Lin et al., Common Diffusion Noise Schedules and Sample Steps are Flawed (2023)."""
    count = settings.num_train_timesteps
    if settings.timestep_spacing == "linspace":
        return numpy.linspace(0.0, count - 1, steps)[::-1]
    if settings.timestep_spacing == "leading":
        return numpy.arange(steps)[::-1] * float(count // steps) + settings.steps_offset
    trailing: Levels = numpy.round(numpy.arange(count, 0, -count / steps))[:steps] - 1.0
    return trailing
