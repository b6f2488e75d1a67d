"""Assistants, threads and messages by hand, for what the SDK would not send; and what of them the SDK warns of."""

from typing import Any

import pytest

from tests.api import raw
from tests.server import KEY, Running

V2: dict[str, str | None] = {"OpenAI-Beta": "assistants=v2"}
#: Every call of the SDK for them says that OpenAI has given them up.
DEPRECATED = pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")


def ask(server: Running, method: str, path: str, body: Any = None, *, key: str = KEY) -> raw.Answer:
    return raw.ask(server, method, f"/v1/{path}", {} if body is None else body, V2, key=key)


def refused(server: Running, path: str, body: Any, status: int = 400) -> dict[str, Any]:
    answer = ask(server, "POST", path, body)
    assert answer.status == status, answer.body
    return answer.error
