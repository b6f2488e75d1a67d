"""The goal of the bench of diffusion follows from its figures, and its network is one."""

from pathlib import Path

import numpy

from bench import unet
from bench.diffusion import Diffusion
from homeport.backends.diffusion.painter import Painter, Picture
from homeport.backends.drawing import Wish
from tests import diffusion_models


def test_goals() -> None:
    found = Diffusion(
        steps=20,
        network=83_600_000,
        wall={"http": [1.0, 1.1, 1.2], "direct": [1.0, 1.0, 1.0]},
        cpu={"http": [1.0, 1.02, 3.0], "direct": [1.0, 1.0, 1.0]},
        peak=300_000_000,
        kept=1_000_000,
    )
    (added,) = found.goals()
    assert (added.value, added.verdict) == (1.02, "target"), "the median of the rounds"
    lines = found.table().splitlines()
    assert "84 MB of weights, 512x512, 20 steps" in lines[1]
    assert [cell.strip() for cell in lines[3].split("|")[1:-1]] == ["seconds of a step", "1.100", "1.000"]


def test_its_network_draws(tmp_path: Path) -> None:
    """Small pictures: it takes any size."""
    folder = diffusion_models.stable_diffusion(tmp_path, scheduler=diffusion_models.EULER)
    unet.write(folder / "unet" / "model.onnx")
    picture = Picture(Painter(folder, 1, steps=2), Wish("generation", "a red cat", 64, 64, 1))
    picture.begin()
    while picture.done < picture.total:
        picture.advance()
    assert picture.finished()[..., :3].std() > 10
    assert numpy.isfinite(picture._latents).all()
