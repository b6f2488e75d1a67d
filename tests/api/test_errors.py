"""Errors as OpenAI's object, on every path, with `param` pointing into the body."""

from typing import Any

import pytest

from tests.api.raw import CHAT, HELLO, ask
from tests.server import Running

CASES: list[tuple[str, dict[str, Any], int, str, str | None, str | None]] = [
    ("no json", {"body": b"{nope"}, 400, "We could not parse the JSON body", None, None),
    ("empty", {"body": b""}, 400, "We could not parse the JSON body", None, None),
    ("no object", {"body": b"[1]"}, 400, "", None, None),
    ("no model", {"body": {"messages": []}}, 400, "you must provide a model parameter", None, None),
    ("unknown model", {"body": {**HELLO, "model": "x"}}, 404, "The model `x` does not exist", None, "model_not_found"),
    (
        "retired model",
        {"body": {**HELLO, "model": "text-davinci-003"}},
        404,
        "The model `text-davinci-003` has been deprecated, learn more here",
        None,
        "model_not_found",
    ),
    ("no key", {"headers": {"Authorization": None}}, 401, "You didn't provide an API key", None, None),
    (
        "wrong key",
        {"headers": {"Authorization": "Bearer sk-wrong-0123456789-secret"}},
        401,
        "Incorrect API key provided: sk-w",
        None,
        "invalid_api_key",
    ),
    ("unknown path", {"path": "/v1/x"}, 404, "Invalid URL (POST /v1/x)", None, "unknown_url"),
    ("wrong method", {"method": "PUT"}, 405, f"Not allowed to PUT on {CHAT}. (HINT:", None, "method_not_supported"),
    (
        "wrong content type",
        {"headers": {"Content-Type": "text/plain"}},
        415,
        "Unsupported content type: 'text/plain'",
        None,
        "unsupported_content_type",
    ),
    ("compressed", {"headers": {"Content-Encoding": "gzip"}}, 415, "without compression", None, None),
    ("many headers", {"headers": {f"X-H{n}": "1" for n in range(11)}}, 431, "at most 10 are passed on", None, None),
    (
        "out of range",
        {"body": {**HELLO, "temperature": 3}},
        400,
        "Invalid 'temperature'",
        "temperature",
        "decimal_above_max_value",
    ),
    ("no messages", {"body": {"model": "echo"}}, 400, "messages", "messages", "missing_required_parameter"),
    (
        "bad part",
        {"body": {"model": "echo", "messages": [{"role": "user", "content": 1}]}},
        400,
        "",
        "messages[0].content",
        "invalid_type",
    ),
]


@pytest.mark.parametrize(
    ("request_", "status", "message", "param", "code"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_errors(
    echo_server: Running, request_: dict[str, Any], status: int, message: str, param: str | None, code: str | None
) -> None:
    answer = ask(echo_server, **request_)
    assert answer.status == status, answer.body
    assert set(answer.error) == {"message", "type", "param", "code"}
    assert message in answer.error["message"]
    assert answer.error["type"] == "invalid_request_error"
    if param is not None:
        assert answer.error["param"] == param
    if code is not None:
        assert answer.error["code"] == code
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["openai-organization"] == "homeport"
    assert answer.headers["content-type"] == "application/json"


def test_the_key_is_masked(echo_server: Running) -> None:
    answer = ask(echo_server, headers={"Authorization": "Bearer sk-wrong-0123456789-secret"})
    assert b"0123456789" not in answer.body


def test_an_unknown_argument_is_refused_by_name(echo_server: Running) -> None:
    answer = ask(echo_server, body={**HELLO, "temprature": 1})
    assert answer.status == 400
    assert "Unrecognized request argument supplied: temprature" in answer.error["message"]


def test_too_long_is_told_with_the_numbers_before_a_stream_begins(echo_server: Running) -> None:
    body = {**HELLO, "stream": True, "messages": [{"role": "user", "content": "x" * 9000}]}
    answer = ask(echo_server, body=body)
    assert answer.status == 400
    assert answer.error["code"] == "context_length_exceeded"
    assert answer.error["param"] == "messages"
    assert (
        "maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens"
        in answer.error["message"]
    )
