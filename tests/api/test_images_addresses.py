"""Pictures by address: who gets one, how it begins, what is served there, and when it is gone."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import sqlalchemy as sa

from homeport import app, clock
from homeport.backends.capabilities import Call
from homeport.errors import SettingsError, StorageFull
from homeport.gateway.image_addresses import Beginnings
from homeport.settings import Server, Settings
from homeport.store import tables
from tests import batches, clocks, openapi
from tests.api import raw
from tests.api.brush import Brush, taught
from tests.fake_upstream import png, until
from tests.server import KEY, Running, running

GENERATIONS = "/v1/images/generations"
ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)/v1/homeport/images/([A-Za-z0-9]{43})\.png")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings = {"aliases": dict.fromkeys(("dall-e-3", "dall-e-2", "gpt-image-1", "brush"), "echo")}
    with running(tmp_path_factory.mktemp("addresses"), settings) as one:
        yield one


@pytest.fixture(scope="module")
def brush(server: Running) -> Brush:
    return taught(server)


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0) as one:
        yield one


def draw(server: Running, model: str = "dall-e-3", **more: Any) -> raw.Answer:
    headers = more.pop("headers", None)
    return raw.ask(server, "POST", GENERATIONS, {"model": model, "prompt": "a house", **more}, headers)


def addresses(answer: raw.Answer) -> list[str]:
    assert answer.status == 200, answer.body
    return [one["url"] for one in answer.json["data"]]


def seen(server: Running, url: str, method: str = "GET") -> raw.Answer:
    """Without a key."""
    return raw.ask(server, method, "/v1/" + url.partition("/v1/")[2], b"", {"Authorization": None})


def rows(server: Running) -> int:
    async def count() -> int:
        async with server.app.books.database.read() as connection:
            return int(await connection.scalar(sa.select(sa.func.count()).select_from(tables.images)) or 0)

    return server.begin(count()).result(10)


def do(server: Running, what: Any) -> None:
    server.begin(what).result(10)


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    clocks.own(monkeypatch, "store.images", now=lambda: clock.now() + seconds)


def test_a_picture_has_an_address_and_is_there(server: Running, brush: Brush, client: openai.OpenAI) -> None:
    answer = client.images.generate(model="dall-e-3", prompt="a house", n=2)
    assert answer.data is not None
    urls = [one.url or "" for one in answer.data]
    assert all(ADDRESS.fullmatch(url) for url in urls)
    assert ADDRESS.fullmatch(urls[0])[1] == str(server.port)  # type: ignore[index]
    assert [one.b64_json for one in answer.data] == [None, None]
    assert [one.revised_prompt for one in answer.data] == ["As I see it."] * 2
    assert [seen(server, url).body for url in urls] == [png(colour=0), png(colour=1)]


def test_it_is_served_as_a_picture_and_as_nothing_else(server: Running, brush: Brush) -> None:
    (url,) = addresses(draw(server))
    answer = seen(server, url)
    head = seen(server, url, "HEAD")
    for one in (answer, head):
        assert one.status == 200
        assert one.headers["content-type"] == "image/png"
        assert one.headers["content-length"] == str(len(png(colour=0)))
        assert one.headers["x-content-type-options"] == "nosniff"
        assert one.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert one.headers["access-control-allow-origin"] == "*"
        kind, _, seconds = one.headers["cache-control"].partition(", max-age=")
        assert (kind, 3500 < int(seconds) <= 3600) == ("private", True)
    assert (answer.body, head.body) == (png(colour=0), b"")


@pytest.mark.parametrize(
    ("model", "more", "by_url"),
    [
        ("dall-e-3", {}, True),
        ("dall-e-2", {"response_format": "url"}, True),
        ("dall-e-3", {"response_format": "b64_json"}, False),
        ("gpt-image-1", {}, False),
        ("brush", {}, True),
        ("brush", {"response_format": "b64_json"}, False),
    ],
)
def test_who_gets_an_address(server: Running, brush: Brush, model: str, more: dict[str, Any], by_url: bool) -> None:
    (picture,) = draw(server, model, **more).json["data"]
    assert ("url" in picture, "b64_json" in picture) == (by_url, not by_url)
    if not by_url:
        assert base64.b64decode(picture["b64_json"]) == png(colour=0)


@pytest.mark.parametrize("description", [openapi.NEWEST, openapi.OF_2024])
def test_an_answer_is_as_the_description_has_it(server: Running, brush: Brush, description: str) -> None:
    openapi.description(description)
    for form in ("url", "b64_json"):
        answer = draw(server, "dall-e-2", n=2, response_format=form)
        openapi.validate("ImagesResponse", answer.json, description)


def test_unknown_and_expired_are_the_same(server: Running, brush: Brush, monkeypatch: pytest.MonkeyPatch) -> None:
    (url,) = addresses(draw(server))
    base = url.rpartition("/")[0]
    name = url.rpartition("/")[2]
    others = ("x" * 43 + ".png", name.replace(".png", ".jpg"), name[:-4], "...png", "%00.png")
    unknown = [seen(server, f"{base}/{other}") for other in others]
    later(monkeypatch, 3601)
    expired = seen(server, url)
    for one in unknown:
        assert (one.status, one.json) == (404, expired.json)
    assert expired.status == 404
    assert expired.error["type"] == "invalid_request_error"
    do(server, server.app.durable.images.expire())
    assert rows(server) == 0


def test_bytes_go_with_the_last_address(server: Running, brush: Brush, monkeypatch: pytest.MonkeyPatch) -> None:
    (first,), (second,) = addresses(draw(server)), addresses(draw(server))
    blobs = server.data / "blobs"

    def kept() -> int:
        return sum(one.is_file() and one.stat().st_size == len(png(colour=0)) for one in blobs.rglob("*"))

    assert first != second
    assert kept() == 1  # by their content
    later(monkeypatch, 3601)
    do(server, server.app.durable.images.expire())
    assert (rows(server), kept()) == (0, 0)


def test_an_archived_projects_pictures_go(server: Running, brush: Brush) -> None:
    with openai.OpenAI(base_url=server.base_url, api_key="none", admin_api_key=KEY) as admin:
        project = admin.admin.organization.projects.create(name="short").id
        made = raw.ask(server, "POST", f"/v1/homeport/projects/{project}/api_keys", {"name": "one"}).json
        assert until(lambda: raw.ask(server, "GET", "/v1/models", key=made["value"]).status == 200)
        answer = raw.ask(server, "POST", GENERATIONS, {"model": "dall-e-2", "prompt": "x"}, key=made["value"])
        (url,) = addresses(answer)
        assert seen(server, url).status == 200
        admin.admin.organization.projects.archive(project)
    assert seen(server, url).status == 404
    before = rows(server)
    do(server, server.app.durable.images.expire())
    assert rows(server) == before - 1


def test_the_address_begins_as_the_client_called_the_server(server: Running, brush: Brush) -> None:
    for host in ("ai.example.com", "ai.example.com:8443", "[::1]:8000"):
        (url,) = addresses(draw(server, headers={"Host": host}))
        assert url.startswith(f"http://{host}/v1/homeport/images/")
    for host in ("evil.example/x?", "a b", '"><script>', "x" * 300, "evil.example@other", "..", "a:b", "_"):
        answer = draw(server, headers={"Host": host})
        if answer.status != 400:  # the test's server has a port of chance
            assert addresses(answer)[0].startswith("http://127.0.0.1:0/v1/homeport/images/"), host


def test_behind_a_proxy(tmp_path: Path) -> None:
    settings: Any = {"server": {"public_url": "https://ai.example.com/house/"}}
    with running(tmp_path, settings) as server:
        taught(server)
        (url,) = addresses(draw(server, "echo", headers={"Host": "other"}))
        assert url.startswith("https://ai.example.com/house/v1/homeport/images/")
        assert raw.ask(server, "GET", url.partition("/house")[2], b"", {"Authorization": None}).status == 200


def test_who_does_tls_tells_the_scheme() -> None:
    call = Call("images.generations", "", "x", b"{}", host=b"h")
    assert Beginnings(Server()).of(call) == "http://h"
    assert Beginnings(Server(behind_tls_proxy=True)).of(call) == "https://h"
    assert Beginnings(Server(tls_cert="x", tls_key="y")).of(call) == "https://h"
    call.host = b""
    assert Beginnings(Server(host="0.0.0.0", port=9000, behind_tls_proxy=True)).of(call) == "http://localhost:9000"
    assert Beginnings(Server(host="::1", port=9000)).of(call) == "http://[::1]:9000"


@pytest.mark.parametrize(
    "url",
    [
        "ai.example.com",
        "ftp://a",
        "https://a/?x",
        "https://u:p@a",
        "https://a/../b",
        "https://a b",
        "https://",
        "https://a/#",
    ],
)
def test_a_public_url_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="server.public_url"):
        app.build(Settings(server=Server(public_url=url, data=str(tmp_path))))


def test_a_stream_shows_bytes(server: Running, brush: Brush, client: openai.OpenAI) -> None:
    events = list(client.images.generate(model="gpt-image-1", prompt="a house", stream=True, partial_images=1))
    assert [one.type for one in events] == ["image_generation.partial_image", "image_generation.completed"]
    assert base64.b64decode(events[-1].b64_json) == png()


def test_azure_the_same(server: Running, brush: Brush) -> None:
    with openai.AzureOpenAI(azure_endpoint=server.url, api_key=KEY, api_version="2024-10-21", max_retries=0) as azure:
        answer = azure.images.generate(model="dall-e-3", prompt="a house")
    assert answer.data is not None
    assert seen(server, answer.data[0].url or "").body == png(colour=0)


def test_a_line_of_a_batch_has_an_address_that_outlives_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: Any = {"server": {"public_url": "http://127.0.0.1:1"}, "aliases": {"dall-e-2": "echo"}}
    with running(tmp_path, settings) as server, openai.OpenAI(base_url=server.base_url, api_key=KEY) as client:
        taught(server)
        lines = [batches.line(1, {"prompt": "a house"}, GENERATIONS)]
        batch = batches.run(client, lines, GENERATIONS)
        assert batch.status == "completed", batch
        assert batch.output_file_id is not None
        line = json.loads(client.files.content(batch.output_file_id).text)
        (picture,) = line["response"]["body"]["data"]
        later(monkeypatch, 86_400)
        assert seen(server, picture["url"]).body == png(colour=0)


def test_what_cannot_be_stored_is_an_error_that_is_booked(
    server: Running, brush: Brush, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object, **__: object) -> None:
        raise StorageFull("There is no room left.")

    monkeypatch.setattr(server.app.durable.images.blobs.bucket, "put", full)
    answer = draw(server, "dall-e-2", prompt="unstorable")
    assert (answer.status, answer.error["code"]) == (507, "insufficient_storage")
    receipt = f"/v1/homeport/receipts/{answer.headers['x-request-id']}"
    assert until(lambda: raw.ask(server, "GET", receipt).status == 200)
    told = raw.ask(server, "GET", receipt).json
    assert told["usage"]["images"] == 1


def test_two_replicas_serve_each_others(tmp_path: Path, postgres: Any) -> None:
    """On one database and one store."""
    url = postgres.create("images_of_two")
    shared: Any = {"database_url": url, "files": {"folder": str(tmp_path / "files")}}
    with running(tmp_path / "one", shared) as one, running(tmp_path / "two", shared) as two:
        taught(one)
        (address,) = addresses(draw(one, "echo"))
        assert seen(two, address).body == png(colour=0)
        for name in ("%00.png", "%F0%9F%8F%A1.png", "x" * 43 + ".png"):
            assert raw.ask(two, "GET", f"/v1/homeport/images/{name}", b"").status == 404
        with openai.OpenAI(base_url=one.base_url, api_key="none", admin_api_key=KEY) as admin:
            projects = admin.admin.organization.projects
            project = projects.create(name="short").id
            path = f"/v1/homeport/projects/{project}/api_keys"
            key = raw.ask(one, "POST", path, {"name": "one"}).json["value"]
            assert until(lambda: raw.ask(one, "GET", "/v1/models", key=key).status == 200)
            answer = raw.ask(one, "POST", GENERATIONS, {"model": "echo", "prompt": "x"}, key=key)
            projects.archive(project)
        assert seen(two, addresses(answer)[0]).status == 404
        do(two, two.app.durable.images.expire())
        assert rows(one) == 1
