import openai
import pytest

from tests.api.raw import ask
from tests.server import Running


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


def test_the_list_needs_a_key(echo_server: Running) -> None:
    assert ask(echo_server, "GET", "/v1/models", headers={"Authorization": None}).status == 401
