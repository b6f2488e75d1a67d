"""Rectified flow: a straight way from noise to a picture, and the network tells its direction at each point of it.

At time s a picture x with noise n is (1 - s) x + s n; what is learnt is n - x (arXiv 2209.03003; the times that are
trained on are logit-normal, arXiv 2403.03206). A picture is drawn by going from s = 1 to 0 in straight steps, as
diffusers' FlowMatchEulerDiscreteScheduler does with shift 1.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from homeport.training.image.art import Drawing
from homeport.training.image.network import TIMES, Model
from homeport.training.image.scenes import SIDE, scene
from homeport.training.image.words import Words

#: Captions that are left out, so that the model also learns pictures in general: guidance needs both.
_LEFT_OUT = 0.1
#: Of the times' logits: what a picture shows is decided where there is much noise (arXiv 2511.13720, towards 1).
_MEAN, _SPREAD = 0.8, 0.8
#: Streams of randomness, so that no two things share one.
_TRAINED, _HELD_OUT = range(2)

Floats = np.ndarray[Any, np.dtype[np.float32]]


class Batch(NamedTuple):
    """pictures, noise: (batch, 3, SIDE, SIDE). times: (batch), 0 to 1. ids: (batch, words.LENGTH)."""

    pictures: Tensor
    noise: Tensor
    times: Tensor
    ids: Tensor

    def to(self, device: torch.device) -> "Batch":
        return Batch(*(one.to(device, non_blocking=True) for one in self))


def batch(drawings: Sequence[Drawing], words: Words, *, seed: int, step: int, size: int) -> Batch:
    """What is trained on in a step: it depends on nothing else, so a run that goes on needs no state of any
    generator."""
    rng = np.random.default_rng((seed, _TRAINED, step))
    scenes = [scene(rng, drawings) for _ in range(size)]
    told = ["" if rng.random() < _LEFT_OUT else one.caption for one in scenes]
    times = 1 / (1 + np.exp(-rng.normal(_MEAN, _SPREAD, size)))
    return _batch([one.picture() for one in scenes], told, words, times, rng)


def held_out(drawings: Sequence[Drawing], words: Words, *, seed: int, size: int) -> Batch:
    """Pairs of drawing and ground that no step has, with all times evenly."""
    rng = np.random.default_rng((seed, _HELD_OUT))
    scenes = [scene(rng, drawings, unseen=True) for _ in range(size)]
    times = (np.arange(size) + 0.5) / size
    return _batch([one.picture() for one in scenes], [one.caption for one in scenes], words, times, rng)


def loss(model: Model, batch: Batch) -> Tensor:
    s = batch.times[:, None, None, None]
    noisy = (1 - s) * batch.pictures + s * batch.noise
    velocity = model(noisy, batch.times * TIMES, batch.ids)
    return F.mse_loss(velocity.float(), batch.noise - batch.pictures)


def sample(model: Model, ids: Tensor, *, seeds: Sequence[int], steps: int, guidance: float) -> Tensor:
    """Pictures (batch, 3, SIDE, SIDE), -1 to 1: one a row of ids and a seed. guidance: how far to go beyond what the
    model would draw without a caption; 1 is not at all."""
    with torch.no_grad():
        none = torch.full_like(ids, model.text.end)
        none[:, 0] = ids[:, 0]
        told, untold = model.text(ids), model.text(none)
        x = torch.stack([_noise(seed) for seed in seeds]).to(ids.device)
        for s, after in _times(steps):
            at = torch.full((2 * len(x),), s * TIMES, device=x.device)
            with_caption, without = model.unet(torch.cat([x, x]), at, torch.cat([told, untold])).float().chunk(2)
            x = x + (after - s) * (without + guidance * (with_caption - without))
    return x.clamp(-1, 1)


def _times(steps: int) -> list[tuple[float, float]]:
    """As FlowMatchEulerDiscreteScheduler has them: evenly from 1 to 1/1000, then 0."""
    at = [*np.linspace(1, 1 / TIMES, steps, dtype=np.float32).tolist(), 0.0]
    return list(itertools.pairwise(at))


def _noise(seed: int) -> Tensor:
    """As the engine `diffusion` has it, so that it draws the same picture with the same seed."""
    generator = np.random.RandomState(np.random.Philox(key=seed))
    return torch.from_numpy(generator.standard_normal((3, SIDE, SIDE)).astype(np.float32))


def _batch(
    pictures: Sequence[Any], captions: Sequence[str], words: Words, times: Any, rng: np.random.Generator
) -> Batch:
    stacked = np.stack(pictures).transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
    return Batch(
        torch.from_numpy(stacked),
        torch.from_numpy(rng.standard_normal(stacked.shape, dtype=np.float32)),
        torch.from_numpy(times.astype(np.float32)),
        torch.tensor([words.ids(caption) for caption in captions]),
    )
