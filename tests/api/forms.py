"""Forms by hand (multipart/form-data), for what no client library would send."""

from collections.abc import Sequence
from typing import Any

from tests.api import raw
from tests.server import KEY, Running

BOUNDARY = b"------------------------d74496d66958873e"
LINE = b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{}}\n'


def part(disposition: str, content: bytes, *lines: bytes) -> bytes:
    """lines: further headers."""
    head = b"".join(
        [b"Content-Disposition: form-data; %b\r\n" % disposition.encode(), *(one + b"\r\n" for one in lines)]
    )
    return head + b"\r\n" + content


PURPOSE = part('name="purpose"', b"user_data")
FILE = part('name="file"; filename="a.txt"', b"hello")


def body(parts: Sequence[bytes], boundary: bytes = BOUNDARY) -> bytes:
    opened = b"".join(b"--%b\r\n%b\r\n" % (boundary, one) for one in parts)
    return opened + b"--%b--\r\n" % boundary


def post(
    server: Running,
    sent: Sequence[bytes] | bytes,
    path: str = "/v1/files",
    *,
    kind: str | None = f"multipart/form-data; boundary={BOUNDARY.decode()}",
    key: str = KEY,
    **headers: str,
) -> raw.Answer:
    """sent: parts, or the whole body as it is."""
    whole = sent if isinstance(sent, bytes) else body(sent)
    return raw.ask(server, "POST", path, whole, {"Content-Type": kind, **headers}, key=key)


def refused(answer: raw.Answer, status: int = 400, param: str | None = None, *, code: str | None = None) -> str:
    """It is OpenAI's error object; returns its message."""
    error: dict[str, Any] = answer.error
    assert (answer.status, error["type"]) == (status, "invalid_request_error"), answer.body
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["param"], error["code"]) == (param, code), error
    message: str = error["message"]
    return message
