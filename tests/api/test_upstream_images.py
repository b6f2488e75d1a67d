"""Pictures through a whole Homeport from an upstream: what goes there, what comes back, what it is counted as."""

import base64
import json
import warnings
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from homeport.backends.upstreams import pictures
from tests import fake_upstream as fake
from tests.api import raw
from tests.api.forms import part, post
from tests.fake_upstream import FakeUpstream, Visit, chunked, fake_upstream, png, whole
from tests.server import KEY
from tests.upstreams.homeports import UPSTREAM_KEY, Relay, relaying

GENERATIONS = "/v1/images/generations"
EDITS = "/v1/images/edits"
PICTURE = png()


@pytest.fixture(scope="module")
def azure() -> Iterator[FakeUpstream]:
    with fake_upstream() as made:
        yield made


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, azure: FakeUpstream) -> Iterator[Relay]:
    settings: Any = {
        "upstreams": {
            "blue": {"kind": "azure", "base_url": azure.url, "api_key": "azure-key", "models": ["gpt-image-blue"]}
        },
        "routes": {"dall-e-3": {"targets": [{"upstream": "far", "model": "gpt-image-1"}]}},
        "prices": {
            "priced-tokens": {"input": "5", "input_image": "10", "output": "0", "output_image": "40"},
            "priced-pictures": {"per_image": {"1024x1024": "0.04", "hd 1024x1024": "0.08"}},
            "gpt-image-priced": {"input": "5", "input_image": "10", "output": "0", "output_image": "40"},
        },
    }
    with relaying(tmp_path_factory.mktemp("relay"), settings) as made:
        yield made


@pytest.fixture(scope="module")
def client(relay: Relay) -> Iterator[openai.OpenAI]:
    with relay.client() as made:
        yield made


def last(relay: Relay) -> Visit:
    return relay.fake.received[-1]


def draw(relay: Relay, model: str, **more: Any) -> raw.Answer:
    return raw.ask(relay.homeport, "POST", GENERATIONS, {"model": model, "prompt": "a house", **more})


def test_bytes_and_counts_pass(relay: Relay, client: openai.OpenAI) -> None:
    answer = client.images.with_raw_response.generate(
        model="gpt-image-far", prompt="Grüße", n=2, quality="low", size="1024x1024", extra_body={"x_extra": "kept"}
    )
    visit = last(relay)
    assert visit.path == GENERATIONS
    assert visit.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert visit.json["x_extra"] == "kept"
    parsed = answer.parse()
    assert parsed.data is not None
    assert [base64.b64decode(one.b64_json or "") for one in parsed.data] == [png(colour=0), png(colour=1)]
    assert answer.http_response.json()["x_extra"] == {"kept": 1.5}
    (row,) = relay.rows("gpt-image-far")
    assert (row["images"], row["size"], row["page"], row["estimated"]) == (2, "low 1024x1024", "images", 0)
    assert (row["input_tokens"], row["input_image_tokens"]) == (10, 20)
    assert (row["output_tokens"], row["output_image_tokens"]) == (0, 272)


def test_an_upstreams_address_is_passed_on(relay: Relay, client: openai.OpenAI) -> None:
    answer = client.images.generate(model="dall-e-2", prompt="a house", n=2, size="512x512")
    assert answer.data is not None
    assert [one.url for one in answer.data] == [f"{fake.PICTURE_URL}&n={number}" for number in (0, 1)]
    (row,) = relay.rows("dall-e-2")
    assert (row["images"], row["size"], row["estimated"]) == (2, "512x512", 0)
    assert row["cost_pico"] == 2 * 18_000_000_000


@pytest.mark.parametrize("asked", [{}, {"response_format": "url"}, {"response_format": "b64_json"}], ids=str)
def test_gpt_image_under_the_name_of_dall_e(relay: Relay, client: openai.OpenAI, asked: Any) -> None:
    """It always gives bytes, and refuses to be asked for anything else."""
    answer = client.images.generate(model="dall-e-3", prompt="a house", **asked)
    assert "response_format" not in last(relay).json
    assert last(relay).json["model"] == "gpt-image-1"
    assert answer.data is not None
    (picture,) = answer.data
    if asked.get("response_format") == "b64_json":
        assert base64.b64decode(picture.b64_json or "") == png(colour=0)
    else:
        assert picture.url is not None
        assert picture.url.startswith(f"{relay.homeport.url}/v1/homeport/images/")
        path = picture.url.removeprefix(relay.homeport.url)
        assert raw.ask(relay.homeport, "GET", path, b"", {"Authorization": None}).body == png(colour=0)


def test_its_own_name_refuses_it_as_openai_does(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="Unknown parameter: 'response_format'"):
        client.images.generate(model="gpt-image-1", prompt="a house", response_format="b64_json")


def test_an_edit_is_written_again(relay: Relay, client: openai.OpenAI) -> None:
    sent = [("first.png", png(colour=1)), ("second", png(colour=2))]
    client.images.edit(
        model="gpt-image-edit", image=sent, mask=("mask.png", PICTURE), prompt="a\r\nhat", n=1, background="opaque"
    )
    visit = last(relay)
    assert visit.path == EDITS
    assert visit.json == {"model": "gpt-image-edit", "prompt": "a\r\nhat", "n": "1", "background": "opaque"}
    files = [(one.name, one.filename, one.kind, one.content) for one in visit.parts if one.filename is not None]
    assert files == [
        ("image[]", "first.png", "image/png", png(colour=1)),
        ("image[]", "second", "image/png", png(colour=2)),  # by its bytes
        ("mask", "mask.png", "image/png", PICTURE),
    ]
    (row,) = relay.rows("gpt-image-edit")
    assert (row["images"], row["endpoint"], row["page"]) == (1, "images.edits", "images")


def test_one_picture_goes_as_one(relay: Relay, client: openai.OpenAI) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client.images.create_variation(model="dall-e-2", image=("a.png", PICTURE), n=1, size="256x256")
    visit = last(relay)
    assert visit.path == "/v1/images/variations"
    assert [one.name for one in visit.parts if one.filename is not None] == ["image"]
    client.images.edit(model="dall-e-2", image=("a.png", PICTURE), prompt="a hat")
    assert [one.name for one in last(relay).parts if one.filename is not None] == ["image"]


@pytest.mark.parametrize("edit", [False, True])
def test_a_stream(relay: Relay, client: openai.OpenAI, edit: bool) -> None:
    model = f"gpt-image-stream-{edit}"
    if edit:
        events: list[Any] = list(
            client.images.edit(model=model, image=("a.png", PICTURE), prompt="x", stream=True, partial_images=1)
        )
    else:
        events = list(client.images.generate(model=model, prompt="x", stream=True, partial_images=1))
    kind = "image_edit" if edit else "image_generation"
    assert [one.type for one in events] == [f"{kind}.partial_image", f"{kind}.completed"]
    assert base64.b64decode(events[-1].b64_json) == png(colour=0)
    (row,) = relay.rows(model)
    assert (row["outcome"], row["images"], row["size"], row["output_image_tokens"]) == (
        "completed",
        1,
        "low 1024x1024",
        272,
    )


def test_a_stream_has_all_pictures_and_no_done(relay: Relay) -> None:
    answer = draw(relay, "gpt-image-many", n=3, stream=True)
    assert [one["type"].rpartition(".")[2] for one in raw.events(answer.body)] == ["partial_image", *["completed"] * 3]
    (row,) = relay.rows("gpt-image-many")
    assert (row["images"], row["output_image_tokens"], row["input_image_tokens"]) == (3, 3 * 272, 60)


def test_a_model_that_does_not_stream_answers_plainly(relay: Relay) -> None:
    answer = draw(relay, "sd-far", stream=True)
    assert answer.headers["content-type"] == "application/json"
    assert base64.b64decode(answer.json["data"][0]["b64_json"]) == png(colour=0)


def test_a_stream_without_its_last_picture_is_broken_off(relay: Relay) -> None:
    def behave(visit: Visit) -> None:
        fake.stream(visit, fake.drawn_events(visit, completed=False))

    relay.fake.by_model["gpt-image-short"] = behave
    *events, error = raw.events(draw(relay, "gpt-image-short", n=2, stream=True).body)
    assert [one["type"].rpartition(".")[2] for one in events] == ["partial_image", "completed"]
    assert error["error"]["code"] == "upstream_cut"
    (row,) = relay.rows("gpt-image-short")
    assert (row["outcome"], row["images"]) == ("failed", 1)


def test_an_event_of_many_megabytes_comes_whole(relay: Relay) -> None:
    large = base64.b64encode(PICTURE + bytes(range(256)) * 90_000).decode()  # 30 MB

    def behave(visit: Visit) -> None:
        visit.hurry()
        one = json.loads(fake.drawn_events(visit)[-1][6:])
        visit.send(fake.STREAM_HEAD)
        visit.send(chunked(fake.event({**one, "b64_json": large})) + b"0\r\n\r\n")

    relay.fake.by_model["gpt-image-large"] = behave
    (event,) = raw.events(draw(relay, "gpt-image-large", stream=True).body)
    assert event["b64_json"] == large


def test_an_answer_of_many_megabytes_comes_whole(relay: Relay) -> None:
    large = base64.b64encode(PICTURE + bytes(range(256)) * 30_000).decode()
    body = json.dumps({"created": 1, "data": [{"b64_json": large}] * 8}).encode()  # 82 MB

    def behave(visit: Visit) -> None:
        visit.hurry()
        visit.send(whole(body))

    relay.fake.by_model["far-large"] = behave
    assert draw(relay, "far-large", n=8, response_format="b64_json").body == body
    answer = draw(relay, "far-large", n=8)
    urls = [one["url"] for one in answer.json["data"]]
    assert len({*urls}) == 8
    path = urls[-1].removeprefix(relay.homeport.url)
    assert raw.ask(relay.homeport, "GET", path, b"").body == base64.b64decode(large)


@pytest.mark.parametrize(
    ("behaviour", "status", "code"),
    [
        (lambda visit: visit.send(whole(b'{"created": 1}')), 503, "upstream_malformed"),
        (lambda visit: visit.send(whole(b'{"created": 1, "data": []}')), 503, "upstream_malformed"),
        (lambda visit: visit.send(whole(b'{"created": 1, "data": [{}]}')), 503, "upstream_malformed"),
        (lambda visit: visit.send(whole(b'{"created": 1, "data": [{"b64_json": ""}]}')), 503, "upstream_malformed"),
        (lambda visit: visit.send(whole(b'{"created": 1, "data": [{"b64_json": "AAAA"}]}')), 503, "upstream_malformed"),
        (lambda visit: visit.send(whole(b'{"created": 1, "data": [{"b64_json": "iVBORw0KGgo"}]}')), 503, None),
        (lambda visit: visit.send(whole(b'{"created": 1, "data": [{"b64_json": 7}]}')), 503, "upstream_malformed"),
        (lambda visit: visit.send(whole(b"<html>", content_type="text/html")), 503, "upstream_malformed"),
        (lambda visit: visit.send(whole(b'{"error": {"message": "No.", "code": "moderation_blocked"}}', 400)), 400, 1),
        (lambda visit: visit.send(whole(b"{}", 401)), 503, "upstream_authentication_failed"),
        (lambda visit: visit.close(), 503, "upstream_cut"),
        (lambda visit: (visit.send(whole(b'{"created": 1}')[:-3]), visit.close()), 503, "upstream_cut"),
    ],
)
def test_what_goes_wrong_is_said(relay: Relay, behaviour: Any, status: int, code: Any) -> None:
    code = {None: "upstream_malformed", 1: "moderation_blocked"}.get(code, code)
    relay.fake.by_model["far-broken"] = behaviour
    answer = draw(relay, "far-broken")
    assert (answer.status, answer.error["code"]) == (status, code)


def test_what_is_too_large_is_said(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "LARGEST_PICTURES", 100_000)
    relay.fake.by_model["far-huge"] = lambda visit: visit.send(whole(b"[" * 200_000))
    answer = draw(relay, "far-huge")
    assert (answer.status, answer.error["code"]) == (503, "upstream_answer_too_large")


def test_azures_deployments(relay: Relay, azure: FakeUpstream, client: openai.OpenAI) -> None:
    client.images.generate(model="gpt-image-blue", prompt="a house")
    visit = azure.received[-1]
    assert visit.path == "/openai/deployments/gpt-image-blue/images/generations?api-version=2024-10-21"
    assert visit.headers["api-key"] == "azure-key"
    client.images.edit(model="gpt-image-blue", image=("a.png", PICTURE), prompt="a hat")
    assert azure.received[-1].path == "/openai/deployments/gpt-image-blue/images/edits?api-version=2024-10-21"
    with openai.AzureOpenAI(
        azure_endpoint=relay.homeport.url, api_key=KEY, api_version="2024-10-21", max_retries=0
    ) as styled:
        answer = styled.images.generate(model="gpt-image-blue", prompt="a house")
        events = list(styled.images.generate(model="gpt-image-blue", prompt="a house", stream=True))
    assert answer.data is not None
    assert base64.b64decode(answer.data[0].b64_json or "") == png(colour=0)
    assert [one.type for one in events] == ["image_generation.partial_image", "image_generation.completed"]


def test_prices_by_token_and_by_picture(relay: Relay) -> None:
    draw(relay, "gpt-image-priced")
    (row,) = relay.rows("gpt-image-priced")
    assert row["cost_pico"] == 10 * 5_000_000 + 20 * 10_000_000 + 272 * 40_000_000
    draw(relay, "priced-pictures", n=2, quality="hd", response_format="b64_json")
    (row,) = relay.rows("priced-pictures")
    assert (row["cost_pico"], row["size"]) == (2 * 80_000_000_000, "hd 1024x1024")


def test_who_counts_no_tokens_is_charged_by_openais_table(relay: Relay) -> None:
    draw(relay, "priced-tokens", n=2, quality="high", size="1024x1536")
    (row,) = relay.rows("priced-tokens")
    assert (row["images"], row["output_image_tokens"], row["estimated"]) == (2, 2 * 6240, 1)
    assert row["cost_pico"] == 2 * 6240 * 40_000_000


def test_a_form_that_is_sent_again_is_whole(relay: Relay) -> None:
    """Over a kept connection that dies before an answer; the file is read anew."""
    draw(relay, "far-again")
    relay.fake.script.append(lambda visit: visit.close())
    model, prompt = part('name="model"', b"far-again"), part('name="prompt"', b"x")
    answer = post(relay.homeport, [model, prompt, part('name="image"; filename="a"', PICTURE)], EDITS)
    assert answer.status == 200
    assert [visit.sound for visit in relay.fake.received[-2:]] == [PICTURE, PICTURE]
