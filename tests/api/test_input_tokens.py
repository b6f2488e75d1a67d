"""`POST /v1/responses/input_tokens`: as many as the response would be told, which is neither made nor paid for."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from homeport.gateway.counting import count_request
from tests import openapi
from tests.api import raw
from tests.api.owners import client_of, new_key, new_project
from tests.api.responding import WEATHER
from tests.server import Running
from tests.upstreams.homeports import Relay, relaying

PATH = "/v1/responses/input_tokens"
SCHEMA: Any = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}
FORM: Any = {"format": {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}}


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """Its upstream would have to answer for `gpt-4o`."""
    with relaying(tmp_path_factory.mktemp("counting")) as made:
        yield made


@pytest.fixture(scope="module")
def far(relay: Relay) -> Iterator[openai.OpenAI]:
    with relay.client() as made:
        yield made


def counted(client: openai.OpenAI, model: str = "gpt-4o", **told: Any) -> int:
    found = client.responses.input_tokens.count(model=model, **told)
    assert found.object == "response.input_tokens"
    return found.input_tokens


@pytest.mark.parametrize(
    "told",
    [
        {"input": "how are you?"},
        {"input": "how are you?", "instructions": "Be kind."},
        {"input": "weather?", "tools": [WEATHER]},
        {"input": "weather?", "tools": [WEATHER], "tool_choice": "none"},
        {"input": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "why?"}]},
    ],
)
def test_a_local_model_counts_what_it_would_be_told(mine: openai.OpenAI, told: Any) -> None:
    made = mine.responses.create(model="echo", store=False, **told)
    assert made.usage is not None
    assert counted(mine, "echo", **told) == made.usage.input_tokens


def test_an_upstreams_model_is_counted_as_openai_counts(relay: Relay, far: openai.OpenAI) -> None:
    told = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hello there"}]
    assert counted(far, input="hello there", instructions="Be kind.") == count_request("gpt-4o", {"messages": told})
    assert not relay.fake.received_for("gpt-4o")


def test_what_went_before_counts(far: openai.OpenAI) -> None:
    asked: Any = [{"role": "user", "content": "how are you?"}]
    conversation = far.conversations.create(items=asked).id
    both = counted(far, input=[*asked, {"role": "user", "content": "why?"}])
    assert counted(far, input="why?", conversation=conversation) == both
    assert counted(far, conversation=conversation) == counted(far, input=asked)
    first = far.responses.create(model="echo", input=asked)
    answer: Any = {"role": "assistant", "content": first.output_text}
    assert counted(far, previous_response_id=first.id) == counted(far, input=[*asked, answer])


def test_tools_and_forms_count(far: openai.OpenAI) -> None:
    plain = counted(far, input="hello")
    search: Any = {"type": "file_search", "vector_store_ids": ["vs_none"]}
    code: Any = {"type": "code_interpreter", "container": {"type": "auto"}}
    one, two = counted(far, input="hello", tools=[WEATHER]), counted(far, input="hello", tools=[WEATHER, search])
    assert plain < one < two < counted(far, input="hello", tools=[WEATHER, search, code])
    assert not far.containers.list().data
    assert counted(far, input="hello", text=FORM) > plain


def test_a_prompt_that_is_too_long_is_counted(mine: openai.OpenAI) -> None:
    assert counted(mine, "echo", input="a " * 9000) > 8192


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"input": "x"}, 400, "model"),
        ({"model": "nobody", "input": "x"}, 404, None),
        ({"model": "echo"}, 400, "input"),
        ({"model": "echo", "input": "x", "personality": "friendly"}, 400, "personality"),
        ({"model": "echo", "input": "x", "tools": [{"type": "web_search"}]}, 400, "tools[0].type"),
        ({"model": "echo", "input": "x", "tool_choice": "required"}, 400, "tool_choice"),
        ({"model": "echo", "input": "x", "previous_response_id": "resp_none"}, 404, "previous_response_id"),
        ({"model": "echo", "input": "x", "temperature": 1}, 400, None),
        (
            {"model": "echo", "input": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            400,
            "input[0].content[0].type",
        ),
    ],
)
def test_what_cannot_be_counted(owning: Running, body: Any, status: int, param: str | None) -> None:
    answer = raw.ask(owning, "POST", PATH, body)
    assert (answer.status, answer.error["param"]) == (status, param), answer.body


def test_who_may_count(owning: Running) -> None:
    project = new_project(owning, "counting")
    reader = client_of(owning, new_key(owning, project, scopes=["responses.read"]))
    with pytest.raises(openai.PermissionDeniedError):
        reader.responses.input_tokens.count(model="echo", input="x")
    bound = client_of(owning, new_key(owning, project, models=["other"]))
    with pytest.raises(openai.PermissionDeniedError):
        bound.responses.input_tokens.count(model="echo", input="x")


def test_the_object_is_as_described(owning: Running) -> None:
    openapi.validate("TokenCountsResource", raw.ask(owning, "POST", PATH, {"model": "echo", "input": "x"}).json)
