from pathlib import Path

import openai
import pytest

from tests.api.raw import ask
from tests.server import Running, running


def test_the_list_shows_models_and_the_names_that_lead_to_them(client: openai.OpenAI, echo_server: Running) -> None:
    listed = {model.id: model for model in client.models.list()}
    assert {"echo", "slow", "gpt-4", "gpt-4o", "gpt-3.5-turbo", "gpt-3.5-turbo-instruct"} <= set(listed)
    raw = {model["id"]: model for model in ask(echo_server, "GET", "/v1/models").json["data"]}
    assert raw["gpt-4"]["root"] == "echo"
    assert listed["echo"].object == "model"
    assert listed["echo"].owned_by == "homeport"


def test_one_of_them(client: openai.OpenAI) -> None:
    assert client.models.retrieve("gpt-4o").id == "gpt-4o"


@pytest.mark.parametrize(("name", "message"), [("nobody", "does not exist"), ("text-davinci-003", "deprecated")])
def test_names_that_lead_nowhere(client: openai.OpenAI, name: str, message: str) -> None:
    with pytest.raises(openai.NotFoundError, match=message):
        client.models.retrieve(name)


def test_what_models_of_this_machine_can_be_asked_for(tmp_path: Path) -> None:
    """One that was not pulled, too: by its kind."""
    settings = {
        "models": {"echo": {"engine": "echo", "aliases": ["parrot"]}, "kokoro": {}, "smollm2-135m-instruct": {}},
        "upstreams": {"far": {"base_url": "http://127.0.0.1:9/v1", "api_key": "k", "models": ["far-away"]}},
    }
    with running(tmp_path, settings) as server:
        listed = {model["id"]: model for model in ask(server, "GET", "/v1/models").json["data"]}
    assert listed["echo"]["capabilities"] == ["chat", "complete", "embed", "moderate"]
    assert listed["parrot"]["capabilities"] == listed["echo"]["capabilities"]
    assert listed["kokoro"]["capabilities"] == ["speak"]
    assert listed["smollm2-135m-instruct"]["capabilities"] == ["chat", "complete"]
    states = {name: listed[name]["state"] for name in ("echo", "parrot", "kokoro", "smollm2-135m-instruct")}
    assert states == {"echo": "ready", "parrot": "ready", "kokoro": "missing", "smollm2-135m-instruct": "missing"}
    assert "homeport pull kokoro" in listed["kokoro"]["reason"]
    assert "reason" not in listed["echo"]
    assert not {"capabilities", "state", "reason"} & set(listed["far-away"])


def test_the_list_needs_a_key(echo_server: Running) -> None:
    assert ask(echo_server, "GET", "/v1/models", headers={"Authorization": None}).status == 401
