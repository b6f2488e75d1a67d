"""What a key may do: scopes, models, tiers, its life, and which of the two APIs it opens. No route escapes."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from starlette.routing import Route

from homeport import clock
from homeport.gateway.endpoints import ENDPOINTS
from tests import clocks
from tests.api import forms, raw
from tests.fake_upstream import until
from tests.server import ECHO, KEY, Running, running

#: Open to everybody: they tell that the server is alive, and nothing else.
OPEN = {"/", "/healthz", "/readyz", "/v1/homeport/images/{name}"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    models = {**ECHO["models"], "other": {"engine": "echo"}}
    settings = {"models": models, "aliases": {"gpt-4": "echo"}, "telemetry": {"metrics": "admin"}}
    with running(tmp_path_factory.mktemp("permissions"), settings) as made:
        yield made


@pytest.fixture(scope="module")
def admin(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(admin_api_key=KEY, api_key=KEY, base_url=server.base_url, max_retries=0) as made:
        yield made


def new_key(server: Running, admin: openai.OpenAI, project: str | None = None, **settings: Any) -> str:
    """A key, once the gateway knows it."""
    project = project or next(iter(admin.admin.organization.projects.list())).id
    made = raw.ask(server, "POST", f"/v1/homeport/projects/{project}/api_keys", {"name": "k", **settings})
    assert made.status == 200, made.body
    key: str = made.json["value"]
    assert until(lambda: raw.ask(server, key=key).status != 401)
    return key


def chat(server: Running, key: str, model: str = "echo") -> raw.Answer:
    return raw.ask(server, body={**raw.HELLO, "model": model}, key=key)


def test_a_key_with_a_list_of_models_uses_and_sees_no_other(server: Running, admin: openai.OpenAI) -> None:
    key = new_key(server, admin, models=["echo"])
    assert chat(server, key).status == 200
    refused = chat(server, key, "other")
    assert (refused.status, refused.error["code"]) == (403, "model_not_found")
    assert "does not have access to model `other`" in refused.error["message"]
    assert {model["id"] for model in raw.ask(server, "GET", "/v1/models", key=key).json["data"]} == {"echo"}
    assert raw.ask(server, "GET", "/v1/models/other", key=key).status == 404
    azure = "/openai/deployments/other/chat/completions?api-version=2024-10-21"
    assert raw.ask(server, path=azure, headers={"api-key": key, "Authorization": None}).status == 403


@pytest.mark.parametrize(
    ("mode", "ids", "echo", "other"),
    [("allow_list", ["other"], 403, 200), ("deny_list", ["other"], 200, 403), ("allow_list", ["gpt-4"], 403, 403)],
)
def test_a_projects_list_of_models(
    server: Running, admin: openai.OpenAI, mode: Any, ids: list[str], echo: int, other: int
) -> None:
    projects = admin.admin.organization.projects
    project = projects.create(name=f"{mode} {ids}").id
    key = new_key(server, admin, project)
    projects.model_permissions.update(project, mode=mode, model_ids=ids)
    assert until(lambda: (chat(server, key).status, chat(server, key, "other").status) == (echo, other))


def test_a_key_with_scopes_does_nothing_else(server: Running, admin: openai.OpenAI) -> None:
    reader = new_key(server, admin, scopes=["api.model.read"])
    assert raw.ask(server, "GET", "/v1/models", key=reader).status == 200
    refused = chat(server, reader)
    assert (refused.status, refused.error["code"]) == (403, "missing_scope")
    assert "Missing scopes: model.request" in refused.error["message"]
    asker = new_key(server, admin, scopes=["model.request"])
    assert chat(server, asker).status == 200
    assert raw.ask(server, "GET", "/v1/models", key=asker).status == 403


def test_the_gpt_4_family_is_for_tier_1_and_above(server: Running, admin: openai.OpenAI) -> None:
    project = admin.admin.organization.projects.create(name="on trial").id
    key = new_key(server, admin, project)
    assert chat(server, key, "gpt-4").status == 200
    raw.ask(server, "POST", f"/v1/homeport/projects/{project}", {"tier": "trial"})
    assert until(lambda: chat(server, key, "gpt-4").status != 200)
    refused = chat(server, key, "gpt-4")
    assert (refused.status, refused.error["code"]) == (404, "model_not_found")
    assert chat(server, key).headers["x-ratelimit-limit-requests"] == "3"
    raw.ask(server, "POST", f"/v1/homeport/projects/{project}", {"tier": "1"})
    assert until(lambda: chat(server, key, "gpt-4").status == 200)
    assert chat(server, key, "gpt-4").headers["x-ratelimit-limit-tokens"] == "10000"


def test_a_key_ends_when_it_should(server: Running, admin: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    key = new_key(server, admin, expires_in_seconds=3600)
    assert chat(server, key).status == 200
    clocks.own(monkeypatch, "gateway.keyring", now=lambda: clock.now() + 3601)
    refused = chat(server, key)
    assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")
    assert "has expired" in refused.error["message"]


def test_a_rotated_key_and_its_heir_overlap(server: Running, admin: openai.OpenAI) -> None:
    project = next(iter(admin.admin.organization.projects.list())).id
    path = f"/v1/homeport/projects/{project}/api_keys"
    old = raw.ask(server, "POST", path, {"name": "old", "models": ["echo"]}).json
    assert until(lambda: chat(server, old["value"]).status == 200)
    new = raw.ask(server, "POST", f"{path}/{old['id']}/rotate", {"overlap_seconds": 1}).json
    assert until(lambda: chat(server, new["value"]).status == 200)
    assert chat(server, new["value"], "other").status == 403, "it has the settings of the old one"
    assert until(lambda: chat(server, old["value"]).status == 401)
    assert chat(server, new["value"]).status == 200


def test_an_admin_key_opens_the_admin_api_alone(server: Running, admin: openai.OpenAI) -> None:
    made = admin.admin.organization.admin_api_keys.create(name="console")
    assert until(lambda: raw.ask(server, "GET", "/v1/organization/projects", key=made.value).status == 200)
    assert chat(server, made.value).status == 401
    plain = new_key(server, admin)
    refused = raw.ask(server, "GET", "/v1/organization/projects", key=plain)
    assert (refused.status, refused.error["type"]) == (403, "invalid_request_error")


def test_no_route_answers_without_a_key(server: Running) -> None:
    """Every route of the application, by the table that it is made of, with every method that it takes."""
    routes = [route for route in server.routes if isinstance(route, Route)]
    assert len(routes) > 50
    for route in routes:
        if route.path in OPEN:
            continue
        path = route.path.replace("{rest:path}", "x").replace("{model:path}", "echo")
        for name in route.param_convertors:
            path = path.replace("{" + name + "}", "x")
        if path.startswith("/openai/"):
            path += "?api-version=2024-10-21"
        for method in (route.methods or {"GET"}) - {"HEAD"}:
            for key in (None, "Bearer sk-wrong-0123456789abcdef"):
                answer = raw.ask(server, method, path, b"{}", headers={"Authorization": key})
                expected = {404} if route.path == "/openai/{rest:path}" else {401}
                assert answer.status in expected, (method, route.path, answer.status, answer.body)


ASKED = {
    "chat.completions": raw.HELLO,
    "completions": {"model": "echo", "prompt": "x"},
    "embeddings": {"model": "echo", "input": "x"},
    "moderations": {"input": "x"},
    "rerank": {"model": "echo", "query": "x", "documents": ["x"]},
    "audio.speech": {"model": "echo", "voice": "alloy", "input": "x"},
    "images.generations": {"model": "echo", "prompt": "x"},
}
FORMS = {
    name: forms.body([forms.part('name="model"', b"echo"), forms.part(f'name="{file}"; filename="a"', b"RIFF"), *more])
    for name, file, more in [
        ("audio.transcriptions", "file", []),
        ("audio.translations", "file", []),
        ("images.edits", "image", [forms.part('name="prompt"', b"x")]),
        ("images.variations", "image", []),
    ]
}
FORM = {"Content-Type": f"multipart/form-data; boundary={forms.BOUNDARY.decode()}"}
#: What the model `echo` cannot do: it is asked all the same, and says so.
REFUSED = dict.fromkeys(["rerank", "audio.speech", "images.generations", *FORMS], 404)


def test_every_inference_route_passes_the_straight_line(server: Running, admin: openai.OpenAI) -> None:
    """Limits in the headers and a row in the ledger, at each of its addresses."""
    key = new_key(server, admin)
    for endpoint in ENDPOINTS:
        azure = f"/openai/deployments/echo{endpoint.azure}?api-version=2024-10-21"
        addresses = [endpoint.path, azure] if endpoint.azure is not None else [endpoint.path]
        for path in addresses:
            answer = raw.ask(
                server,
                path=path,
                body=FORMS[endpoint.name] if endpoint.form is not None else ASKED[endpoint.name],
                headers={
                    "api-key": key,
                    "Authorization": f"Bearer {key}",
                    **(FORM if endpoint.form is not None else {}),
                },
            )
            assert answer.status == REFUSED.get(endpoint.name, 200), answer.body
            assert "x-ratelimit-remaining-tokens" in answer.headers
            receipt = raw.ask(server, "GET", f"/v1/homeport/receipts/{answer.headers['x-request-id']}")
            assert json.loads(receipt.body)["endpoint"] == endpoint.name


def test_when_an_admin_key_was_used_last_is_told(
    server: Running, admin: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("homeport.gateway.accounts.LAST_USED_SECONDS", 0.0)
    keys = admin.admin.organization.admin_api_keys
    made = keys.create(name="used")
    other = keys.create(name="unused")
    assert raw.ask(server, "GET", "/v1/organization/users", key=made.value).status == 200
    assert until(lambda: (keys.retrieve(made.id).last_used_at or 0) >= made.created_at)
    assert keys.retrieve(other.id).last_used_at is None


def test_when_a_key_was_used_last_is_told(
    server: Running, admin: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("homeport.gateway.accounts.LAST_USED_SECONDS", 0.0)
    project = admin.admin.organization.projects.create(name="used").id
    key = new_key(server, admin, project)

    def last_used() -> int:
        (listed,) = admin.admin.organization.projects.api_keys.list(project).data
        return listed.last_used_at or 0

    assert until(lambda: last_used() > 0)
    first = last_used()

    def used_again() -> bool:
        return chat(server, key).status == 200 and last_used() > first

    assert until(used_again)
