"""What stands between a client and whoever draws for it, as for chat: limits, budgets, usage, the cache, idempotency
keys, recordings, moderation."""

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from homeport import records
from tests import fake_upstream as fake
from tests.api import raw
from tests.api.forms import part, post
from tests.fake_upstream import dead_port, png, until, whole
from tests.server import KEY, Running, running
from tests.upstreams.homeports import Relay, relaying

GENERATIONS = "/v1/images/generations"
EDITS = "/v1/images/edits"
ON = {"x-homeport-cache": "on"}


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    settings: Any = {
        "prices": {
            "priced-pictures": {"per_image": {"1024x1024": "0.5", "1024x1792": "2"}},
            "gpt-image-1": {"input": "5", "input_image": "10", "output": "40"},
        },
    }
    with relaying(tmp_path_factory.mktemp("steps"), settings) as made:
        yield made


def draw(server: Running, model: str, *, key: str = KEY, headers: Any = None, **more: Any) -> raw.Answer:
    return raw.ask(server, "POST", GENERATIONS, {"model": model, "prompt": "a house", **more}, headers, key=key)


def edit(server: Running, model: str, *, picture: bytes = png(), headers: Any = None, **more: str) -> raw.Answer:
    fields = {"model": model, "prompt": "a hat", **more}
    sent = [part(f'name="{name}"', value.encode()) for name, value in fields.items()]
    return post(server, [*sent, part('name="image"; filename="a.png"', picture)], EDITS, **(headers or {}))


def new_key(server: Running, name: str, *, cents: int | None = None) -> tuple[str, str]:
    """A project and its key, with so much to spend."""
    with openai.OpenAI(base_url=server.base_url, api_key="none", admin_api_key=KEY) as admin:
        project = admin.admin.organization.projects.create(name=name).id
    path = f"/v1/homeport/projects/{project}/api_keys"
    made = raw.ask(server, "POST", path, {"name": "k"}).json
    key = made["value"]
    if cents is not None:
        limit = {"threshold_amount": cents, "currency": "USD", "interval": "total"}
        assert raw.ask(server, "POST", f"{path}/{made['id']}/spend_limit", limit).status == 200
    assert until(lambda: raw.ask(server, "GET", "/v1/models", key=key).status == 200)
    return project, key


def told(answer: raw.Answer) -> str | None:
    return answer.headers.get("x-homeport-cache")


# limits


def test_pictures_a_minute_are_limited(relay: Relay) -> None:
    project, key = new_key(relay.homeport, "slow painters")
    with openai.OpenAI(base_url=relay.homeport.base_url, api_key="none", admin_api_key=KEY) as admin:
        admin.admin.organization.projects.rate_limits.update_rate_limit(
            "rl-dall-e-2", project_id=project, max_images_per_1_minute=5, max_requests_per_1_minute=50
        )
    assert until(lambda: "x-ratelimit-limit-requests" in draw(relay.homeport, "dall-e-2", key=key, n=1).headers)
    first = draw(relay.homeport, "dall-e-2", key=key, n=3)
    assert first.status == 200
    assert first.headers["x-ratelimit-limit-requests"] == "50"
    assert int(first.headers["x-ratelimit-remaining-requests"]) < 50
    second = draw(relay.homeport, "dall-e-2", key=key, n=3)
    assert (second.status, second.error["code"]) == (429, "rate_limit_exceeded")
    assert "images per min (IPM): Limit 5, Used " in second.error["message"]
    assert "Requested 3" in second.error["message"]
    assert 1 <= int(second.headers["retry-after"]) <= 60
    many = draw(relay.homeport, "dall-e-2", key=key, n=6)
    assert "Request too large" in many.error["message"]
    assert "number of images must be reduced" in many.error["message"]


# budgets


def test_a_budget_reserves_all_pictures(relay: Relay) -> None:
    _, key = new_key(relay.homeport, "poor", cents=300)
    refused = draw(relay.homeport, "priced-pictures", key=key, n=10)
    assert (refused.status, refused.error["code"]) == (429, "insufficient_quota")
    odd = draw(relay.homeport, "priced-pictures", key=key, n=2, size="1x1")
    assert odd.status == 429  # it might be the dearest
    assert draw(relay.homeport, "priced-pictures", key=key, n=4, response_format="b64_json").status == 200
    assert draw(relay.homeport, "priced-pictures", key=key, n=3).status == 429  # $1 is left
    assert draw(relay.homeport, "priced-pictures", key=key, n=2).status == 200
    unknown = draw(relay.homeport, "no-price", key=key)
    assert (unknown.status, unknown.error["code"]) == (403, "model_price_unknown")


def test_tokens_of_pictures_are_reserved_and_given_back(relay: Relay) -> None:
    _, key = new_key(relay.homeport, "tokens", cents=50)
    assert draw(relay.homeport, "gpt-image-1", key=key, n=10).status == 429  # 65,000 tokens at $40 a million
    answer = draw(relay.homeport, "gpt-image-1", key=key)
    assert answer.status == 200, answer.body
    assert answer.headers["x-homeport-cost"] == "0.01113"  # 10 x $5, 20 x $10, 272 x $40 a million
    assert draw(relay.homeport, "gpt-image-1", key=key).status == 200


# usage


def test_the_page_of_images(relay: Relay) -> None:
    _, key = new_key(relay.homeport, "counted")
    begin = int(time.time()) - 5
    draw(relay.homeport, "page-a", key=key, n=2, size="512x512", quality="hd")
    draw(relay.homeport, "page-b", key=key)
    relay.rows("page-a")
    relay.rows("page-b")
    edit(relay.homeport, "page-b", size="256x256")
    relay.rows("page-b", 2)
    with openai.OpenAI(base_url=relay.homeport.base_url, api_key="none", admin_api_key=KEY) as admin:
        buckets = admin.admin.organization.usage.images(
            start_time=begin, group_by=["size", "source"], models=["page-a", "page-b"]
        ).data
    found: Any = [one for bucket in buckets for one in bucket.results]
    assert {(one.size, one.source, one.images, one.num_model_requests) for one in found} == {
        ("512x512", "image.generation", 2, 1),
        ("1024x1024", "image.generation", 1, 1),
        ("256x256", "image.edit", 1, 1),
    }


# the cache


def test_pictures_are_given_again_where_it_is_asked(relay: Relay) -> None:
    assert told(draw(relay.homeport, "again")) is None
    first, again = (draw(relay.homeport, "again-cached", headers=ON) for _ in range(2))
    assert (told(first), told(again)) == ("miss", "hit")
    urls = [one.json["data"][0]["url"] for one in (first, again)]
    assert urls[0] != urls[1]  # each has an address of its own
    for url in urls:
        path = url.removeprefix(relay.homeport.url)
        assert raw.ask(relay.homeport, "GET", path, b"", {"Authorization": None}).body == png(colour=0)
    assert len(relay.fake.received_for("again-cached")) == 1
    assert told(draw(relay.homeport, "again-cached", headers=ON, response_format="b64_json")) == "miss"
    paid, free, _ = relay.rows("again-cached", 3)
    assert (paid["images"], free["images"], free["cache_hit"]) == (1, 1, 1)


def test_addresses_that_expire_are_not_kept(relay: Relay) -> None:
    first, again = (draw(relay.homeport, "dall-e-2", headers=ON, prompt="not kept") for _ in range(2))
    assert (told(first), told(again)) == ("miss", "miss")
    assert first.json["data"][0]["url"].startswith(fake.PICTURE_URL)


def test_an_edit_is_told_by_its_pictures(relay: Relay) -> None:
    first = edit(relay.homeport, "cached-edit", headers=ON)
    again = edit(relay.homeport, "cached-edit", headers=ON)
    other = edit(relay.homeport, "cached-edit", headers=ON, picture=png(colour=9))
    assert (told(first), told(again), told(other)) == ("miss", "hit", "miss")


def test_a_stream_is_given_again(relay: Relay) -> None:
    first, again = (draw(relay.homeport, "gpt-image-cached", headers=ON, stream=True) for _ in range(2))
    assert (told(first), told(again)) == ("miss", "hit")
    assert first.body == again.body
    assert raw.events(again.body)[-1]["type"] == "image_generation.completed"


# idempotency keys


def test_a_form_that_is_sent_again_is_drawn_once(relay: Relay) -> None:
    headers = {"Idempotency-Key": "one"}
    first, again = (edit(relay.homeport, "once", headers=headers) for _ in range(2))
    assert (first.status, again.status) == (200, 200)
    assert first.body == again.body
    assert again.headers["idempotent-replayed"] == "true"
    assert len(relay.fake.received_for("once")) == 1
    other = edit(relay.homeport, "once", headers=headers, picture=png(colour=9))
    assert (other.status, other.error["code"]) == (400, "idempotency_key_reused")
    url = {"image_url": "data:image/png;base64," + base64.b64encode(png()).decode()}
    body = {"model": "once-json", "prompt": "a hat", "images": [url]}
    first, again = (raw.ask(relay.homeport, "POST", EDITS, body, {"Idempotency-Key": "two"}) for _ in range(2))
    assert first.body == again.body
    assert len(relay.fake.received_for("once-json")) == 1


# recordings


@pytest.mark.parametrize("kind", ["addresses", "bytes", "edit", "stream"])
def test_what_was_recorded_is_given_again(tmp_path: Path, kind: str) -> None:
    def ask(server: Running) -> raw.Answer:
        if kind == "edit":
            return edit(server, "gpt-image-far")
        if kind == "stream":
            return draw(server, "gpt-image-far", stream=True)
        return draw(server, "far", response_format="b64_json" if kind == "bytes" else "url")

    tapes = tmp_path / "tapes"
    with relaying(tmp_path / "a", {"recording": {"record": str(tapes)}}) as relay:
        first = ask(relay.homeport)
    gone = {"far": {"base_url": f"http://127.0.0.1:{dead_port()}/v1", "api_key": "sk-none"}}
    with running(tmp_path / "b", {"recording": {"replay": str(tapes), "speed": 0}, "upstreams": gone}) as homeport:
        again = ask(homeport)
        assert "x-homeport-replay" in again.headers
        if kind != "addresses":
            assert again.body == first.body
        else:
            path = again.json["data"][0]["url"].removeprefix(homeport.url)
            assert raw.ask(homeport, "GET", path, b"").body == png(colour=0)
        assert draw(homeport, "far", prompt="another").status == 404


def test_a_picture_in_which_a_secret_seems_to_be_stays_whole(tmp_path: Path) -> None:
    """Of the letters of base64 some look like a key of Google's: in 50 MB one or two."""
    picture = base64.b64encode(png()).decode().rstrip("=")[:-1]
    picture = picture[: len(picture) // 4 * 4] + "AIza" + "a" * 400
    key = "AIza" + "b" * 35
    body = json.dumps({"created": 1, "data": [{"b64_json": picture, "revised_prompt": key}]}).encode()
    tapes = tmp_path / "tapes"
    with relaying(tmp_path / "a", {"recording": {"record": str(tapes)}}) as relay:
        relay.fake.by_model["far"] = lambda visit: visit.send(whole(body))
        draw(relay.homeport, "far", response_format="b64_json")
    (tape,) = tapes.glob("*/*.json")
    assert picture in tape.read_text()
    assert key not in tape.read_text()
    shown = records.shown(tape)
    assert f"({len(picture)} characters of base64)" in shown
    assert picture not in shown


# moderation


def test_the_prompt_is_moderated(tmp_path: Path) -> None:
    with relaying(tmp_path, {"models": {"echo": {"engine": "echo"}}}) as relay:
        with openai.OpenAI(base_url=relay.homeport.base_url, api_key="none", admin_api_key=KEY) as admin:
            project = next(iter(admin.admin.organization.projects.list())).id
        path = f"/v1/homeport/projects/{project}/moderation"
        policy = {"input": {"mode": "block"}, "output": {"mode": "block"}}
        assert raw.ask(relay.homeport, "POST", path, {"model": "echo", "policy": policy}).status == 200
        assert until(lambda: draw(relay.homeport, "gpt-image-far", prompt="This is violence").status == 400)
        answer = draw(relay.homeport, "gpt-image-far")
        assert base64.b64decode(answer.json["data"][0]["b64_json"]) == png(colour=0)
        assert json.loads(answer.body)["usage"] == fake.TOKENS_DRAWN
        events = raw.events(draw(relay.homeport, "gpt-image-far", stream=True).body)
        assert events[-1]["type"] == "image_generation.completed"
