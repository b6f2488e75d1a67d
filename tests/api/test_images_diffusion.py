"""Pictures by a diffusion model of this machine, end to end: a tiny one (tests/diffusion_models.py) by its folder."""

import base64
import io
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import openai
import pytest
from PIL import Image

from homeport.backing import able, backing
from homeport.errors import SettingsError
from homeport.settings import Settings
from tests import diffusion_models
from tests.api import raw
from tests.api.forms import refused
from tests.api.test_metrics import Numbers
from tests.fake_upstream import until
from tests.server import KEY, Running, running

GENERATIONS = "/v1/images/generations"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return diffusion_models.stable_diffusion(
        tmp_path_factory.mktemp("weights") / "tiny", scheduler=diffusion_models.PNDM
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Running]:
    models = {"tiny": {"path": str(folder), "threads": 1, "queue": 1, "steps": 10}, "echo": {"engine": "echo"}}
    with running(tmp_path_factory.mktemp("server"), {"models": models}) as one:
        assert until(lambda: one.app.held["tiny"].state == "ready", 30)
        yield one


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0) as one:
        yield one


class Gate:
    """Holds every pass of the network that draws until it is let through."""

    def __init__(self, network: Any) -> None:
        self._run = network.run
        self._passes = threading.Semaphore(0)
        self.begun = 0

    def __call__(self, *given: Any, **more: Any) -> Any:
        self.begun += 1
        assert self._passes.acquire(timeout=60)
        return self._run(*given, **more)

    def let(self, passes: int) -> None:
        self._passes.release(passes)


@pytest.fixture
def gate(server: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    held: Any = server.app.held["tiny"]
    network = held._backends[0]._engine._painter.network
    one = Gate(network)
    monkeypatch.setattr(network, "run", one)
    yield one
    one.let(1000)


def pixels(b64: str | None) -> Any:
    assert b64
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(b64))).convert("RGBA"))


def png(picture: Any) -> bytes:
    written = io.BytesIO()
    Image.fromarray(picture).save(written, "PNG")
    return written.getvalue()


def given(side: int = 64) -> Any:
    ramp = np.linspace(0, 255, side).astype(np.uint8)
    across, down = np.meshgrid(ramp, ramp)
    return np.dstack([across, down, np.full((side, side), 90, np.uint8), np.full((side, side), 255, np.uint8)])


def asked(server: Running, **fields: Any) -> raw.Answer:
    body = {"model": "tiny", "prompt": "a red cat", "response_format": "b64_json", **fields}
    return raw.ask(server, "POST", GENERATIONS, body)


def read(server: Running) -> Numbers:
    return Numbers(raw.ask(server, "GET", "/metrics").body)


# Pictures


def test_two_pictures(client: openai.OpenAI) -> None:
    answer = client.images.generate(model="tiny", prompt="a red cat", n=2, response_format="b64_json")
    assert answer.data is not None
    first, second = (pixels(one.b64_json) for one in answer.data)
    assert first.shape == second.shape == (64, 64, 4), "auto is the model's own size"
    assert not np.array_equal(first, second)
    assert answer.data[0].revised_prompt is None


def test_a_seed_gives_it_again_and_another_prompt_another(server: Running) -> None:
    def drawn(prompt: str, seed: int) -> Any:
        return pixels(asked(server, prompt=prompt, seed=seed).json["data"][0]["b64_json"])

    first = drawn("a red cat", 7)
    assert np.array_equal(drawn("a red cat", 7), first)
    assert not np.array_equal(drawn("a dog", 7), first)


def test_it_draws_as_openais_models_do(client: openai.OpenAI) -> None:
    """It has their names where nothing else draws; what they are asked for is larger than what it was taught."""
    made = client.images.generate(model="gpt-image-1", prompt="a red cat", quality="low", size="1536x1024")
    assert made.data is not None
    assert made.usage is not None
    assert pixels(made.data[0].b64_json).shape == (1024, 1536, 4)
    assert made.usage.input_tokens_details.text_tokens == 3, "as its tokenizer has them"
    made = client.images.generate(model="dall-e-3", prompt="a dog", quality="hd", response_format="b64_json")
    assert made.data is not None
    assert pixels(made.data[0].b64_json).shape == (1024, 1024, 4)


def test_a_stream_shows_it_in_the_making(client: openai.OpenAI) -> None:
    events = list(
        client.images.generate(
            model="gpt-image-1",
            prompt="a red cat",
            size="1024x1024",
            stream=True,
            partial_images=3,
            extra_body={"seed": 7},
        )
    )
    assert [one.type for one in events] == ["image_generation.partial_image"] * 3 + ["image_generation.completed"]
    shown = [pixels(one.b64_json) for one in events]
    assert shown[0].shape == (1024, 1024, 4)
    far = [float(np.abs(one.astype(int) - shown[-1]).mean()) for one in shown[:-1]]
    assert far[0] > far[1] > far[2] > 0, "each is nearer to what it becomes"


def test_an_edit_under_a_mask_leaves_the_rest(client: openai.OpenAI) -> None:
    picture, mask = given(), given()
    mask[16:40, 8:50, 3] = 0
    answer = client.images.edit(
        model="tiny",
        image=("a.png", png(picture)),
        mask=("m.png", png(mask)),
        prompt="a red cat",
        response_format="b64_json",
    )
    assert answer.data is not None
    made, hole = pixels(answer.data[0].b64_json), mask[..., 3] == 0
    assert np.array_equal(made[~hole], picture[~hole])
    assert (made[hole] != picture[hole]).any(axis=1).mean() > 0.9


def test_an_edit_of_all_of_it_and_variations(client: openai.OpenAI) -> None:
    edit = client.images.edit(
        model="tiny", image=("a.png", png(given())), prompt="a red cat", response_format="b64_json"
    )
    with warnings.catch_warnings():  # the SDK's later versions warn, since OpenAI's own models for it have ended
        warnings.simplefilter("ignore", DeprecationWarning)
        varied = client.images.create_variation(
            model="tiny", image=("a.png", png(given())), n=2, response_format="b64_json"
        )
    assert edit.data is not None
    assert varied.data is not None
    made = [pixels(one.b64_json) for one in (*edit.data, *varied.data)]
    for at, one in enumerate(made):
        assert one.shape == (64, 64, 4)
        assert all(not np.array_equal(one, other) for other in (*made[:at], given()))


# What is refused


def test_a_prompt_that_it_cannot_read_whole(server: Running) -> None:
    answer = asked(server, prompt="x " * 76)
    message = refused(answer, param="prompt", code="string_above_max_length")
    assert message == "The prompt is too long: this model reads 75 tokens, and it has 76. Shorten it."
    assert asked(server, prompt="x " * 75).status == 200


def test_two_pictures_to_edit(client: openai.OpenAI) -> None:
    images = [("a.png", png(given())), ("b.png", png(given()))]
    with pytest.raises(openai.BadRequestError, match="edits one image, and there are 2"):
        client.images.edit(model="tiny", image=images, prompt="a red cat")


def test_a_background_that_is_left_out(server: Running) -> None:
    assert refused(asked(server, background="transparent"), param="background", code="invalid_value")


# One at a time


def test_one_is_drawn_and_one_waits_and_the_next_is_refused(server: Running, gate: Gate) -> None:
    answers: list[raw.Answer] = []
    threads = [threading.Thread(target=lambda: answers.append(asked(server))) for _ in range(2)]
    engine = {"gen_ai_request_model": "tiny", "engine": "diffusion"}
    threads[0].start()
    assert until(lambda: gate.begun == 1)
    gate.let(4)
    assert until(lambda: gate.begun == 5)
    threads[1].start()
    assert until(lambda: read(server).sum("homeport_engine_waiting", **engine) == 1)
    numbers = read(server)
    assert numbers.sum("homeport_engine_places", **engine) == numbers.sum("homeport_engine_places_busy", **engine) == 1
    assert numbers.sum("homeport_engine_progress", **engine) == pytest.approx(4 / 11), "PNDM has a pass more than steps"
    refusal = asked(server)
    assert (refusal.status, refusal.error["code"]) == (503, "model_overloaded")
    assert int(refusal.headers["retry-after"]) > 0
    gate.let(1000)
    for one in threads:
        one.join(30)
    assert [one.status for one in answers] == [200, 200]
    assert until(lambda: "homeport_engine_progress" not in raw.ask(server, "GET", "/metrics").body.decode())


def test_the_server_answers_others_meanwhile(server: Running, gate: Gate, client: openai.OpenAI) -> None:
    thread = threading.Thread(target=asked, args=(server,))
    thread.start()
    assert until(lambda: gate.begun == 1)
    client.chat.completions.create(model="echo", messages=[{"role": "user", "content": "hello"}])
    gate.let(1000)
    thread.join(30)


def test_who_leaves_is_not_drawn_for(server: Running, gate: Gate, client: openai.OpenAI) -> None:
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.5).images.generate(model="tiny", prompt="a red cat")
    assert gate.begun == 1
    gate.let(1)  # the pass that had begun comes to its end, and none follows
    engine = {"gen_ai_request_model": "tiny", "engine": "diffusion"}
    assert until(lambda: read(server).sum("homeport_engine_places_busy", **engine) == 0)
    gate.let(1000)
    assert asked(server).status == 200
    assert gate.begun == 1 + 11


# Which model draws, and settings


def settings(models: dict[str, Any], tmp_path: Path) -> Settings:
    return msgspec.convert({"models": models, "server": {"data": str(tmp_path)}}, Settings)


def test_a_models_own_weights_go_before_composed_drawings(tmp_path: Path, folder: Path) -> None:
    chosen = settings({"scene-1": {"engine": "scene"}, "tiny": {"path": str(folder)}}, tmp_path)
    made = backing(chosen)
    assert able(chosen, made.held, "draw") == ["tiny", "scene-1"]
    assert [one.model for one in made.router.targets("dall-e-3")][:1] == ["tiny"]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"parallel": 2}, "'diffusion' draws one picture at a time"),
        ({"context_length": 77}, "the engine 'diffusion' has no tokens to count"),
        ({"engine": "whisper"}, "the engine 'whisper' does not run 'model_index.json'"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, folder: Path, model: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        backing(settings({"tiny": {"path": str(folder), **model}}, tmp_path))


def test_guidance_is_of_models_that_draw(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="guidance and steps are of the engine 'diffusion' alone"):
        backing(settings({"hibari": {"engine": "hibari", "steps": 3}}, tmp_path))


def test_a_broken_folder_takes_no_other_model_down(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken = diffusion_models.stable_diffusion(tmp_path / "broken")
    (broken / "unet" / "model.onnx").unlink()
    models = {"broken": {"path": str(broken / "model_index.json")}, "echo": {"engine": "echo"}}
    with running(tmp_path / "server", {"models": models}) as server:
        assert until(lambda: server.app.held["broken"].state == "failed", 30)
        answer = raw.ask(server, "POST", GENERATIONS, {"model": "broken", "prompt": "x"})
        assert answer.status == 503
        assert "there is neither unet/model.onnx nor transformer/model.onnx" in caplog.text
        assert raw.ask(server).status == 200
