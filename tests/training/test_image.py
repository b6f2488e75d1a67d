"""A small text-to-image model is trained for real, on one core: `python -m homeport.training.image`."""

import base64
import csv
import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import openai
import pytest
import torch
from PIL import Image
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from homeport.training.image import art, checkpoint, flow, scenes
from homeport.training.image.__main__ import main
from homeport.training.image.network import Model
from homeport.training.image.words import LENGTH, Words
from tests import model_files
from tests.server import KEY, running

#: Of pairs of a drawing and a ground that are not trained on. A model that tells nothing has more than 3.
LEARNT = 1.6
STEPS = 300
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def data() -> Path:
    return model_files.scene().parent


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has seen 2,400 pictures of three drawings: most of a minute of a core."""
    out = tmp_path_factory.mktemp("trained") / "run"
    small = [
        "--drawings",
        "red-apple,frog,rocket",
        "--width",
        "16",
        "--batch",
        "8",
        "--warmup",
        "30",
        "--rate",
        "0.002",
    ]
    assert train(data, out, *small, "--steps", str(STEPS), "--save-every", "150") == 0
    return out


def test_the_loss_falls_for_what_was_never_trained_on(trained: Path, data: Path) -> None:
    untrained = checkpoint.State(*begun(data), "", 0)
    torch.manual_seed(0)
    at_first = held_out(untrained, Model(untrained.words, 16), data)
    rows = losses(trained)

    assert at_first > 3
    assert [int(row["step"]) for row in rows] == list(range(1, STEPS + 1))
    assert float(rows[-1]["held_out"]) < LEARNT
    state, model = checkpoint.trained(trained)
    assert held_out(state, model, data) == pytest.approx(float(rows[-1]["held_out"]), rel=1e-3)


def test_pictures_follow_their_prompts(trained: Path, tmp_path: Path) -> None:
    """Of each noise the ground turns redder by `red`, and by more than pictures of one prompt differ."""
    red, blue = (
        drawn(
            trained,
            tmp_path / f"{colour}.png",
            *("--prompt", f"a frog on a {colour} background", "--count", "8", "--steps", "15", "--guidance", "6"),
        )
        for colour in ("red", "blue")
    )
    of_red, of_blue = redness(red), redness(blue)

    assert (of_red > of_blue).all()
    assert of_red.mean() - of_blue.mean() > 1.5 * max(of_red.std(), of_blue.std())


def test_a_run_that_is_killed_goes_on_as_if_it_had_not_been(data: Path, tmp_path: Path) -> None:
    settings = ["--drawings", "frog", "--width", "16", "--batch", "2", "--steps", "24", "--save-every", "6"]
    child = begin(data, tmp_path / "killed", *settings)
    await_file(tmp_path / "killed" / checkpoint.STATE, child)
    child.kill()
    child.communicate()
    assert 6 <= checkpoint.load(tmp_path / "killed" / checkpoint.STATE)[0].step < 24

    assert train(data, tmp_path / "killed", "--resume", "--save-every", "6") == 0
    assert train(data, tmp_path / "whole", *settings) == 0

    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    for name in (checkpoint.STATE, checkpoint.WEIGHTS):
        assert digest(tmp_path / "killed" / name) == digest(tmp_path / "whole" / name)


def test_a_run_that_is_told_to_stop_saves_what_it_has(data: Path, tmp_path: Path) -> None:
    child = begin(data, tmp_path / "run", "--drawings", "frog", "--width", "16", "--batch", "2", "--save-every", "3")
    await_file(tmp_path / "run" / checkpoint.STATE, child)
    child.send_signal(signal.SIGTERM)
    _, told = child.communicate()

    assert child.returncode == 128 + signal.SIGTERM
    assert "--resume goes on" in told
    state, _ = checkpoint.load(tmp_path / "run" / checkpoint.STATE)
    assert state.step == int(losses(tmp_path / "run")[-1]["step"])


def test_minutes_end_a_run(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    small = ["--drawings", "frog", "--width", "16", "--batch", "2"]

    assert train(data, tmp_path / "run", *small, "--minutes", "0.001") == 0
    told = capsys.readouterr().err
    assert "1 drawings, 0.8 million parameters, on cpu" in told
    assert "stopped at step" in told
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_is_exported_says_what_the_model_says(trained: Path, tmp_path: Path) -> None:
    assert main(["export", "--model", str(trained), "--out", str(tmp_path / "flow")]) == 0
    state, model = checkpoint.trained(trained)
    text, unet = (
        onnxruntime.InferenceSession(tmp_path / "flow" / name / "model.onnx") for name in ("text_encoder", "unet")
    )
    ids = torch.tensor(
        [state.words.ids(prompt) for prompt in ("two frogs on a red background", "", "what is a zorgle")]
    )
    sample, times = torch.randn(3, 3, 64, 64), torch.tensor([1000.0, 400.0, 1.0])
    with torch.no_grad():
        hidden = model.text(ids)
        velocity = model.unet(sample, times, hidden)

    (told,) = text.run(None, {"input_ids": ids.numpy()})
    np.testing.assert_allclose(told, hidden.numpy(), atol=1e-4)
    given = {"sample": sample.numpy(), "timestep": times.numpy(), "encoder_hidden_states": told}
    np.testing.assert_allclose(unet.run(None, given)[0], velocity.numpy(), rtol=1e-3, atol=1e-2)


def test_it_is_served_as_it_draws_here(trained: Path, tmp_path: Path) -> None:
    """The same picture for the same seed, through the whole of Homeport."""
    assert main(["export", "--model", str(trained), "--out", str(tmp_path / "flow")]) == 0
    prompt = "a frog on a blue background"
    (here,) = drawn(trained, tmp_path / "frog.png", "--prompt", prompt, "--seed", "7")
    served = {"models": {"flow-1": {"engine": "diffusion", "path": str(tmp_path / "flow")}}}

    with (
        running(tmp_path / "home", served) as server,
        openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0) as client,
    ):
        answer = client.images.generate(
            model="flow-1",
            prompt=prompt,
            size="64x64",
            response_format="b64_json",
            extra_body={"seed": 7},
        )
    assert answer.data is not None
    png = base64.b64decode(answer.data[0].b64_json or "")
    there = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), np.float64)

    assert np.abs(there / 255 - here).max() <= 2 / 255


def test_its_tokenizer_is_read_as_clips_are(trained: Path, tmp_path: Path) -> None:
    """By the library that reads everybody's: transformers makes this of a CLIP tokenizer's two files."""
    assert main(["export", "--model", str(trained), "--out", str(tmp_path / "flow")]) == 0
    folder = tmp_path / "flow" / "tokenizer"
    library = Tokenizer(
        models.BPE.from_file(
            str(folder / "vocab.json"),
            str(folder / "merges.txt"),
            end_of_word_suffix="</w>",
            unk_token="<|endoftext|>",
        )
    )
    library.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    clip = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    library.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(clip), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    library.decoder = decoders.ByteLevel()
    words = checkpoint.trained(trained)[0].words
    for prompt in ("Four red apples, on a  BLUE background", "a frog's 12 crème brûlées — 🐸!", "xyz_(q)", ""):
        ids = words.ids(prompt)
        assert ids[0] == words.start
        assert ids[1 : ids.index(words.end)] == library.encode(prompt).ids[: LENGTH - 2]
    assert len(words.ids("rocket " * 50)) == LENGTH


def test_every_word_of_a_caption_is_one_token(data: Path) -> None:
    drawings = art.load(data, ("animals", "food"))
    words = Words.of(scenes.captions(drawings))
    rng = np.random.default_rng(0)

    for _ in range(300):
        caption = scenes.scene(rng, drawings).caption
        assert words.unknown(caption) == []
        assert words.ids(caption).index(words.end) == 1 + len(caption.split())


def test_pictures_show_what_captions_say(data: Path) -> None:
    """And no picture that is trained on has a pair that is held out."""
    drawings = art.load(data, ("red-apple", "frog", "rocket"))
    rng = np.random.default_rng(0)
    made = [scenes.scene(rng, drawings) for _ in range(400)]

    for one in made:
        count = next((number for number, word in ((2, "two "), (3, "three "), (4, "four ")) if word in one.caption), 1)
        if " and " in one.caption or any(word in one.caption for word in ("left of", "right of", "above", "below")):
            count = 2
        assert len(one.placed) == count, one.caption
        if "on the left" in one.caption:
            assert one.placed[0].x < 0.4
        if " above " in one.caption:
            assert one.placed[0].y < one.placed[1].y
        colour = next((name for name in scenes.COLOURS if f"{name} background" in one.caption), None)
        if colour is not None:
            corner = one.picture()[0, 0].astype(int)
            assert np.abs(corner - scenes.COLOURS[colour]).max() <= 12
            assert not any(scenes.held_out(placed.drawing, colour) for placed in one.placed)
    assert any(scenes.held_out(drawing, colour) for drawing in drawings for colour in scenes.COLOURS)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "--data", "nowhere", "--out", "run"], "--data nowhere is no folder"),
        (["train", "--data", ".", "--out", "run"], "homeport pull scene-1"),
        (["train", "--data", "DATA", "--out", "run", "--drawings", "frogg"], "'frogg' is no drawing of the art"),
        (["train", "--data", "DATA", "--out", "run", "--width", "17"], "multiple of 16"),
        (["train", "--data", "DATA", "--out", "run", "--resume"], "nothing was trained there yet"),
        (["train", "--data", "DATA", "--out", "run", "--resume", "--steps", "3"], "leave out --steps"),
        (["train", "--data", "DATA", "--out", "taken"], "go on with it by --resume"),
        (["train", "--data", "DATA", "--out", "broken", "--resume"], "not what this program writes"),
        (["train", "--data", "DATA", "--out", "file/run"], "--out file/run: Not a directory"),
        (["sample", "--model", "run", "--prompt", "a frog", "--out", "x.png"], "nothing was trained there yet"),
        (["export", "--model", "run", "--out", "flow"], "nothing was trained there yet"),
    ],
)
def test_what_is_wrong_is_said(
    arguments: Sequence[str],
    told: str,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("taken", "broken"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / checkpoint.STATE).write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    (tmp_path / "file").touch()

    assert main([str(data) if one == "DATA" else one for one in arguments]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--steps", "0"], ["--minutes", "-1"], ["--seed", "x"], ["--device", "tpu"]])
def test_an_argument_that_makes_no_sense_is_named(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", "--data", ".", "--out", "run", *arguments])
    assert ended.value.code == 2
    assert f"argument {arguments[0]}: invalid" in capsys.readouterr().err


def test_a_graphics_card_that_is_not_there_is_said(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    assert main(["train", "--data", str(data), "--out", "run", "--device", "cuda"]) == 2
    assert "PyTorch finds no graphics card" in capsys.readouterr().err


def train(data: Path, out: Path, *arguments: str) -> int:
    return main(command(data, out, *arguments))


def begin(data: Path, out: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "homeport.training.image", *command(data, out, *arguments)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def command(data: Path, out: Path, *arguments: str) -> list[str]:
    return ["train", "--data", str(data), "--out", str(out), "--device", "cpu", "--threads", "1", *arguments]


def await_file(file: Path, child: "subprocess.Popen[str]") -> None:
    while not file.exists():
        assert child.poll() is None, child.communicate()[1]  # what it said before it ended
        time.sleep(0.01)


def drawn(run: Path, out: Path, *arguments: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    """(pictures, side, side, 3), 0 to 1."""
    assert (
        main(["sample", "--model", str(run), "--device", "cpu", "--threads", "1", "--out", str(out), *arguments]) == 0
    )
    sheet = np.asarray(Image.open(out), np.float64) / 255
    return np.stack(np.split(sheet, sheet.shape[1] // scenes.SIDE, axis=1))


def redness(
    pictures: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]",
) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Of the grounds: how much more red than blue there is in a frame of eight pixels."""
    frame = np.ones((scenes.SIDE, scenes.SIDE), bool)
    frame[8:-8, 8:-8] = False
    means = pictures[:, frame].mean(1)
    found: np.ndarray[tuple[int], np.dtype[np.float64]] = means[:, 0] - means[:, 2]
    return found


def begun(data: Path) -> tuple[checkpoint.Settings, Words]:
    drawings = art.load(data, ("red-apple", "frog", "rocket"), scenes.COLOURS)
    return checkpoint.Settings(), Words.of(scenes.captions(drawings))


def held_out(state: checkpoint.State, model: Model, data: Path) -> float:
    drawings = art.load(data, ("red-apple", "frog", "rocket"), scenes.COLOURS)
    with torch.no_grad():
        return float(flow.loss(model, flow.held_out(drawings, state.words, seed=0, size=64)))


def losses(run: Path) -> list[dict[str, str]]:
    with (run / "losses.csv").open() as file:
        return list(csv.DictReader(file))


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
