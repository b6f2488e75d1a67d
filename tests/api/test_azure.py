"""Azure OpenAI's style: deployments, api-version, api-key or an Entra token, its errors and its filter fields."""

import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
import openai
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.api.raw import HELLO, ask, events
from tests.server import KEY, Running, running

CHAT = "/openai/deployments/echo/chat/completions?api-version=2024-10-21"
ISSUER = "https://login.example/tenant/v2.0"
AUDIENCE = "https://cognitiveservices.azure.com"


@pytest.fixture(scope="module")
def signer() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def server(signer: rsa.RSAPrivateKey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("azure")
    key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(signer.public_key()))
    jwks = folder / "jwks.json"
    jwks.write_text(json.dumps({"keys": [{**key, "kid": "one"}]}))
    entra = {"issuer": ISSUER, "audience": AUDIENCE, "jwks": str(jwks)}
    with running(folder, {"entra": entra}) as made:
        yield made


@pytest.fixture
def client(server: Running) -> Iterator[openai.AzureOpenAI]:
    with openai.AzureOpenAI(azure_endpoint=server.url, api_version="2024-10-21", api_key=KEY, max_retries=0) as made:
        yield made


def token(signer: rsa.RSAPrivateKey, **changes: Any) -> str:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 600, "oid": "someone", **changes}
    return jwt.encode({k: v for k, v in claims.items() if v is not None}, signer, "RS256", headers={"kid": "one"})


def test_the_azure_client_works(client: openai.AzureOpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hello"}])
    assert answer.choices[0].message.content == "hello"
    filtered = answer.choices[0].model_extra["content_filter_results"]  # type: ignore[index]
    assert filtered["hate"]["filtered"] is False
    assert answer.model_extra is not None
    assert answer.model_extra["prompt_filter_results"][0]["prompt_index"] == 0


def test_its_streams_begin_with_a_chunk_without_choices(client: openai.AzureOpenAI) -> None:
    first, *rest = client.chat.completions.create(
        model="echo", messages=[{"role": "user", "content": "hello world"}], stream=True
    )
    assert first.choices == []
    assert first.model_extra is not None
    assert first.model_extra["prompt_filter_results"]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in rest) == "hello world"
    assert all("content_filter_results" in (chunk.choices[0].model_extra or {}) for chunk in rest)


def test_completions(client: openai.AzureOpenAI) -> None:
    assert client.completions.create(model="gpt-3.5-turbo-instruct", prompt="hello").choices[0].text == "hello"


def test_the_deployment_is_the_model_whatever_the_body_says(server: Running) -> None:
    answer = ask(server, path=CHAT, body={**HELLO, "model": "other"}, headers={"Authorization": None, "api-key": KEY})
    assert answer.json["model"] == "echo"
    without = {"messages": HELLO["messages"]}
    assert ask(server, path=CHAT, body=without, headers={"api-key": KEY}).json["model"] == "echo"


@pytest.mark.parametrize(
    ("path", "headers", "status", "code"),
    [
        (CHAT, {"Authorization": None}, 401, "401"),
        (CHAT, {"Authorization": None, "api-key": "wrong-key-0123456789"}, 401, "401"),
        (CHAT.replace("/echo/", "/nobody/"), {}, 404, "DeploymentNotFound"),
        (CHAT.partition("?")[0], {}, 404, "404"),
        (CHAT.replace("2024-10-21", "2020-01-01"), {}, 400, "BadRequest"),
        ("/openai/nowhere?api-version=2024-10-21", {}, 404, "404"),
    ],
)
def test_its_errors(server: Running, path: str, headers: dict[str, str | None], status: int, code: str) -> None:
    answer = ask(server, path=path, headers=headers)
    assert answer.status == status
    assert answer.error["code"] == code
    assert answer.error["message"]
    assert answer.headers["x-request-id"]


def test_a_bad_body_names_the_parameter(server: Running) -> None:
    answer = ask(server, path=CHAT, body={**HELLO, "temperature": 9})
    assert (answer.status, answer.error["param"]) == (400, "temperature")


def test_an_entra_token_opens(server: Running, signer: rsa.RSAPrivateKey) -> None:
    with openai.AzureOpenAI(
        azure_endpoint=server.url, api_version="2024-10-21", azure_ad_token=token(signer)
    ) as client:
        assert (
            client.chat.completions.create(model="echo", messages=[{"role": "user", "content": "hello"}])
            .choices[0]
            .message.content
            == "hello"
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://elsewhere.example"},
        {"aud": "https://graph.example"},
        {"exp": int(time.time()) - 3600},
        {"exp": None},
        {"oid": None},
    ],
)
def test_other_entra_tokens_do_not(server: Running, signer: rsa.RSAPrivateKey, changes: dict[str, Any]) -> None:
    answer = ask(server, path=CHAT, headers={"Authorization": f"Bearer {token(signer, **changes)}"})
    assert answer.status == 401


def test_a_token_signed_by_somebody_else_or_by_nobody_does_not_open(server: Running) -> None:
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    unsigned = jwt.encode({"iss": ISSUER, "aud": AUDIENCE, "exp": 9999999999, "oid": "x"}, "", "none")
    for forged in (token(stranger), unsigned):
        assert ask(server, path=CHAT, headers={"Authorization": f"Bearer {forged}"}).status == 401


def test_entra_tokens_open_nothing_but_azure_paths(server: Running, signer: rsa.RSAPrivateKey) -> None:
    assert ask(server, headers={"Authorization": f"Bearer {token(signer)}"}).status == 401


def test_events_are_whole(server: Running) -> None:
    raw = ask(server, path=CHAT, body={**HELLO, "stream": True})
    first, *_, done = events(raw.body)
    assert first["choices"] == []
    assert done == "[DONE]"
