"""What every answer carries, and the caller's own headers."""

import pytest

from tests.api.raw import HELLO, ask
from tests.server import Running


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/chat/completions", HELLO),
        ("POST", "/v1/chat/completions", {**HELLO, "stream": True}),
        ("POST", "/v1/chat/completions", {**HELLO, "model": "x"}),
        ("GET", "/v1/models", None),
        ("GET", "/v1/nowhere", None),
        ("GET", "/healthz", None),
    ],
)
def test_every_answer_has_openais_headers(echo_server: Running, method: str, path: str, body: object) -> None:
    one, other = (ask(echo_server, method, path, body) for _ in range(2))
    assert one.headers["x-request-id"] != other.headers["x-request-id"]
    assert one.headers["openai-processing-ms"].isdigit()
    assert one.headers["openai-version"] == "2020-10-01"
    assert one.headers["openai-organization"] == "homeport"


@pytest.mark.parametrize("stream", [False, True])
def test_model_calls_tell_the_limits(echo_server: Running, stream: bool) -> None:
    headers = ask(echo_server, body={**HELLO, "stream": stream}).headers
    for kind in ("requests", "tokens"):
        assert int(headers[f"x-ratelimit-remaining-{kind}"]) < int(headers[f"x-ratelimit-limit-{kind}"])
        assert headers[f"x-ratelimit-reset-{kind}"].endswith("s")


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/openai/deployments/echo/chat/completions?api-version=2024-10-21"]
)
def test_ten_custom_headers_come_back(echo_server: Running, path: str) -> None:
    custom = {f"x-team-{number}": f"value {number}" for number in range(10)}
    answer = ask(echo_server, path=path, headers=dict(custom))
    assert answer.status == 200
    assert {name: value for name, value in answer.headers.items() if name.startswith("x-team-")} == custom


def test_what_is_not_the_callers_own_neither_counts_nor_comes_back(echo_server: Running) -> None:
    others = {
        "x-stainless-lang": "python",
        "x-forwarded-for": "10.0.0.1",
        "x-real-ip": "10.0.0.1",
        "x-request-id": "mine",
        "x-b3-traceid": "1",
        "x-amzn-trace-id": "1",
        "x-api-key": "secret",
        "x-auth-token": "secret",
        "x-homeport-anything": "1",
        "x-ratelimit-limit-requests": "1",
        "connection": "keep-alive",
    }
    custom = {f"x-team-{number}": "1" for number in range(10)}
    answer = ask(echo_server, headers={**others, **custom})
    assert answer.status == 200
    for name in ("x-stainless-lang", "x-forwarded-for", "x-real-ip", "x-b3-traceid", "x-api-key", "x-auth-token"):
        assert name not in answer.headers
    assert answer.headers["x-request-id"] != "mine"
    assert answer.headers["x-ratelimit-limit-requests"] != "1"


def test_models_give_custom_headers_back_and_refuse_an_eleventh(echo_server: Running) -> None:
    assert ask(echo_server, "GET", "/v1/models", headers={"X-Team": "a"}).headers["x-team"] == "a"
    assert ask(echo_server, "GET", "/v1/models", headers={f"X-{n}": "1" for n in range(11)}).status == 431
