"""How pictures come in: as a form, as the SDKs send it, and as JSON that names them."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests import batches
from tests.api import raw
from tests.api.brush import Brush, taught
from tests.api.forms import part, post
from tests.fake_upstream import FakeUpstream, Visit, fake_upstream, png, until, whole
from tests.server import KEY, Running, running
from tests.upstreams import faults

EDITS = "/v1/images/edits"
VARIATIONS = "/v1/images/variations"
FIRST, SECOND, MASK = png(colour=1), png(colour=2), png(colour=3)
MODEL, PROMPT = part('name="model"', b"echo"), part('name="prompt"', b"a hat")
DATA_URL = "data:image/png;base64," + base64.b64encode(FIRST).decode()


def serve(visit: Visit) -> None:
    if visit.path == "/a.png":
        visit.send(whole(SECOND, 200, "image/png"))
    elif visit.path == "/large.png":
        visit.send(whole(SECOND + bytes(900_000), 200, "image/png"))
    else:
        faults.status(404)(visit)


@pytest.fixture(scope="module")
def web() -> Iterator[FakeUpstream]:
    with fake_upstream() as fake:
        fake.by_model[""] = serve
        yield fake


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, web: FakeUpstream) -> Iterator[Running]:
    settings: Any = {
        "images": {"max_file_mb": 1},
        "audio": {"max_file_mb": 2},
        "fetch": {"allow": [f"127.0.0.1:{web.port}"], "max_total_mb": 1, "seconds": 5.0},
        "aliases": {"gpt-image-1.5": "echo", "dall-e-2": "echo"},
    }
    with running(tmp_path_factory.mktemp("edits"), settings) as one:
        yield one


@pytest.fixture(scope="module")
def brush(server: Running) -> Brush:
    return taught(server)


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0) as one:
        yield one


@pytest.fixture(autouse=True)
def _nothing_stays(server: Running) -> Iterator[None]:
    yield
    staging = server.app.durable.blobs._staging
    assert until(lambda: list(staging.iterdir()) == [])


def edit(server: Running, **body: Any) -> raw.Answer:
    return raw.ask(server, "POST", EDITS, {"model": "echo", "prompt": "a hat", **body})


# forms


def test_one_picture_several_and_a_mask(server: Running, brush: Brush, client: openai.OpenAI) -> None:
    client.images.edit(model="echo", image=("a.png", FIRST), prompt="a hat")
    assert brush.sent[-1] == {"image": [FIRST]}
    client.images.edit(
        model="echo",
        image=[("a.png", FIRST), ("b.png", SECOND)],
        mask=("mask.png", MASK),
        prompt="a hat",
        n=2,
        output_compression=80,
        stream=False,
    )
    assert brush.sent[-1] == {"image": [FIRST, SECOND], "mask": [MASK]}
    asked = brush.asked
    assert (asked["n"], asked["output_compression"], asked["stream"]) == (2, 80, False)
    assert [one["filename"] for one in asked["image"]] == ["a.png", "b.png"]
    assert asked["mask"]["bytes"] == len(MASK)


def test_a_stream_of_an_edit(brush: Brush, client: openai.OpenAI) -> None:
    events = list(client.images.edit(model="echo", image=("a.png", FIRST), prompt="x", stream=True))
    assert [one.type for one in events] == ["image_edit.partial_image", "image_edit.completed"]


def test_a_variation(server: Running, brush: Brush) -> None:
    answer = post(server, [MODEL, part('name="n"', b"2"), part('name="image"; filename="a.png"', FIRST)], VARIATIONS)
    assert [sorted(one) for one in answer.json["data"]] == [["revised_prompt", "url"]] * 2
    assert brush.sent[-1] == {"image": [FIRST]}


def image(name: str = "image", content: bytes = FIRST) -> bytes:
    return part(f'name="{name}"; filename="a.png"', content)


@pytest.mark.parametrize(
    ("parts", "param"),
    [
        ([image()], "prompt"),
        ([PROMPT], "image"),
        ([PROMPT, *[image("image[]")] * 17], "image"),
        ([PROMPT, image(), image("mask"), image("mask")], "mask"),
        ([PROMPT, image(content=b"")], "image"),
        ([PROMPT, image(), part('name="n"', b"11")], "n"),
        ([PROMPT, image(), part('name="n"', b"many")], "n"),
        ([PROMPT, image(), part('name="output_format"', b"gif")], "output_format"),
        ([PROMPT, image(), part('name="stream"', b"perhaps")], "stream"),
        ([PROMPT, image("image[x]")], None),
    ],
)
def test_forms_that_are_refused(server: Running, brush: Brush, parts: list[bytes], param: str | None) -> None:
    before = len(brush.calls)
    answer = post(server, [MODEL, *parts], EDITS)
    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error"), answer.body
    assert answer.error["param"] == param
    assert len(brush.calls) == before


def test_the_largest_file_is_the_endpoints(server: Running, brush: Brush) -> None:
    large = FIRST + bytes(2**20)
    answer = post(server, [MODEL, PROMPT, image(), image(content=large)], EDITS)
    assert (answer.status, answer.error["param"]) == (413, "image")
    assert "1 MiB" in answer.error["message"]
    heard = post(server, [MODEL, part('name="file"; filename="a.wav"', large)], "/v1/audio/transcriptions")
    assert heard.status == 404  # it does not hear; the file was taken


def test_a_variation_has_one_picture(server: Running) -> None:
    answer = post(server, [MODEL, image(), image()], VARIATIONS)
    assert (answer.status, answer.error["param"]) == (400, "image")


# JSON


def test_pictures_that_are_named(server: Running, brush: Brush, client: openai.OpenAI, web: FakeUpstream) -> None:
    file = client.files.create(file=("house.png", MASK), purpose="vision").id
    answer = edit(
        server,
        images=[{"image_url": DATA_URL}, {"image_url": f"{web.url}/a.png"}, {"file_id": file}],
        mask={"image_url": DATA_URL.replace("image/png;base64", "IMAGE/PNG;charset=x;BASE64")},
        n=2,
        x_extra={"kept": 1},
    )
    assert answer.status == 200, answer.body
    assert brush.sent[-1] == {"image": [FIRST, SECOND, MASK], "mask": [FIRST]}
    asked = brush.asked
    assert [one["filename"] for one in asked["image"]] == ["image.png", "image.png", "house.png"]
    assert "images" not in asked
    assert (asked["n"], asked["x_extra"]) == (2, {"kept": 1})


def test_who_names_no_model_means_the_one_for_json(server: Running, brush: Brush) -> None:
    answer = raw.ask(server, "POST", EDITS, {"prompt": "a hat", "images": [{"image_url": DATA_URL}]})
    assert brush.calls[-1].name == "gpt-image-1.5"
    assert "b64_json" in answer.json["data"][0]


def test_azures_deployment_is_the_model(server: Running, brush: Brush) -> None:
    path = "/openai/deployments/echo/images/edits?api-version=2025-04-01-preview"
    body = {"prompt": "a hat", "images": [{"image_url": DATA_URL}], "stream": True}
    answer = raw.ask(server, "POST", path, body, {"api-key": KEY, "Authorization": None})
    assert [one["type"] for one in raw.events(answer.body)] == ["image_edit.partial_image", "image_edit.completed"]
    assert brush.sent[-1] == {"image": [FIRST]}


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "images"),
        ({"images": []}, 400, "images"),
        ({"images": [{"image_url": DATA_URL}] * 17}, 400, "images"),
        ({"images": [{}]}, 400, "images[0]"),
        ({"images": [{"image_url": DATA_URL, "file_id": "file-x"}]}, 400, "images[0]"),
        ({"images": [{"image_url": DATA_URL}], "mask": {}}, 400, "mask"),
        ({"images": [{"image_url": DATA_URL, "detail": "low"}]}, 400, "images[0].detail"),
        ({"images": [{"image_url": "data:image/png;base64"}]}, 400, "images[0].image_url"),
        ({"images": [{"image_url": "data:image/png;base64,@@@@"}]}, 400, "images[0].image_url"),
        ({"images": [{"image_url": "data:image/png;base64,AAA"}]}, 400, "images[0].image_url"),
        ({"images": [{"image_url": "data:image/png;base64,"}]}, 400, "images[0]"),
        ({"images": [{"image_url": "data:image/png;base64," + "A" * 1_500_000}]}, 400, "images[0].image_url"),
        ({"images": [{"image_url": "ftp://a/b.png"}]}, 400, "images[0].image_url"),
        ({"images": [{"image_url": "file:///etc/passwd"}]}, 400, "images[0].image_url"),
        ({"images": [{"image_url": "http://169.254.169.254/latest/meta-data"}]}, 400, "images[0].image_url"),
        ({"images": [{"image_url": DATA_URL}, {"image_url": "http://127.0.0.1:1/a.png"}]}, 400, "images[1].image_url"),
        ({"images": [{"file_id": "file-of-somebody-else"}]}, 404, "images[0].file_id"),
        ({"images": [{"image_url": DATA_URL}], "image": "x"}, 400, None),
        ({"images": [{"image_url": DATA_URL}], "n": "2"}, 400, "n"),
        ({"images": [{"image_url": DATA_URL}], "n": 11}, 400, "n"),
    ],
)
def test_json_that_is_refused(server: Running, brush: Brush, body: Any, status: int, param: str | None) -> None:
    before = len(brush.calls)
    answer = edit(server, **body)
    assert (answer.status, answer.error["type"], answer.error["param"]) == (status, "invalid_request_error", param)
    assert len(brush.calls) == before


def test_what_is_fetched_has_an_end(server: Running, web: FakeUpstream) -> None:
    answer = edit(server, images=[{"image_url": f"{web.url}/large.png"}, {"image_url": f"{web.url}/large.png?again"}])
    assert answer.status == 400
    large = {"image_url": f"{web.url}/large.png"}
    answer = edit(server, images=[large, large])
    assert "1 MiB together" in answer.error["message"]
    missing = edit(server, images=[{"image_url": f"{web.url}/missing.png"}])
    assert (missing.status, missing.error["code"]) == (400, "invalid_image_url")


@pytest.mark.usefixtures("brush")
def test_another_projects_file_is_not_there(server: Running, client: openai.OpenAI) -> None:
    file = client.files.create(file=("house.png", MASK), purpose="vision").id
    with openai.OpenAI(base_url=server.base_url, api_key="none", admin_api_key=KEY) as admin:
        project = admin.admin.organization.projects.create(name="other").id
    key = raw.ask(server, "POST", f"/v1/homeport/projects/{project}/api_keys", {"name": "k"}).json["value"]
    assert until(lambda: raw.ask(server, "GET", "/v1/models", key=key).status == 200)
    body = {"model": "echo", "prompt": "x", "images": [{"file_id": file}]}
    assert raw.ask(server, "POST", EDITS, body, key=key).status == 404
    assert raw.ask(server, "POST", EDITS, body).status == 200


def test_json_needs_a_key_before_anything_is_fetched(server: Running, web: FakeUpstream) -> None:
    before = len(web.received)
    body = {"model": "echo", "prompt": "x", "images": [{"image_url": f"{web.url}/a.png"}]}
    assert raw.ask(server, "POST", EDITS, body, key="sk-wrong").status == 401
    assert len(web.received) == before


def test_a_key_that_may_not_ask_models_has_nothing_fetched(server: Running, web: FakeUpstream) -> None:
    with openai.OpenAI(base_url=server.base_url, api_key="none", admin_api_key=KEY) as admin:
        project = admin.admin.organization.projects.create(name="narrow").id
    made = {"name": "k", "scopes": ["files.read"]}
    key = raw.ask(server, "POST", f"/v1/homeport/projects/{project}/api_keys", made).json["value"]
    assert until(lambda: raw.ask(server, "GET", "/v1/files", key=key).status == 200)
    before = len(web.received)
    body = {"model": "echo", "prompt": "x", "images": [{"image_url": f"{web.url}/a.png"}]}
    assert raw.ask(server, "POST", EDITS, body, key=key).status == 403
    assert len(web.received) == before


@pytest.mark.usefixtures("brush")
def test_who_may_not_read_files_may_not_name_them(server: Running, client: openai.OpenAI) -> None:
    file = client.files.create(file=("house.png", MASK), purpose="vision").id
    with openai.OpenAI(base_url=server.base_url, api_key="none", admin_api_key=KEY) as admin:
        mine = next(iter(admin.admin.organization.projects.list())).id
    made = {"name": "k", "scopes": ["model.request", "model.read"]}
    key = raw.ask(server, "POST", f"/v1/homeport/projects/{mine}/api_keys", made).json["value"]
    assert until(lambda: raw.ask(server, "GET", "/v1/models", key=key).status == 200)
    body = {"model": "echo", "prompt": "x", "images": [{"file_id": file}]}
    refused = raw.ask(server, "POST", EDITS, body, key=key)
    assert (refused.status, refused.error["code"]) == (403, "missing_scope")
    body = {"model": "echo", "prompt": "x", "images": [{"image_url": DATA_URL}]}
    assert raw.ask(server, "POST", EDITS, body, key=key).status == 200


def test_a_variation_is_no_json(server: Running) -> None:
    answer = raw.ask(server, "POST", VARIATIONS, {"model": "echo", "images": [{"image_url": DATA_URL}]})
    assert (answer.status, answer.error["code"]) == (400, "unsupported_content_type")


def test_lines_of_batches_name_their_pictures(tmp_path: Path) -> None:
    with running(tmp_path) as server, openai.OpenAI(base_url=server.base_url, api_key=KEY) as client:
        brush = taught(server)
        body = {"model": "echo", "prompt": "a hat", "images": [{"image_url": DATA_URL}]}
        wrong = {**body, "images": [{"file_id": "file-none"}]}
        batch = batches.run(client, [batches.line(1, body, EDITS), batches.line(2, wrong, EDITS)], EDITS)
        assert (batch.status, batches.counts(batch)) == ("completed", (2, 1, 1))
        assert brush.sent == [{"image": [FIRST]}]
        with pytest.raises(openai.BadRequestError):
            batches.create(client, [batches.line(1, body, VARIATIONS)], VARIATIONS)
