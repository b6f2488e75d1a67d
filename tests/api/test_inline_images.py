"""Images given by URL, through a whole Homeport: fetched here, and sent to the upstream in the request."""

import base64
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest

from homeport.errors import SettingsError
from tests.api import raw
from tests.fake_upstream import TEXT, FakeUpstream, Visit, events, fake_upstream, until, whole
from tests.server import running
from tests.upstreams import faults
from tests.upstreams.homeports import Relay, relaying
from tests.upstreams.test_fetcher import JPEG, PNG, SVG, redirecting

LARGE = PNG.ljust(600 * 1024, b"x")
IMAGES = {"/a.png": PNG, "/b.jpg": JPEG, "/large-1.png": LARGE, "/large-2.png": LARGE, "/drawing.svg": SVG}


def serve(visit: Visit) -> None:
    """What a path of the web leads to, whatever its query."""
    path = visit.path.partition("?")[0]
    if path in IMAGES:
        visit.send(whole(IMAGES[path], 200, "image/png"))
    elif path == "/moved":
        redirecting("/a.png")(visit)
    elif path == "/inside":
        redirecting("http://169.254.169.254/latest/meta-data")(visit)
    elif path == "/silent":
        visit.wait_until_left()
    else:
        faults.status(404)(visit)


@dataclass(frozen=True)
class House:
    """A Homeport between clients, the web and its upstreams. relay.fake: `far`, which wants images in the request, as
    `other` does; `near` wants URLs."""

    relay: Relay
    web: FakeUpstream
    near: FakeUpstream
    other: FakeUpstream

    def url(self, path: str) -> str:
        return self.web.url + path

    def sent(self, model: str) -> Any:
        """The messages that `far` got last."""
        return self.relay.fake.received_for(model)[-1].json["messages"]

    def ask(self, model: str, *parts: Any, **fields: Any) -> raw.Answer:
        return raw.ask(self.relay.homeport, body={"model": model, "messages": looking(*parts), **fields})

    def refused(self, model: str, *parts: Any) -> openai.BadRequestError:
        """The upstream is not asked."""
        with self.relay.client() as client, pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model=model, messages=looking(*parts))
        assert caught.value.type == "invalid_request_error"
        assert caught.value.code == "invalid_image_url"
        assert not self.relay.fake.received_for(model)
        return caught.value


@pytest.fixture(scope="module", params=[True, False], ids=["lane", "asgi"])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with fake_upstream() as web, fake_upstream() as near, fake_upstream() as other:
        web.by_model[""] = serve
        once = {"retries": 0, "failures": 0}
        settings = {
            "fetch": {"allow": [f"127.0.0.1:{web.port}"], "max_total_mb": 1, "seconds": 5},
            "aliases": {"first-or-second": ("first", "second"), "first-or-urls": ("first", "urls"), "nick": "far-name"},
            "upstreams": {
                "near": {"base_url": near.base_url, "models": ["urls"], **once},
                "other": {"base_url": other.base_url, "models": ["second"], "inline_images": True, **once},
            },
        }
        folder = tmp_path_factory.mktemp("inline")
        with relaying(folder, settings, lane=request.param, inline_images=True, retries=1) as relay:
            relay.fake.by_model["first"] = faults.html(500)
            yield House(relay, web, near, other)


@pytest.fixture(autouse=True)
def forget(house: House) -> None:
    for fake in (house.relay.fake, house.web, house.near, house.other):
        fake.received.clear()


def data_url(body: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(body).decode()}"


def image(url: str, **more: Any) -> Any:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def looking(*parts: Any) -> Any:
    return [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, *parts]}]


def test_an_image_goes_in_the_request(house: House) -> None:
    with house.relay.client() as client:
        answer = client.chat.completions.create(
            model="m", messages=looking(image(house.url("/a.png?size=1"), detail="low"), image(house.url("/b.jpg")))
        )
    assert answer.choices[0].message.content == TEXT
    assert house.sent("m") == looking(image(data_url(PNG), detail="low"), image(data_url(JPEG, "image/jpeg")))
    assert {visit.path for visit in house.web.received} == {"/a.png?size=1", "/b.jpg"}


def test_of_a_stream_as_well(house: House) -> None:
    answer = house.ask("m", image(house.url("/moved")), stream=True, stream_options={"include_usage": True})
    (visit,) = house.relay.fake.received
    assert answer.body == b"".join(events(visit))
    assert visit.json["messages"] == looking(image(data_url(PNG)))


def test_everything_else_stays(house: House) -> None:
    body = {
        "model": "nick",
        "messages": [
            {"role": "system", "content": "Look at image_url closely."},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "x", "x": [1]}]},
            {"role": "tool", "tool_call_id": "c", "content": [image(house.url("/a.png")), {"own": {"a": 1}}, "text"]},
            *looking(image(data_url(b"<svg/>", "image/svg+xml")), image("DATA:,x"), {"type": "text", "text": "Grüße"}),
            "what the upstream may refuse",
        ],
        "seed": 7,
    }
    text = json.dumps(body, ensure_ascii=False).replace('"seed": 7', '"seed": 1.50, "messages_url": [ 1 ]')
    raw.ask(house.relay.homeport, body=text.encode())
    (visit,) = house.relay.fake.received
    body["model"] = "far-name"
    body["messages"][2]["content"][0] = image(data_url(PNG))  # type: ignore[index]
    assert visit.json == {**body, "seed": 1.50, "messages_url": [1]}
    assert b'"seed":1.50' in visit.body


def test_a_request_without_one_is_untouched(house: House) -> None:
    body = b'{ "model":"m", "messages" : [{"role":"user","content":"hello"}], "seed": 1.50 }'
    raw.ask(house.relay.homeport, body=body)
    assert house.relay.fake.received[0].body == body


def test_completions_have_no_images(house: House) -> None:
    for path, body in (
        ("/v1/completions", b'{ "model":"m", "prompt":"What is an image_url? \\u00e9" }'),
        ("/v1/chat/completions", b'{ "model":"m", "own":"image_url" }'),
        ("/v1/chat/completions", b'{ "model":"m", "messages":"image_url" }'),
    ):
        raw.ask(house.relay.homeport, path=path, body=body)
        assert house.relay.fake.received[-1].json == json.loads(body)


def test_an_upstream_that_does_not_want_it_gets_the_url(house: House) -> None:
    house.ask("urls", image("http://10.0.0.1/a.png"))
    assert house.near.received[0].json["messages"] == looking(image("http://10.0.0.1/a.png"))
    assert not house.web.received


def test_the_same_image_is_fetched_once(house: House) -> None:
    url = house.url("/a.png")
    house.ask("m", image(url), image(url, detail="high"), image(url))
    assert house.sent("m") == looking(image(data_url(PNG)), image(data_url(PNG), detail="high"), image(data_url(PNG)))
    assert len(house.web.received) == 1


def test_the_same_request_again_fetches_nothing_again(house: House) -> None:
    house.relay.fake.script.append(faults.status(500))
    assert house.ask("m", image(house.url("/a.png"))).status == 200
    assert [visit.json["messages"] for visit in house.relay.fake.received] == [looking(image(data_url(PNG)))] * 2
    assert len(house.web.received) == 1


def test_a_fallback_fetches_nothing_again(house: House) -> None:
    assert house.ask("first-or-second", image(house.url("/a.png"))).status == 200
    assert house.sent("first") == house.other.received[0].json["messages"] == looking(image(data_url(PNG)))
    assert len(house.web.received) == 1


def test_a_fallback_that_wants_urls_gets_them(house: House) -> None:
    assert house.ask("first-or-urls", image(house.url("/a.png"))).status == 200
    assert house.near.received[0].json["messages"] == looking(image(house.url("/a.png")))


def test_a_url_alone_as_some_upstreams_take_it(house: House) -> None:
    house.ask("m", {"image_url": house.url("/a.png")}, {"type": "image_url", "image_url": None})
    assert house.sent("m") == looking({"image_url": data_url(PNG)}, {"type": "image_url", "image_url": None})


def test_no_escape_gets_past_it(house: House) -> None:
    part = '{"type":"image\\u005furl","image\\u005furl":{"\\u0075rl":"URL"}}'.replace("URL", house.url("/a.png"))
    raw.ask(house.relay.homeport, body=f'{{"model":"m","messages":[{{"content":[{part}]}}]}}'.encode())
    assert house.sent("m") == [{"content": [image(data_url(PNG))]}]


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"odd","messages":[{"content":[{"image_url":{"url":"http://10.0.0.1/\\ud800"}}]}]}',
        b'{"model":"odd","messages":[{"content":[{"image_url":{"url":"http://10.0.0.1/","\\udfff":1}}]}]}',
        b'{"model":"odd","messages":[{"content":[{"image_url":{"url":"http://10.0.0.1/"},"\\udfff":1}]}]}',
        b'{"model":"odd","messages":[{"content":[{"image_url":"http://10.0.0.1/"}],"\\udfff":1}]}',
        b'{"model":"odd","messages":[{"content":[{"image_url":"http://10.0.0.1/"}]}],"\\udfff":1}',
        b'{"model":"odd","messages":[{"content":[{"image_url":"http://10.0.0.1/\xff"}]}]}',
        b'{"model":"odd","messages":[{"content":[{"image_url":"http://10.0.0.1/","\xff":1}]}]}',
    ],
)
def test_nothing_that_cannot_be_read_gets_past_it(house: House, body: bytes) -> None:
    """Other parsers may be more forgiving."""
    answer = raw.ask(house.relay.homeport, body=body)
    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
    assert not house.relay.fake.received


def test_no_second_member_gets_past_it(house: House) -> None:
    """Of two of one name the last is looked at, and only that goes on. (Two `messages` are refused for everybody.)"""
    inside = '{"type":"image_url","image_url":{"url":"http://10.0.0.1/"}}'
    thrice = '{"type":"image_url","image_url":{"url":"http://10.0.0.1/","url":"http://10.0.0.1/","url":"URL"}}'
    twice = '{"type":"image_url","image_url":{"url":"http://10.0.0.1/"},"image_url":{"url":"data:,x"}}'
    body = (
        f'{{"model":"m","messages":[{{"role":"user","content":[{inside}],"content":[{thrice},{twice}]}}]}}'
    ).replace("URL", house.url("/a.png"))
    assert raw.ask(house.relay.homeport, body=body.encode()).status == 200
    (visit,) = house.relay.fake.received
    assert visit.json["messages"][0]["content"] == [image(data_url(PNG)), image("data:,x")]
    assert b"10.0.0.1" not in visit.body


def test_the_url_is_what_an_idempotency_key_goes_by(house: House) -> None:
    body = {"model": "m", "messages": looking(image(house.url("/a.png")))}
    headers: dict[str, str | None] = {"Idempotency-Key": "inline-1"}
    first, second = (raw.ask(house.relay.homeport, body=body, headers=headers) for _ in range(2))
    assert first.body == second.body
    assert len(house.web.received) == len(house.relay.fake.received) == 1


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("WEB/inside", "cannot be fetched"),
        ("http://127.0.0.1/a.png", "cannot be fetched"),
        ("http://169.254.169.254/latest/meta-data", "cannot be fetched"),
        ("WEB/drawing.svg", "no PNG, JPEG, GIF or WebP"),
        ("WEB/missing.png", "status 404"),
        ("file:///etc/passwd", "begins with"),
        ("a.png", "begins with"),
    ],
)
def test_what_is_not_fetched(house: House, url: str, words: str) -> None:
    problem = house.refused("refused", image(data_url(PNG)), image(url.replace("WEB", house.web.url)))
    assert problem.param == "messages[0].content[2].image_url.url"
    assert words in problem.message
    (row, *_) = house.relay.rows("refused")
    assert (row["outcome"], row["status"], row["prompt_tokens"]) == ("failed", 400, 0)


@pytest.mark.parametrize("name", ["video_url", "audio_url"])
def test_what_upstreams_would_fetch_beside_images(house: House, name: str) -> None:
    problem = house.refused("others", {"type": name, name: {"url": house.url("/a.png")}})
    assert problem.param == f"messages[0].content[1].{name}.url"
    assert "data URL" in problem.message
    assert house.ask("others", {"type": name, name: {"url": "data:video/mp4;base64,AAAA"}}).status == 200


def test_too_many_bytes_together(house: House) -> None:
    assert house.ask("enough", image(house.url("/large-1.png")), image(house.url("/b.jpg"))).status == 200
    assert house.sent("enough") == looking(image(data_url(LARGE)), image(data_url(JPEG, "image/jpeg")))
    for second in ("/large-2.png", "/large-1.png"):
        problem = house.refused("large", image(house.url("/large-1.png")), image(house.url(second)))
        assert "larger than 1 MiB together" in problem.message


def test_too_many_urls(house: House) -> None:
    problem = house.refused("many", *(image(house.url(f"/a.png?{number}")) for number in range(101)))
    assert problem.param == "messages"
    assert not house.web.received


def test_the_log_says_why_and_no_more_of_the_url_than_its_host(house: House, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        problem = house.refused("logged", image("http://127.0.0.1/path-1?signature=secret-1"))
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("homeport"))
    assert f"{problem.request_id}: image not fetched from http://127.0.0.1: 127.0.0.1, port 80, is refused;" in ours
    assert "path-1" not in ours + problem.message
    assert "secret-1" not in ours + problem.message


def test_leaving_while_an_image_is_fetched(house: House) -> None:
    body = {"model": "left", "messages": looking(image(house.url("/silent")), image(house.url("/a.png")))}
    with raw.connect(house.relay.homeport) as connection:
        connection.sendall(raw.request_bytes(body))
        assert until(lambda: any(visit.path == "/silent" for visit in house.web.received))
    (silent,) = [visit for visit in house.web.received if visit.path == "/silent"]
    assert silent.left.wait(60)
    (row,) = house.relay.rows("left")
    assert (row["outcome"], row["status"]) == ("left", 499)
    assert not house.relay.fake.received_for("left")


def test_when_one_fails_the_others_are_given_up(house: House) -> None:
    house.refused("given-up", image(house.url("/silent")), image(house.url("/missing.png")))
    for visit in house.web.received:
        assert visit.path != "/silent" or visit.left.wait(60)


def test_an_allowance_that_says_nothing(tmp_path: Path) -> None:
    settings = {"fetch": {"allow": ["10.0.0.1/8"]}, "upstreams": {"far": {"inline_images": True}}}
    with pytest.raises(SettingsError, match="fetch: allow: '10.0.0.1/8' is no network"), running(tmp_path, settings):
        pass
