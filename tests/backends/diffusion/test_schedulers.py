"""Schedulers against the values that diffusers publishes for its own.

Source: huggingface/diffusers at 58eb52c, tests/schedulers/test_scheduler_{ddim,euler,lcm,pndm}.py (`test_full_loop_*`),
with the dummy sample, noise and model of tests/schedulers/test_schedulers.py. Their tolerances, unless another is said.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy
import pytest

from homeport.backends.diffusion import noise, schedulers
from homeport.backends.diffusion.schedulers import Course, Latents

_COUNT = 4 * 3 * 8 * 8
LINEAR = {"num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"}
LATENT = {**LINEAR, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def sample() -> Latents:
    """4 pictures of 3 x 8 x 8, the pictures' place being the last one that is counted."""
    return _shaped(numpy.arange(_COUNT))


def reversed_sample() -> Latents:
    return _shaped(numpy.arange(_COUNT)[::-1])


def _shaped(counted: Any) -> Latents:
    shaped: Latents = (counted.reshape(3, 8, 8, 4) / _COUNT).astype(numpy.float32).transpose(3, 0, 1, 2)
    return shaped


class Torch:
    """torch.randn on a CPU after torch.manual_seed: the Mersenne Twister, and Box and Muller over 16 numbers."""

    def __init__(self, seed: int) -> None:
        self._twister = numpy.random.RandomState(seed)

    def __call__(self) -> Latents:
        drawn = self._twister.randint(0, 2**32, _COUNT, numpy.uint32) & 0xFFFFFF
        first, second = (drawn * numpy.float32(2**-24)).reshape(-1, 2, 8).swapaxes(0, 1)
        radius, angle = numpy.sqrt(-2 * numpy.log(1 - first)), numpy.float32(2 * math.pi) * second
        normal = numpy.stack([radius * numpy.cos(angle), radius * numpy.sin(angle)], axis=1)
        return normal.reshape(4, 3, 8, 8).astype(numpy.float32)


def course(name: str, steps: int, strength: float = 1.0, settings: Mapping[str, Any] | None = None) -> Course:
    return schedulers.read({"_class_name": name, **(settings or {})}).course(steps, strength)


def loop(course: Course, latents: Latents, fresh: schedulers.Noise | None = None, *, stays: bool = True) -> Latents:
    """stays: what is scaled for the model is not what is gone on with; in diffusers' loop over Euler it is."""
    fresh = fresh or Torch(0)
    for at, time in enumerate(course.times):
        seen = course.scaled(at, latents)
        latents = course.step(at, seen * numpy.float32(time / (time + 1)), latents if stays else seen, fresh)
    return latents


def close(latents: Latents, total: float, mean: float, *, within: float = 1e-2) -> None:
    assert abs(numpy.abs(latents).sum() - total) < within
    assert abs(numpy.abs(latents).mean() - mean) < 1e-3


CLIPPED = {**LINEAR, "clip_sample": True}


@pytest.mark.parametrize(
    ("settings", "total", "mean"),
    [
        ({}, 172.0067, 0.223967),
        ({"prediction_type": "v_prediction"}, 52.5302, 0.0684),
        ({"set_alpha_to_one": True, "beta_start": 0.01}, 149.8295, 0.1951),
        ({"set_alpha_to_one": False, "beta_start": 0.01}, 149.0784, 0.1941),
    ],
)
def test_ddim(settings: dict[str, Any], total: float, mean: float) -> None:
    close(loop(course("DDIMScheduler", 10, settings={**CLIPPED, **settings}), sample()), total, mean)


def test_ddim_from_the_middle() -> None:
    way = course("DDIMScheduler", 10, 0.2, settings=CLIPPED)
    assert list(way.times) == [100, 0]
    close(loop(way, way.noised(0, sample(), reversed_sample())), 354.5418, 0.4616)


def test_times_begin_at_an_offset() -> None:
    way = course("DDIMScheduler", 5, settings={**LINEAR, "steps_offset": 1})
    assert list(way.times) == [801, 601, 401, 201, 1]


EULER = {**LINEAR, "num_train_timesteps": 1100}


@pytest.mark.parametrize(
    ("settings", "total", "mean"),
    [
        ({}, 10.0807, 0.0131),
        ({"prediction_type": "v_prediction"}, 0.0002, 2.2676e-06),
        ({"use_karras_sigmas": True}, 124.52299499511719, 0.16213932633399963),
    ],
)
def test_euler(settings: dict[str, Any], total: float, mean: float) -> None:
    way = course("EulerDiscreteScheduler", 10, settings={**EULER, **settings})
    close(loop(way, sample() * numpy.float32(way.initial), stays=False), total, mean)


def test_euler_from_the_middle() -> None:
    """Within 2 millionths: diffusers multiplies a thousand shares in float32, which is off by as much."""
    whole, way = (
        course("EulerDiscreteScheduler", 10, settings=EULER),
        course("EulerDiscreteScheduler", 10, 0.2, settings=EULER),
    )
    noisy = way.noised(0, sample() * numpy.float32(whole.initial), reversed_sample())
    close(loop(way, noisy, stays=False), 57062.9297, 74.3007, within=0.1)


def test_lcm_with_one_step() -> None:
    close(loop(course("LCMScheduler", 1, settings=LATENT), sample()), 18.7097, 0.0244, within=1e-3)


def test_lcm_with_several_steps() -> None:
    close(loop(course("LCMScheduler", 10, settings=LATENT), sample()), 197.7616, 0.2575, within=1e-3)


@pytest.mark.parametrize(
    ("settings", "total", "mean"),
    [
        ({}, 198.1318, 0.2580),
        ({"prediction_type": "v_prediction"}, 67.3986, 0.0878),
        ({"set_alpha_to_one": True, "beta_start": 0.01}, 230.0399, 0.2995),
        ({"set_alpha_to_one": False, "beta_start": 0.01}, 186.9482, 0.2434),
    ],
)
def test_pndm(settings: dict[str, Any], total: float, mean: float) -> None:
    close(loop(course("PNDMScheduler", 10, settings={**LINEAR, **settings}), sample()), total, mean)


def test_times_of_pndm() -> None:
    """Source: test_steps_offset of test_scheduler_pndm.py."""
    way = course("PNDMScheduler", 10, settings={**LINEAR, "steps_offset": 1})
    careful = [901, 851, 851, 801, 801, 751, 751, 701, 701, 651, 651, 601]
    assert list(way.times) == [*careful, 601, 501, 401, 301, 201, 101, 1]


# What nobody has published: computed with diffusers 0.42.1 by the same loop, with what it scales kept apart

STABLE_DIFFUSION = {**LATENT, "steps_offset": 1, "set_alpha_to_one": False}
ZERO_SNR = {"timestep_spacing": "trailing", "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
COSINE = {**LINEAR, "beta_schedule": "squaredcos_cap_v2"}
LEADING = {**LATENT, "steps_offset": 1, "timestep_spacing": "leading"}
SAMPLE = {"timestep_spacing": "trailing", "prediction_type": "sample", "final_sigmas_type": "sigma_min"}


@pytest.mark.parametrize(
    ("name", "steps", "strength", "settings", "total"),
    [
        ("PNDMScheduler", 25, 1.0, {**STABLE_DIFFUSION, "skip_prk_steps": True}, 202.7565460205078),
        ("PNDMScheduler", 15, 1.0, STABLE_DIFFUSION, 202.13311767578125),
        ("DDIMScheduler", 15, 0.6, {**STABLE_DIFFUSION, "clip_sample": False}, 275.8340148925781),
        ("DDIMScheduler", 20, 1.0, COSINE, 187.66456604003906),
        ("DDIMScheduler", 20, 1.0, {**STABLE_DIFFUSION, **ZERO_SNR, "clip_sample": False}, 70.72797393798828),
        ("EulerDiscreteScheduler", 25, 1.0, LEADING, 191.19483947753906),
        ("EulerDiscreteScheduler", 25, 0.6, LEADING, 271.03131103515625),
        ("EulerDiscreteScheduler", 4, 1.0, {**LATENT, **SAMPLE}, 598.0086059570312),
        ("EulerDiscreteScheduler", 20, 1.0, {**LATENT, **ZERO_SNR}, 67.68437957763672),
        ("LCMScheduler", 4, 1.0, LATENT, 189.0072021484375),
        ("FlowMatchEulerDiscreteScheduler", 10, 1.0, {}, 133.36204528808594),
        ("FlowMatchEulerDiscreteScheduler", 10, 1.0, {"shift": 3.0}, 129.34945678710938),
        ("FlowMatchEulerDiscreteScheduler", 10, 0.5, {"shift": 3.0}, 174.94436645507812),
    ],
)
def test_as_diffusers_has_it(name: str, steps: int, strength: float, settings: dict[str, Any], total: float) -> None:
    way = course(name, steps, strength, settings=settings)
    begun = way.noised(0, sample(), reversed_sample()) if strength < 1 else sample() * numpy.float32(way.initial)
    close(loop(way, begun), total, total / _COUNT, within=2e-2)


# What must hold of all of them

ALL = [*schedulers._KINDS, "DPMSolverMultistepScheduler"]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("steps", [2, 4, 25])
@pytest.mark.parametrize("strength", [0.01, 0.5, 1.0])
def test_a_model_that_knows_the_picture_arrives_there(name: str, steps: int, strength: float) -> None:
    """With it each pass tells the noise, or its direction, exactly."""
    way = course(name, steps, strength)
    clean, first = sample(), Torch(1)()
    latents = way.noised(0, clean, first) if strength < 1 else first * numpy.float32(way.initial)
    for at, time in enumerate(way.times):
        if name.startswith("Flow"):
            output = (latents - clean) / way.noised(at, numpy.zeros_like(clean), numpy.ones_like(clean))
        else:
            weight = way.noised(at, numpy.ones_like(clean), numpy.zeros_like(clean))
            output = (latents - weight * clean) / way.noised(at, numpy.zeros_like(clean), numpy.ones_like(clean))
        assert 0 <= time <= 1000
        latents = way.step(at, output, latents, Torch(2))
        assert way.clean is not None
    assert way.noised(len(way.times), clean, first) is clean or name.startswith("Flow")
    numpy.testing.assert_allclose(latents, clean, atol=0.02 * (10 if name in ("LCMScheduler", "PNDMScheduler") else 1))


def test_no_steps_are_too_many() -> None:
    assert len(course("LCMScheduler", 80).times) == 50


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"_class_name": "ScoreSdeVeScheduler"}, "its scheduler 'ScoreSdeVeScheduler' is not known"),
        ({}, "its scheduler '' is not known"),
        ({"_class_name": "DDIMScheduler", "thresholding": True}, "thresholding = True is not supported"),
        ({"_class_name": "EulerDiscreteScheduler", "use_beta_sigmas": True}, "use_beta_sigmas = True"),
        ({"_class_name": "DDIMScheduler", "beta_schedule": "sigmoid"}, "sigmoid"),
        ({"_class_name": "DDIMScheduler", "beta_start": "a"}, r"\$\.beta_start"),
        ({"_class_name": "DDIMScheduler", "trained_betas": [0.1]}, "trained_betas"),
        ({"_class_name": "DDIMScheduler", "num_train_timesteps": 0}, "num_train_timesteps"),
        ({"_class_name": "LCMScheduler", "original_inference_steps": 0}, "original_inference_steps"),
        ({"_class_name": "PNDMScheduler", "prediction_type": "sample"}, "PNDM"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": True}, "use_dynamic_shifting"),
    ],
)
def test_what_is_not_built_is_said(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        schedulers.read(settings)


def test_none_is_what_is_not_set() -> None:
    assert noise.read({"thresholding": None, "trained_betas": None}, {}) == noise.Settings()
