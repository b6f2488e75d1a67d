"""Projects with keys of their own, for tests of what one owns and another must not see."""

from typing import Any

import openai

from tests.api import raw
from tests.fake_upstream import until
from tests.server import KEY, Running


def client_of(server: Running, key: str = KEY) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.base_url, api_key=key, max_retries=0)


def new_project(server: Running, name: str) -> str:
    made = raw.ask(server, "POST", "/v1/organization/projects", {"name": name})
    assert made.status == 200, made.body
    project: str = made.json["id"]
    return project


def new_key(server: Running, project: str, **settings: Any) -> str:
    """Once the gateway knows it."""
    made = raw.ask(server, "POST", f"/v1/homeport/projects/{project}/api_keys", {"name": "k", **settings})
    assert made.status == 200, made.body
    key: str = made.json["value"]
    assert until(lambda: raw.ask(server, "GET", "/v1/models", key=key).status != 401)
    return key
