"""A picture's way, of tiny ones (tests/diffusion_models.py): as diffusers goes it, under masks, and what breaks it."""

from pathlib import Path
from typing import Any

import numpy
import pytest
from onnx import TensorProto

from homeport.backends.diffusion import folder as folders
from homeport.backends.diffusion.painter import Painter, Picture
from homeport.backends.diffusion.sessions import Network, Stopped
from homeport.backends.drawing import Base, Wish
from homeport.errors import HomeportError
from tests import diffusion_models as models

PROMPT = "a red cat, two dogs!"


def painter(folder: Path, *, guidance: float | None = None, steps: int | None = None, **made: Any) -> Painter:
    return Painter(models.stable_diffusion(folder, **made), 1, guidance=guidance, steps=steps)


def drawn(painter: Painter, wish: Wish) -> Any:
    picture = Picture(painter, wish)
    picture.begin()
    while picture.done < picture.total:
        picture.advance()
    return picture.finished()


def wish(side: int = 64, **more: Any) -> Wish:
    fields = {"kind": "generation", "prompt": PROMPT, "width": side, "height": side, "seed": 5, **more}
    return Wish(**fields)


def base(side: int = 64, seed: int = 3) -> Any:
    """Squares of colours, 16 a side."""
    colours = numpy.random.RandomState(seed).randint(0, 256, (16, 16, 3)).astype(numpy.uint8)
    whole = numpy.repeat(numpy.repeat(colours, side // 16, axis=0), side // 16, axis=1)
    return numpy.dstack([whole, numpy.full((side, side), 255, numpy.uint8)])


# As diffusers draws it: the sums of its pixels, by OnnxStableDiffusionPipeline, ...Img2Img... and ...Inpaint... of
# diffusers 0.42.1, of the same folders, with the same noise. No pixel differed by more than 5 millionths of its range.


@pytest.mark.parametrize(
    ("scheduler", "total"), [(models.DDIM, 99396704), (models.PNDM, 99680752), (models.EULER, 99398920)]
)
def test_a_picture_of_nothing(tmp_path: Path, scheduler: dict[str, Any], total: int) -> None:
    one = painter(tmp_path, scheduler=scheduler, configs=False, times=TensorProto.FLOAT)
    picture = drawn(one, wish(512, quality="low"))
    assert abs(int(picture[..., :3].sum(dtype=numpy.int64)) - total) < 100
    assert (picture[..., 3] == 255).all()


@pytest.mark.parametrize(("scheduler", "total"), [(models.DDIM, 99676264), (models.EULER, 99679360)])
def test_a_picture_of_another_one(tmp_path: Path, scheduler: dict[str, Any], total: int) -> None:
    trailing = {**scheduler, "timestep_spacing": "trailing"}
    one = painter(tmp_path, scheduler=trailing, configs=False, times=TensorProto.FLOAT, encoder="latent_sample")
    picture = drawn(one, wish(512, kind="edit", bases=(Base(base(512), None),)))
    assert abs(int(picture[..., :3].sum(dtype=numpy.int64)) - total) < 100


@pytest.mark.parametrize(
    ("scheduler", "total"), [(models.DDIM, 101916528), (models.PNDM, 101492352), (models.EULER, 101912424)]
)
def test_a_picture_by_a_model_for_masks(tmp_path: Path, scheduler: dict[str, Any], total: int) -> None:
    kind = "OnnxStableDiffusionInpaintPipeline"
    one = painter(
        tmp_path,
        kind=kind,
        channels=9,
        scheduler=scheduler,
        configs=False,
        times=TensorProto.FLOAT,
        encoder="latent_sample",
    )
    mask = numpy.zeros((512, 512), bool)
    mask[128:256, 64:320] = True
    asked = wish(512, kind="edit", quality="low", bases=(Base(base(512), None),), mask=mask)
    picture = Picture(one, asked)
    picture.begin()
    while picture.done < picture.total:
        picture.advance()
    bare = one.decode(picture._latents, picture.stop)  # diffusers puts nothing back at the end
    assert abs(int(numpy.rint((bare / 2 + 0.5).clip(0, 1) * 255).sum()) - total) < 100


# What decides what comes


def test_the_same_wish_gives_the_same_picture(tmp_path: Path) -> None:
    one = painter(tmp_path)
    first = drawn(one, wish())
    assert numpy.array_equal(drawn(Painter(tmp_path, 1), wish()), first)
    for other in ({"seed": 6}, {"prompt": "a dog"}, {"quality": "high"}, {"seed": 2**63 - 1}, {"prompt": ""}):
        assert not numpy.array_equal(drawn(one, wish(**other)), first), other


def test_quality_is_steps(tmp_path: Path) -> None:
    def steps(painter: Painter) -> list[int]:
        return [Picture(painter, wish(quality=one)).total for one in ("low", "medium", "high")]

    assert steps(painter(tmp_path / "a")) == [15, 25, 40]
    assert steps(painter(tmp_path / "b", steps=10)) == [6, 10, 16]
    assert steps(painter(tmp_path / "c", scheduler=models.LCM)) == [2, 4, 6]


def test_guidance_is_half_of_the_work_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []
    run = Network.run

    def counted(network: Network, given: Any, *rest: Any, **more: Any) -> Any:
        if "sample" in given and "timestep" in given:
            batches.append(len(given["sample"]))
        return run(network, given, *rest, **more)

    monkeypatch.setattr(Network, "run", counted)
    guided, plain = painter(tmp_path / "a"), painter(tmp_path / "b", guidance=1)
    first, second = drawn(guided, wish()), drawn(plain, wish())
    assert batches == [2] * 25 + [1] * 25
    assert not numpy.array_equal(first, second)
    batches.clear()
    drawn(guided, wish(prompt=""))
    assert batches == [1] * 25


@pytest.mark.parametrize(
    ("width", "height", "told"),
    [(64, 64, (8, 8)), (1024, 1024, (8, 8)), (256, 128, (6, 11)), (64, 640, (25, 3)), (100, 100, (8, 8))],
)
def test_any_size_is_drawn_as_large_as_the_model_was_taught(
    tmp_path: Path, width: int, height: int, told: tuple[int, int]
) -> None:
    """In multiples of a latent, which are 8 pixels here."""
    one = painter(tmp_path)
    picture = Picture(one, wish(width=width, height=height))
    picture.begin()
    assert picture._latents.shape == (4, *told)
    assert drawn(one, wish(width=width, height=height)).shape == (height, width, 4)


# Masks


def masked(side: int = 64) -> Any:
    mask = numpy.zeros((side, side), bool)
    mask[side // 4 : side // 2 + 3, 5 : side // 2] = True
    return mask


@pytest.mark.parametrize("channels", [4, 9])
@pytest.mark.parametrize("side", [64, 144])
def test_under_a_mask_nothing_else_changes(tmp_path: Path, channels: int, side: int) -> None:
    one, mask = painter(tmp_path, channels=channels), masked(side)
    given = base(side)
    given[0, 0, 3] = 17  # its transparency stays, too
    picture = drawn(one, wish(side, kind="edit", bases=(Base(given, None),), mask=mask))
    assert numpy.array_equal(picture[~mask], given[~mask])
    assert (picture[mask] != given[mask]).any(axis=1).mean() > 0.9
    assert (picture[mask][:, 3] == 255).all()


def test_what_is_kept_decides_what_is_drawn_beside_it(tmp_path: Path) -> None:
    one, mask = painter(tmp_path), masked()
    first, other = (drawn(one, wish(kind="edit", bases=(Base(base(seed=seed), None),), mask=mask)) for seed in (3, 4))
    assert not numpy.array_equal(first[mask], other[mask])


def test_a_hole_in_the_picture_is_not_white(tmp_path: Path) -> None:
    """What is see-through under a mask is filled with what is around it, or the model would draw on white."""
    one, mask = painter(tmp_path), masked()
    holed, filled = base(), base()
    holed[mask] = 0
    filled[mask] = [*numpy.rint(filled[~mask][:, :3].mean(axis=0)).astype(numpy.uint8), 255]
    pictures = [drawn(one, wish(kind="edit", bases=(Base(each, None),), mask=mask)) for each in (holed, filled)]
    assert numpy.abs(pictures[0][mask].astype(int) - pictures[1][mask]).max() <= 3


def test_all_of_a_picture_is_masked(tmp_path: Path) -> None:
    one = painter(tmp_path)
    everything = numpy.ones((64, 64), bool)
    given = (Base(base(), None),)
    assert numpy.array_equal(drawn(one, wish(kind="edit", bases=given, mask=everything)), drawn(one, wish()))


def test_a_variation_stays_nearer_than_an_edit(tmp_path: Path) -> None:
    one, given = painter(tmp_path), (Base(base(), None),)
    assert Picture(one, wish(kind="edit", bases=given)).total == 20
    assert Picture(one, wish(kind="variation", bases=given, prompt="")).total == 16
    first = drawn(one, wish(kind="variation", bases=given, prompt=""))
    assert not numpy.array_equal(first, drawn(one, wish(kind="variation", bases=given, prompt="", seed=6)))


def test_an_encoder_that_gives_a_mean_is_not_asked_for_more(tmp_path: Path) -> None:
    """`latent_parameters` has twice the channels: what is after the mean is how sure it is."""
    one = painter(tmp_path)
    picture = Picture(one, wish(kind="edit", bases=(Base(base(), None),)))
    picture.begin()
    assert picture._base is not None
    assert picture._base.shape == (4, 8, 8)


# Other kinds of models


def test_guidance_by_a_network_of_one_picture_at_a_time(tmp_path: Path) -> None:
    one, two = painter(tmp_path / "a", batch=1), painter(tmp_path / "b")
    assert numpy.abs(drawn(one, wish()).astype(int) - drawn(two, wish())).max() <= 1


def test_what_is_done_otherwise_than_the_folder_says_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    models.stable_diffusion(tmp_path, scheduler={**models.DDIM, "_class_name": "UniPCMultistepScheduler"})
    (tmp_path / "safety_checker").mkdir()
    Painter(tmp_path, 1)
    assert "Euler's scheduler stands in for UniPCMultistepScheduler" in caplog.text
    assert "its safety checker is not run" in caplog.text


@pytest.mark.parametrize(
    "made",
    [
        {"floats": "float16"},
        {"times": TensorProto.FLOAT, "scheduler": {**models.EULER, "use_karras_sigmas": True}},
        {"times": TensorProto.INT64, "scheduler": {**models.EULER, "use_karras_sigmas": True}},
        {"scheduler": {**models.DDIM, "_class_name": "UniPCMultistepScheduler", "solver_order": 2}},
        {"scheduler": models.LCM},
        {"scheduler": models.LCM, "kind": "LatentConsistencyModelPipeline", "distilled": True},
        {"kind": "StableDiffusionXLPipeline", "two_texts": True},
        {"external": True},
        {"size": 8, "batch": 1},
    ],
    ids=str,
)
def test_kinds_of_models(tmp_path: Path, made: dict[str, Any]) -> None:
    one = painter(tmp_path, **made)
    first = drawn(one, wish())
    assert first[..., :3].std() > 10
    assert not numpy.array_equal(first, drawn(one, wish(prompt="dogs")))
    drawn(one, wish(kind="edit", bases=(Base(base(), None),), mask=masked()))


def test_a_distilled_model_is_told_how_closely_to_follow(tmp_path: Path) -> None:
    made: dict[str, Any] = {"scheduler": models.LCM, "kind": "LatentConsistencyModelPipeline", "distilled": True}
    near, far = painter(tmp_path / "a", **made), painter(tmp_path / "b", guidance=2, **made)
    assert near.guidance == 8.5
    assert numpy.allclose(far.guided()[0, [0, 3]], [numpy.sin(1000), numpy.cos(1000)], atol=1e-3)
    assert not numpy.array_equal(drawn(near, wish()), drawn(far, wish()))


def test_a_model_of_pixels(tmp_path: Path) -> None:
    """As the trainer exports it: flow matching, no VAE."""
    one = Painter(models.flow(tmp_path), 1)
    assert (one.channels, one.multiple, one.side, one.edits) == (3, 4, 64, True)
    assert one.texts.room == 30
    mask, given = masked(), base()
    picture = drawn(one, wish(kind="edit", bases=(Base(given, None),), mask=mask))
    assert numpy.array_equal(picture[~mask], given[~mask])


def test_a_model_without_encoder_edits_nothing(tmp_path: Path) -> None:
    assert not painter(tmp_path, encoder=None).edits


# What goes wrong


def test_numbers_that_overflow_are_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = painter(tmp_path)
    monkeypatch.setattr(
        one.network, "run", lambda given, *_, **__: [numpy.full((2, 4, 8, 8), numpy.nan, numpy.float32)]
    )
    with pytest.raises(HomeportError, match="overflowed"):
        drawn(one, wish())


def test_a_picture_that_was_stopped(tmp_path: Path) -> None:
    picture = Picture(painter(tmp_path), wish())
    picture.begin()
    picture.stop.ask()
    with pytest.raises(Stopped):
        picture.advance()


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"kind": "FluxPipeline"}, "the pipeline 'FluxPipeline' is not supported. Supported: OnnxStableDiffusion"),
        ({"scheduler": {"_class_name": "X"}}, r"scheduler_config.json: its scheduler 'X' is not known"),
        ({"channels": 8}, "it has 8 channels, and must have 4, or 9 for masks"),
        ({"channels": 9, "encoder": None}, "a model for masks needs its vae_encoder/model.onnx"),
        ({"two_texts": True}, "unet/model.onnx: .*text_embeds, time_ids is not supported"),
        ({"kind": "StableDiffusionXLPipeline"}, "there is no text_encoder_2/model.onnx"),
        ({"distilled": True, "configs": False}, "no time_cond_proj_dim"),
    ],
)
def test_models_that_are_not_supported(tmp_path: Path, made: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        painter(tmp_path, **made)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("model_index.json", None, "there is no .*model_index.json"),
        ("model_index.json", b"{}", r"_class_name"),
        (
            "model_index.json",
            b'{"_class_name": "StableDiffusionPipeline", "requires_aesthetics_score": true}',
            "refiner",
        ),
        ("scheduler/scheduler_config.json", None, "there is no .*scheduler_config.json"),
        ("scheduler/scheduler_config.json", b"[", "scheduler_config.json: "),
        ("unet/model.onnx", None, "there is neither unet/model.onnx nor transformer/model.onnx"),
        ("unet/model.onnx", b"not a network", "unet/model.onnx cannot be loaded"),
        ("text_encoder/model.onnx", None, "there is no text_encoder/model.onnx"),
        ("tokenizer/vocab.json", None, "there is no .*vocab.json"),
        ("vae_decoder/model.onnx", None, "there is no vae_decoder/model.onnx"),
        ("vae_decoder/config.json", b'{"latents_mean": [1]}', "latents_mean"),
        ("vae_decoder/config.json", b'{"scaling_factor": "a"}', r"\$\.scaling_factor"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(tmp_path: Path, file: str, content: bytes | None, said: str) -> None:
    models.stable_diffusion(tmp_path)
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(ValueError, match=said):
        Painter(tmp_path, 1)


def test_weights_that_are_missing(tmp_path: Path) -> None:
    models.stable_diffusion(tmp_path, external=True)
    (tmp_path / "unet" / "model.onnx_data").unlink()
    with pytest.raises(ValueError, match="unet/model.onnx cannot be loaded"):
        Painter(tmp_path, 1)


def test_a_tokenizer_of_another_length(tmp_path: Path) -> None:
    one = painter(tmp_path, length=20)
    assert one.texts.room == 18
    assert folders.read(tmp_path / "model_index.json").folder == tmp_path
