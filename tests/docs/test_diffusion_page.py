"""docs/images.md: what it says of diffusion is so."""

import re
import tomllib
from pathlib import Path

import msgspec

from homeport.backends.diffusion.folder import PIPELINES
from homeport.backends.diffusion.painter import EDIT, QUALITIES, VARIATION
from homeport.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "images.md").read_text("utf-8")


def test_every_pipeline_is_on_the_page() -> None:
    for name in PIPELINES:
        plain = re.sub(r"^StableDiffusionOnnx", "OnnxStableDiffusion", re.sub("Img2Img|Inpaint", "", name))
        assert f"`{plain}`" in PAGE, name


def test_its_numbers() -> None:
    assert f"`medium` has {PIPELINES['StableDiffusionPipeline'].steps} " in PAGE
    assert f"`low` {QUALITIES['low']} of them, `high` {QUALITIES['high']}" in PAGE
    assert f"so much noise that {VARIATION} of the way" in PAGE
    assert f"with the prompt, and {EDIT} of the way" in PAGE


def test_its_settings_are_settings() -> None:
    snippet = next(one for one in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL) if "guidance" in one)
    assert msgspec.convert(tomllib.loads(snippet), Settings).models["turbo"].steps == 4
