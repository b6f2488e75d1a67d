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


def test_what_a_model_of_this_machine_can_be_asked_for(echo_server: Running) -> None:
    listed = {model["id"]: model for model in ask(echo_server, "GET", "/v1/models").json["data"]}
    paths = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/moderations", "/v1/responses"]
    assert listed["echo"]["endpoints"] == listed["gpt-4"]["endpoints"] == paths


def test_what_a_model_could_be_asked_for_that_was_not_pulled(tmp_path: Path) -> None:
    with running(tmp_path, {"models": {"whisper-base": {}, "hibari": {"engine": "hibari"}}}) as server:
        listed = {model["id"]: model for model in ask(server, "GET", "/v1/models").json["data"]}
    assert listed["whisper-1"]["endpoints"] == ["/v1/audio/transcriptions", "/v1/audio/translations"]
    assert listed["tts-1"]["endpoints"] == ["/v1/audio/speech"]


def test_one_of_them(client: openai.OpenAI) -> None:
    assert client.models.retrieve("gpt-4o").id == "gpt-4o"


@pytest.mark.parametrize(("name", "message"), [("nobody", "does not exist"), ("text-davinci-003", "deprecated")])
def test_names_that_lead_nowhere(client: openai.OpenAI, name: str, message: str) -> None:
    with pytest.raises(openai.NotFoundError, match=message):
        client.models.retrieve(name)


def test_the_list_needs_a_key(echo_server: Running) -> None:
    assert ask(echo_server, "GET", "/v1/models", headers={"Authorization": None}).status == 401
