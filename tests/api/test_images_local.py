"""Pictures by a model of this machine, whose engine draws one colour a prompt: what may be asked for under which name,
what comes back, streams, and who leaves. What comes in as a file is in test_images_local_files.py."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest

from tests.api import raw
from tests.api.forms import refused
from tests.drawings import Pencil, colour, drawing, opened, pixels
from tests.fake_upstream import until
from tests.server import KEY, Running

GENERATIONS = "/v1/images/generations"


@pytest.fixture(scope="module")
def pencil() -> Pencil:
    return Pencil()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, pencil: Pencil) -> Iterator[Running]:
    with drawing(tmp_path_factory.mktemp("drawing"), pencil) as one:
        yield one


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0) as one:
        yield one


def asked(server: Running, **fields: Any) -> raw.Answer:
    """Of a small picture by our own name, unless it says otherwise."""
    wanted = {"model": "echo", "prompt": "a red house", "size": "64x64", "response_format": "b64_json", **fields}
    body = {name: value for name, value in wanted.items() if value is not ...}
    return raw.ask(server, "POST", GENERATIONS, body)


# What comes back


def test_a_picture_is_a_png_with_what_drew_it(client: openai.OpenAI, pencil: Pencil) -> None:
    answer = client.images.generate(model="echo", prompt="a red house", size="256x256", response_format="b64_json")
    assert answer.data is not None
    (one,) = answer.data
    image: Any = opened(one.b64_json)
    assert (image.format, image.size, image.mode) == ("PNG", (256, 256), "RGB")
    seed = pencil.wishes[-1].seed
    assert image.getpixel((9, 9)) == colour("a red house", seed)
    assert image.text["homeport"] == f"a red house|{seed}"
    assert one.revised_prompt == "A field: a red house"
    assert (answer.usage, answer.size) == (None, None)


def test_an_engine_that_says_nothing_has_revised_nothing(server: Running) -> None:
    assert set(asked(server, prompt="plain").json["data"][0]) == {"b64_json"}


def test_several_pictures_differ_and_a_seed_gives_them_again(server: Running) -> None:
    first, again, other = (
        [one["b64_json"] for one in asked(server, n=3, seed=seed).json["data"]] for seed in (7, 7, 8)
    )
    assert first == again
    assert len(set(first)) == 3
    assert first[1:] == other[:2], "picture i is that of seed + i"
    assert pixels(first[2])[0, 0].tolist() == [*colour("a red house", 9), 255]


def test_without_a_seed_nobody_can_tell_what_comes(server: Running, pencil: Pencil) -> None:
    seeds = []
    for _ in range(2):
        assert asked(server).status == 200
        seeds.append(pencil.wishes[-1].seed)
    assert seeds[0] != seeds[1]


@pytest.mark.parametrize(("seed", "code"), [(-1, "integer_below_min_value"), (2**63, "integer_above_max_value")])
def test_a_seed_is_one_of_2_to_the_63(server: Running, seed: int, code: str) -> None:
    assert refused(asked(server, seed=seed), param="seed", code=code)


def test_the_last_seed_has_a_next_one(server: Running) -> None:
    made = asked(server, seed=2**63 - 1, n=2).json["data"]
    assert pixels(made[1]["b64_json"])[0, 0].tolist() == [*colour("a red house", 0), 255]


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_every_format_is_what_it_says(client: openai.OpenAI, kind: Any) -> None:
    answer = client.images.generate(
        model="gpt-image-1", prompt="a red house", output_format=kind, extra_body={"seed": 3}
    )
    assert answer.data is not None
    image = opened(answer.data[0].b64_json)
    assert (image.format, image.size) == (kind.upper(), (1024, 1024))
    off = np.abs(np.asarray(image.convert("RGB"), int) - colour("a red house", 3))
    assert off.max() <= (0 if kind == "png" else 4)
    assert answer.output_format == kind


def test_compression_makes_smaller_files(server: Running) -> None:
    best, least = (
        len(asked(server, output_format="jpeg", output_compression=one).json["data"][0]["b64_json"]) for one in (100, 0)
    )
    assert least < best


def test_a_gpt_image_says_what_it_made(client: openai.OpenAI) -> None:
    answer = client.images.generate(
        model="gpt-image-1", prompt="a red house", size="1536x1024", quality="low", background="transparent", n=2
    )
    assert (answer.size, answer.quality, answer.background, answer.output_format) == (
        "1536x1024",
        "low",
        "transparent",
        "png",
    )
    assert answer.usage is not None
    assert answer.usage.to_dict() == {
        "input_tokens": 3,
        "output_tokens": 800,
        "total_tokens": 803,
        "input_tokens_details": {"text_tokens": 3, "image_tokens": 0},
    }
    assert answer.data is not None
    made = pixels(answer.data[0].b64_json)
    assert made[0, 0, 3] == 0
    assert made[512, 768, 3] == 255


def test_transparency_of_an_opaque_background_is_white(client: openai.OpenAI, pencil: Pencil) -> None:
    answer = client.images.generate(model="gpt-image-1", prompt="a red house", quality="auto", background="opaque")
    assert (answer.background, answer.quality) == ("opaque", "medium")
    assert not pencil.wishes[-1].transparent


# What may be asked for


@pytest.mark.parametrize(
    ("model", "fields", "size", "quality", "style"),
    [
        ("dall-e-2", {}, (1024, 1024), "medium", None),
        ("dall-e-2", {"size": "256x256", "quality": "standard"}, (256, 256), "medium", None),
        ("dall-e-3", {}, (1024, 1024), "medium", "vivid"),
        ("dall-e-3", {"size": "1792x1024", "quality": "hd", "style": "natural"}, (1792, 1024), "high", "natural"),
        ("gpt-image-1", {"size": "auto"}, (1024, 1024), "medium", None),
        ("gpt-image-1", {"size": "1024x1536", "quality": "high", "moderation": "low"}, (1024, 1536), "high", None),
        ("gpt-image-2", {"size": "1600x592"}, (1600, 592), "medium", None),
        ("gpt-image-2", {"size": "3840x2160", "quality": "low"}, (3840, 2160), "low", None),
        ("echo", {"size": "64x1000", "quality": "hd", "style": "vivid"}, (64, 1000), "high", "vivid"),
        ("echo", {"user": "me", "background": "opaque"}, (1024, 1024), "medium", None),
    ],
)
def test_what_a_name_takes(
    server: Running, pencil: Pencil, model: str, fields: dict[str, Any], size: tuple[int, int], quality: str, style: str
) -> None:
    answer = raw.ask(server, "POST", GENERATIONS, {"model": model, "prompt": "a house", **fields})
    assert answer.status == 200, answer.body
    wish = pencil.wishes[-1]
    assert (wish.width, wish.height, wish.quality, wish.style) == (*size, quality, style)


UNKNOWN = "unknown_parameter"


@pytest.mark.parametrize(
    ("model", "fields", "param", "code", "words"),
    [
        ("dall-e-2", {"prompt": "a" * 1001}, "prompt", "string_above_max_length", "maximum length 1000, but got"),
        ("dall-e-3", {"prompt": "a" * 4001}, "prompt", "string_above_max_length", "maximum length 4000, but got"),
        ("gpt-image-1", {"prompt": "a" * 32001}, "prompt", "string_above_max_length", "32000, but got"),
        ("dall-e-3", {"prompt": ""}, "prompt", "empty_string", "empty string"),
        ("echo", {"prompt": " \n"}, "prompt", "empty_string", "empty string"),
        ("dall-e-3", {"n": 2}, "n", None, "You must provide n=1 for this model."),
        ("dall-e-2", {"n": 11}, "n", "integer_above_max_value", "<= 10"),
        ("dall-e-2", {"size": "1792x1024"}, "size", "invalid_value", "'256x256', '512x512', and '1024x1024'"),
        ("dall-e-2", {"size": "auto"}, "size", "invalid_value", "Supported values"),
        ("dall-e-3", {"size": "512x512"}, "size", "invalid_value", "'1792x1024', and '1024x1792'"),
        ("gpt-image-1", {"size": "512x512"}, "size", "invalid_value", "'1536x1024', and 'auto'"),
        ("gpt-image-1", {"size": "1600x1600"}, "size", "invalid_value", "Supported values"),
        ("gpt-image-2", {"size": "1792x936"}, "size", "invalid_value", "must both be divisible by 16"),
        ("gpt-image-2", {"size": "3856x2160"}, "size", "invalid_value", "3840 pixels or less"),
        ("gpt-image-2", {"size": "3200x1024"}, "size", "invalid_value", "between 1:3 and 3:1"),
        ("gpt-image-2", {"size": "512x512"}, "size", "invalid_value", "between 655360 and 8294400 pixels"),
        ("gpt-image-2", {"size": "3840x2176"}, "size", "invalid_value", "between 655360 and 8294400 pixels"),
        ("gpt-image-2", {"size": "big"}, "size", "invalid_value", "in pixels"),
        ("echo", {"size": "0x64"}, "size", "invalid_value", "in pixels"),
        ("echo", {"size": "63x64"}, "size", "invalid_size", "The size is not supported by this model."),
        ("echo", {"size": "64x4097"}, "size", "invalid_size", "64 to 4096 pixels"),
        ("dall-e-2", {"quality": "hd"}, "quality", "invalid_value", "'standard', and 'auto'"),
        ("dall-e-3", {"quality": "low"}, "quality", "invalid_value", "'hd', and 'auto'"),
        ("gpt-image-1", {"quality": "hd"}, "quality", "invalid_value", "'low', 'medium', 'high', and 'auto'"),
        ("dall-e-2", {"style": "vivid"}, "style", UNKNOWN, "Unknown parameter: 'style'."),
        ("gpt-image-1", {"style": "vivid"}, "style", UNKNOWN, "Unknown"),
        ("gpt-image-1", {"response_format": "b64_json"}, "response_format", UNKNOWN, "Unknown"),
        ("dall-e-3", {"output_format": "png"}, "output_format", UNKNOWN, "Unknown"),
        ("dall-e-3", {"background": "auto"}, "background", UNKNOWN, "Unknown"),
        ("dall-e-2", {"output_compression": 90}, "output_compression", UNKNOWN, "Unknown"),
        ("dall-e-2", {"moderation": "low"}, "moderation", UNKNOWN, "Unknown"),
        ("dall-e-3", {"stream": True}, "stream", UNKNOWN, "Unknown"),
        ("dall-e-3", {"partial_images": 0}, "partial_images", UNKNOWN, "Unknown"),
        ("gpt-image-1", {"partial_images": 4, "stream": True}, "partial_images", "integer_above_max_value", "<= 3"),
        ("gpt-image-1", {"partial_images": 1}, "partial_images", None, "Set `stream` to true"),
        ("echo", {"stream": True, "response_format": "url"}, "response_format", None, "no addresses"),
        (
            "gpt-image-1",
            {"output_compression": 50},
            "output_compression",
            "invalid_png_output_compression",
            "not supported for PNG",
        ),
        ("gpt-image-1", {"output_format": "gif"}, "output_format", "invalid_value", "'jpeg', 'png', and 'webp'"),
        (
            "gpt-image-1",
            {"background": "transparent", "output_format": "jpeg"},
            "background",
            "invalid_value",
            "not supported for JPEG",
        ),
        ("echo", {"prompt": "ж"}, "prompt", None, "nothing in the prompt that this model can draw"),
        ("echo", {"steps": 30}, None, None, "Unrecognized request argument supplied: steps"),
    ],
)
def test_what_a_name_does_not_take(
    server: Running, model: str, fields: dict[str, Any], param: str | None, code: str | None, words: str
) -> None:
    answer = raw.ask(server, "POST", GENERATIONS, {"model": model, "prompt": "a house", **fields})
    assert words in refused(answer, param=param, code=code)


@pytest.fixture(scope="module")
def poor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """It can as little as may be."""
    pencil = Pencil(
        prompt=77,
        smallest=256,
        largest=768,
        multiple=64,
        native=512,
        transparent=False,
        edits=False,
        varies="none",
        unfinished=False,
        steers=False,
    )
    with drawing(tmp_path_factory.mktemp("poor"), pencil) as one:
        yield one


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": "gpt-image-1", "background": "transparent"}, "background", "invalid_value"),
        ({"model": "dall-e-3", "style": "natural"}, "style", "unsupported_parameter"),
        ({"model": "dall-e-3", "size": "1024x1024"}, "size", "invalid_size"),
        ({"model": "echo", "size": "500x500"}, "size", "invalid_size"),
        ({"model": "dall-e-3", "prompt": "a" * 78}, "prompt", "string_above_max_length"),
    ],
)
def test_what_the_engine_cannot_is_not_promised(poor: Running, fields: dict[str, Any], param: str, code: str) -> None:
    assert refused(raw.ask(poor, "POST", GENERATIONS, {"prompt": "a house", **fields}), param=param, code=code)


@pytest.mark.parametrize("model", ["dall-e-2", "dall-e-3", "gpt-image-1", "echo"])
def test_unasked_it_draws_in_the_size_that_it_can(poor: Running, model: str) -> None:
    fields = {} if model == "gpt-image-1" else {"response_format": "b64_json"}
    made = raw.ask(poor, "POST", GENERATIONS, {"model": model, "prompt": "a house", **fields}).json["data"]
    assert opened(made[0]["b64_json"]).size == (512, 512)


def test_what_is_asked_for_and_happens_anyway_is_taken(poor: Running) -> None:
    fields = {"style": "vivid", "quality": "hd", "response_format": "b64_json"}
    assert raw.ask(poor, "POST", GENERATIONS, {"model": "dall-e-3", "prompt": "a house", **fields}).status == 200


# Streams


def test_a_stream_shows_pictures_in_the_making(client: openai.OpenAI) -> None:
    events = list(
        client.images.generate(
            model="gpt-image-1",
            prompt="a red house",
            stream=True,
            partial_images=2,
            size="1024x1536",
            quality="low",
            n=2,
            extra_body={"seed": 5},
        )
    )
    kinds = ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert [event.type for event in events] == kinds * 2
    partial = [event for event in events if event.type == "image_generation.partial_image"]
    assert [event.partial_image_index for event in partial] == [0, 1, 0, 1]
    assert [int(pixels(event.b64_json)[0, 0, 3]) for event in events] == [40, 80, 255] * 2
    assert "homeport" not in opened(events[0].b64_json).info
    assert {(event.size, event.quality, event.output_format) for event in events} == {("1024x1536", "low", "png")}
    assert [event.background for event in events] == ["transparent", "transparent", "opaque"] * 2
    finished = [event for event in events if event.type == "image_generation.completed"]
    assert [event.usage.to_dict() for event in finished] == [
        {
            "input_tokens": text,
            "output_tokens": 608,
            "total_tokens": text + 608,
            "input_tokens_details": {"text_tokens": text, "image_tokens": 0},
        }
        for text in (3, 0)
    ]
    for event, seed in zip(finished, (5, 6), strict=True):
        assert pixels(event.b64_json)[9, 9].tolist() == [*colour("a red house", seed), 255]


def test_who_cannot_show_them_shows_the_finished_one(poor: Running) -> None:
    with openai.OpenAI(base_url=poor.base_url, api_key=KEY, max_retries=0) as client:
        events = list(client.images.generate(model="gpt-image-1", prompt="a house", stream=True, partial_images=3))
    assert [event.type for event in events] == ["image_generation.completed"]


def test_what_cannot_be_drawn_is_an_error_and_no_stream(server: Running) -> None:
    answer = raw.ask(server, "POST", GENERATIONS, {"model": "gpt-image-1", "prompt": "ж", "stream": True})
    assert refused(answer, param="prompt")
    broken = raw.ask(server, "POST", GENERATIONS, {"model": "gpt-image-1", "prompt": "fail", "stream": True})
    assert broken.status == 500


# The ledger, and who leaves


def receipt(server: Running, request_id: str) -> Any:
    path = f"/v1/homeport/receipts/{request_id}"
    assert until(lambda: raw.ask(server, "GET", path).status == 200)
    return raw.ask(server, "GET", path).json


def test_pictures_are_counted(server: Running) -> None:
    one = asked(server, n=2, size="128x128", quality="high")
    counted = receipt(server, one.headers["x-request-id"])
    assert counted["usage"]["images"] == 2
    assert counted["usage"]["input_tokens"] == 0
    two = raw.ask(server, "POST", GENERATIONS, {"model": "gpt-image-1", "prompt": "a red house", "quality": "high"})
    counted = receipt(server, two.headers["x-request-id"])
    usage = counted["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["output_image_tokens"]) == (3, 0, 4160)


def test_the_drawing_ends_when_its_client_leaves(server: Running, pencil: Pencil) -> None:
    """No picture is begun for him any more."""
    pencil.gate.clear()
    pencil.wishes.clear()
    pencil.left.clear()
    body = {"model": "echo", "prompt": "wait", "size": "64x64", "n": 3}
    try:
        with raw.connect(server) as connection:
            connection.sendall(raw.request_bytes(body, path=GENERATIONS, extra="Content-Type: application/json\r\n"))
            assert until(lambda: len(pencil.wishes) == 1)
        assert until(lambda: len(pencil.left) == 1)
        assert until(lambda: pencil.occupancy()[0].busy == 0), "the place is free again"
    finally:
        pencil.gate.set()
    assert asked(server).status == 200
    assert [wish.prompt for wish in pencil.wishes] == ["wait", "a red house"]


def test_who_leaves_a_stream_pays_for_what_was_shown(server: Running, client: openai.OpenAI, pencil: Pencil) -> None:
    pencil.left.clear()
    stream = client.images.generate(
        model="gpt-image-1", prompt="a house", stream=True, partial_images=3, n=10, quality="low", output_format="jpeg"
    )
    with stream:
        for event in stream:
            if event.type == "image_generation.completed":
                break
    assert until(lambda: pencil.occupancy()[0].busy == 0)
    counted = receipt(server, stream.response.headers["x-request-id"])
    assert 1 <= counted["usage"]["images"] < 10
    assert counted["outcome"] == "left"
