"""`POST /v1/responses`, answered in the request: what is asked for, what is said, and what is kept."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests import openapi, talkers
from tests.api import raw
from tests.api.owners import client_of, new_key, new_project
from tests.api.responding import WEATHER, said
from tests.control import databases
from tests.fake_upstream import until
from tests.store.servers import PostgresServer
from tests.upstreams import faults
from tests.upstreams.homeports import Relay, relaying

PATH = "/v1/responses"


@pytest.fixture(scope="module", params=databases.KINDS)
def relay(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    settings: dict[str, Any] = {}
    if request.param == "postgresql":
        postgres: PostgresServer = request.getfixturevalue("postgres")
        settings["database_url"] = postgres.create("responses")
    with relaying(tmp_path_factory.mktemp("responses"), settings) as made:
        yield made


@pytest.fixture(scope="module")
def client(relay: Relay) -> Iterator[openai.OpenAI]:
    with relay.client() as made:
        yield made


def asked(relay: Relay, model: str, turn: int = -1) -> Any:
    """What the upstream was asked."""
    return relay.fake.received_for(model)[turn].json


def test_a_response(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["plain"] = talkers.says("Hello, ", "you.")
    made = client.responses.create(
        model="plain",
        input="hello",
        instructions="Be kind.",
        metadata={"a": "b"},
        temperature=0.5,
        top_p=0.9,
        max_output_tokens=100,
        user="u",
        safety_identifier="s",
        prompt_cache_key="k",
        service_tier="flex",
        reasoning={"effort": "low"},
        text={"verbosity": "low"},
    )
    assert (made.status, made.output_text, said(made), made.model) == (
        "completed",
        "Hello, you.",
        ["message"],
        "plain-2024",
    )
    assert made.usage is not None
    assert (made.usage.input_tokens, made.usage.output_tokens, made.usage.total_tokens) == (20, 10, 30)
    sent = asked(relay, "plain")
    assert sent.pop("messages") == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "hello"},
    ]
    assert sent == {
        "model": "plain",
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "top_p": 0.9,
        "max_completion_tokens": 100,
        "user": "u",
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "service_tier": "flex",
        "reasoning_effort": "low",
        "verbosity": "low",
    }
    kept = client.responses.retrieve(made.id)
    assert kept == made
    assert (kept.instructions, kept.metadata, kept.temperature, kept.truncation) == (
        "Be kind.",
        {"a": "b"},
        0.5,
        "disabled",
    )


def test_what_is_kept_is_what_the_description_says(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["described"] = talkers.says(talkers.call("weather", {"city": "Rome"}))
    made = raw.ask(relay.homeport, path=PATH, body={"model": "described", "input": "hello", "tools": [WEATHER]})
    assert made.status == 200, made.body
    openapi.validate("Response", made.json)
    openapi.validate("Response", raw.ask(relay.homeport, "GET", f"{PATH}/{made.json['id']}").json)


def test_its_first_turn_has_its_request_id(relay: Relay) -> None:
    relay.fake.by_model["receipt"] = talkers.says("Yes.")
    made = raw.ask(relay.homeport, path=PATH, body={"model": "receipt", "input": "hello"})
    receipt = f"/v1/homeport/receipts/{made.headers['x-request-id']}"
    assert until(lambda: raw.ask(relay.homeport, "GET", receipt).status == 200, 60)


def test_the_limits_are_told_as_of_chats(relay: Relay) -> None:
    project = new_project(relay.homeport, "limited")
    limits = {"max_requests_per_1_minute": 1}
    path = f"/v1/organization/projects/{project}/rate_limits/rl-limited"
    assert raw.ask(relay.homeport, path=path, body=limits).status == 200
    key = new_key(relay.homeport, project)
    relay.fake.by_model["limited"] = talkers.turns(talkers.says(talkers.call("nobody", {})), talkers.says("Yes."))
    body = {"model": "limited", "input": "hello", "tools": [WEATHER]}
    made = raw.ask(relay.homeport, path=PATH, body=body, key=key)
    assert made.headers["x-ratelimit-remaining-requests"] == "0"
    assert (made.json["status"], made.json["error"]["code"]) == ("failed", "rate_limit_exceeded"), "of its second turn"
    refused = raw.ask(relay.homeport, path=PATH, body=body, key=key)
    assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
    assert refused.headers["x-ratelimit-limit-requests"] == "1"
    assert "retry-after" in refused.headers


def test_going_on_from_a_response(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["chain"] = talkers.says("Indeed.")
    first = client.responses.create(model="chain", input="one", instructions="Old.")
    second = client.responses.create(model="chain", input="two", previous_response_id=first.id, instructions="New.")
    third = client.responses.create(model="chain", input="three", previous_response_id=second.id)
    assert [message["content"] for message in asked(relay, "chain")["messages"]] == [
        "one",
        "Indeed.",
        "two",
        "Indeed.",
        "three",
    ]
    assert asked(relay, "chain", 1)["messages"][0] == {"role": "system", "content": "New."}
    assert third.previous_response_id == second.id
    listed: Any = client.responses.input_items.list(third.id, order="asc")
    assert [item.content[0].text for item in listed] == ["one", "Indeed.", "two", "Indeed.", "three"]
    with pytest.raises(openai.NotFoundError) as missing:
        client.responses.create(model="chain", input="x", previous_response_id="resp_nobody")
    assert (missing.value.param, missing.value.code) == ("previous_response_id", "previous_response_not_found")


def test_functions_are_called_by_the_client(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["caller"] = talkers.turns(
        talkers.says(
            "I look.", talkers.call("weather", {"city": "Rome"}), talkers.call("weather", {"city": "Oslo"}, at=1)
        ),
        talkers.then(lambda visit: talkers.says(" and ".join(talkers.outputs(visit)))),
    )
    tools: Any = [WEATHER]
    first = client.responses.create(
        model="caller", input="weather?", tools=tools, tool_choice="required", parallel_tool_calls=True
    )
    assert (first.status, said(first)) == ("completed", ["message", "function_call", "function_call"])
    sent = asked(relay, "caller")
    assert (sent["tool_choice"], sent["parallel_tool_calls"], sent["tools"][0]["function"]["name"]) == (
        "required",
        True,
        "weather",
    )
    calls = [item for item in first.output if item.type == "function_call"]
    assert [json.loads(call.arguments)["city"] for call in calls] == ["Rome", "Oslo"]
    outputs: Any = [
        {
            "type": "function_call_output",
            "call_id": call.call_id,
            "output": f"{json.loads(call.arguments)['city']}: sun",
        }
        for call in calls
    ]
    second = client.responses.create(model="caller", input=outputs, previous_response_id=first.id, tools=tools)
    assert second.output_text == "Rome: sun and Oslo: sun"
    by_hand: Any = [{"role": "user", "content": "weather?"}, *[item.to_dict() for item in first.output], *outputs]
    again = client.responses.create(model="caller", input=by_hand, tools=tools, store=False)
    assert again.output_text == "Rome: sun and Oslo: sun"
    for wrong, words in (
        ([outputs[0]], "No tool output found for function call"),
        ([*outputs, {**outputs[0], "call_id": "call_nobody"}], "No tool call found for function call output"),
    ):
        with pytest.raises(openai.BadRequestError, match=words) as refused:
            client.responses.create(model="caller", input=wrong, previous_response_id=first.id)
        assert refused.value.param == "input"


def test_a_call_that_nobody_can_make_is_no_part_of_the_output(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["clumsy"] = talkers.turns(
        talkers.says(talkers.call("whether", {}), talkers.call("weather", "{Rome", at=1)),
        talkers.then(lambda visit: talkers.says("; ".join(talkers.outputs(visit)))),
    )
    made = client.responses.create(model="clumsy", input="weather?", tools=[WEATHER])
    assert (made.status, said(made)) == ("completed", ["message"])
    assert "There is no tool 'whether'" in made.output_text
    assert "no JSON object" in made.output_text
    assert made.usage is not None
    assert made.usage.total_tokens == 60
    with client.responses.stream(model="clumsy", input="weather?", tools=[WEATHER]) as stream:
        assert stream.get_final_response().output_text == made.output_text


def test_only_allowed_tools_are_offered(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["allowed"] = talkers.says("Well.")
    other: Any = {**WEATHER, "name": "other"}
    allowed: Any = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "other"}]}
    client.responses.create(model="allowed", input="hello", tools=[WEATHER, other], tool_choice=allowed)
    sent = asked(relay, "allowed")
    assert ([tool["function"]["name"] for tool in sent["tools"]], sent["tool_choice"]) == (["other"], "required")
    client.responses.create(
        model="allowed", input="hello", tools=[WEATHER, other], tool_choice={"type": "function", "name": "other"}
    )
    assert asked(relay, "allowed")["tool_choice"] == {"type": "function", "function": {"name": "other"}}


class Person(BaseModel):
    name: str


def test_structured_outputs(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["structured"] = talkers.says('{"name": "Ada"}')
    parsed = client.responses.parse(model="structured", input="who?", text_format=Person)
    assert parsed.output_parsed == Person(name="Ada")
    sent = asked(relay, "structured")["response_format"]
    assert (sent["type"], sent["json_schema"]["name"], sent["json_schema"]["strict"]) == ("json_schema", "Person", True)
    client.responses.create(model="structured", input="json, who?", text={"format": {"type": "json_object"}})
    assert asked(relay, "structured")["response_format"] == {"type": "json_object"}


def test_pictures(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["seer"] = talkers.says("A cat.")
    picture = "data:image/png;base64,iVBORw0KGgo="
    content: Any = [{"type": "input_text", "text": "what?"}, {"type": "input_image", "image_url": picture}]
    made = client.responses.create(model="seer", input=[{"role": "user", "content": content}])
    assert made.output_text == "A cat."
    assert asked(relay, "seer")["messages"][0]["content"] == [
        {"type": "text", "text": "what?"},
        {"type": "image_url", "image_url": {"url": picture}},
    ]


def test_what_ends_too_soon_is_incomplete(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["long"] = talkers.says("On and", finish="length")
    relay.fake.by_model["bad"] = talkers.says("On", finish="content_filter")
    made = client.responses.create(model="long", input="go on", max_output_tokens=16)
    assert made.incomplete_details is not None
    assert (made.status, made.incomplete_details.reason, made.output[0].status) == (  # type: ignore[union-attr]
        "incomplete",
        "max_output_tokens",
        "incomplete",
    )
    filtered = client.responses.create(model="bad", input="go on")
    assert filtered.incomplete_details is not None
    assert filtered.incomplete_details.reason == "content_filter"


def test_refusals_and_thoughts(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["thinker"] = talkers.says(
        {"reasoning_content": "Hm. "}, {"reasoning_content": "No."}, {"refusal": "I won't."}
    )
    made = client.responses.create(model="thinker", input="do it")
    thought, message = made.output
    assert thought.type == "reasoning"
    assert thought.content is not None
    assert thought.content[0].text == "Hm. No."
    assert message.type == "message"
    assert message.content[0].type == "refusal"
    assert message.content[0].refusal == "I won't."
    relay.fake.by_model["thinker"] = talkers.says("Fine.")
    client.responses.create(model="thinker", input="please", previous_response_id=made.id)
    roles = [message["role"] for message in asked(relay, "thinker")["messages"]]
    assert roles == ["user", "assistant", "user"]


def test_conversations_get_what_was_said(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["talk"] = talkers.says("Aha.")
    conversation = client.conversations.create(items=[{"type": "message", "role": "user", "content": "before"}])
    made = client.responses.create(model="talk", input="one", conversation=conversation.id)
    assert made.conversation is not None
    assert made.conversation.id == conversation.id
    client.responses.create(model="talk", input="two", conversation={"id": conversation.id}, store=False)
    assert [message["content"] for message in asked(relay, "talk")["messages"]] == ["before", "one", "Aha.", "two"]
    listed: Any = client.conversations.items.list(conversation.id, order="asc")
    texts = [item.content[0].text for item in listed]
    assert texts == ["before", "one", "Aha.", "two", "Aha."]
    client.responses.delete(made.id)
    assert len(client.conversations.items.list(conversation.id).data) == 5
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="talk", input="x", conversation="conv_nobody")
    with pytest.raises(openai.BadRequestError, match="cannot both be given"):
        client.responses.create(model="talk", input="x", conversation=conversation.id, previous_response_id=made.id)


def test_what_is_not_stored_is_not_there(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["forgetful"] = talkers.says("Yes.")
    made = client.responses.create(model="forgetful", input="hello", store=False)
    assert made.to_dict()["store"] is False
    for ask in (client.responses.retrieve, client.responses.delete, client.responses.input_items.list):
        with pytest.raises(openai.NotFoundError, match=made.id):
            ask(made.id)


def test_deleting(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["gone"] = talkers.says("Yes.")
    made = client.responses.create(model="gone", input="hello")
    later = client.responses.create(model="gone", input="and?", previous_response_id=made.id)
    answer = raw.ask(relay.homeport, "DELETE", f"{PATH}/{made.id}")
    assert answer.json == {"id": made.id, "object": "response", "deleted": True}
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)
    client.responses.create(model="gone", input="well?", previous_response_id=later.id)
    assert [message["content"] for message in asked(relay, "gone")["messages"]] == ["and?", "Yes.", "well?"]


def test_letters_that_databases_do_not_like(relay: Relay, client: openai.OpenAI) -> None:
    odd = "a\0b \u2028 🏡"
    relay.fake.by_model["odd"] = talkers.says(odd)
    tool: Any = {**WEATHER, "description": odd}
    made = client.responses.create(model="odd", input=odd, metadata={"k": odd}, tools=[tool])
    assert made.output_text == odd
    assert client.responses.retrieve(made.id) == made
    client.responses.create(model="odd", input="and?", previous_response_id=made.id)
    assert [message["content"] for message in asked(relay, "odd")["messages"]] == [odd, odd, "and?"]


def test_items_are_referred_to_by_their_ids(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["referring"] = talkers.says("Rome.")
    made = client.responses.create(model="referring", input="hello")
    referring: Any = [{"type": "item_reference", "id": made.output[0].id}, {"role": "user", "content": "why?"}]
    client.responses.create(model="referring", input=referring)
    assert [one["content"] for one in asked(relay, "referring")["messages"]] == ["Rome.", "why?"]
    with pytest.raises(openai.NotFoundError, match="msg_nobody"):
        client.responses.create(model="referring", input=[{"type": "item_reference", "id": "msg_nobody"}])


def test_others_see_nothing(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["private"] = talkers.says("Yes.")
    made = client.responses.create(model="private", input="hello")
    with client_of(relay.homeport, new_key(relay.homeport, new_project(relay.homeport, "strangers"))) as theirs:
        for ask in (theirs.responses.retrieve, theirs.responses.delete, theirs.responses.cancel):
            with pytest.raises(openai.NotFoundError):
                ask(made.id)
        with pytest.raises(openai.NotFoundError):
            theirs.responses.create(model="private", input="x", previous_response_id=made.id)
    project = new_project(relay.homeport, "scopes")
    reading = new_key(relay.homeport, project, scopes=["responses.read", "model.request"])
    writing = new_key(relay.homeport, project, scopes=["responses.write"])
    with client_of(relay.homeport, reading) as reader, client_of(relay.homeport, writing) as writer:
        with pytest.raises(openai.PermissionDeniedError, match=r"responses\.write"):
            reader.responses.create(model="private", input="x")
        for background in (False, True):
            with pytest.raises(openai.PermissionDeniedError, match=r"model\.request"):
                writer.responses.create(model="private", input="x", background=background)


def test_errors_before_anything_is_said_are_http_errors(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["busy"] = faults.status(429, **{"retry-after": "7"})
    for stream in (False, True):
        with pytest.raises(openai.RateLimitError) as busy:
            client.responses.create(model="busy", input="hello", stream=stream)
        assert busy.value.response.headers["retry-after"] == "7"
    relay.fake.by_model["wrong"] = faults.status(400)
    with pytest.raises(openai.BadRequestError, match="The words of the upstream"):
        client.responses.create(model="wrong", input="hello")


def test_what_fails_later_is_a_failed_response(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["later"] = talkers.turns(talkers.says(talkers.call("nobody", {})), faults.status(400))
    made = client.responses.create(model="later", input="hello", tools=[WEATHER])
    assert made.error is not None
    assert (made.status, made.error.code, made.error.message) == (
        "failed",
        "invalid_prompt",
        "The words of the upstream.",
    )
    assert client.responses.retrieve(made.id) == made
    relay.fake.by_model["breaks"] = talkers.turns(
        talkers.says(talkers.call("nobody", {})), faults.cut_after(faults.begun)
    )
    broken = client.responses.create(model="breaks", input="hello", tools=[WEATHER])
    assert broken.error is not None
    assert (broken.status, broken.error.code, broken.output) == ("failed", "server_error", [])


def test_who_leaves_ends_it(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["left"] = faults.quiet_after(faults.begun)
    with client.responses.create(model="left", input="hello", stream=True) as stream:
        made = next(stream)
        assert made.type == "response.created"
        for event in stream:
            if event.type == "response.output_text.delta":
                break
    assert relay.fake.received_for("left")[0].left.wait(60)
    assert until(lambda: raw.ask(relay.homeport, "GET", f"{PATH}/{made.response.id}").status == 200, 60)
    assert client.responses.retrieve(made.response.id).status == "cancelled"


def test_the_same_key_is_the_same_response(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["once"] = talkers.says("Once.")
    for stream in (False, True):
        body = {"model": "once", "input": f"hello {stream}", "stream": stream}
        headers: Any = {"Idempotency-Key": f"once-{stream}"}
        first = raw.ask(relay.homeport, path=PATH, body=body, headers=headers)
        again = raw.ask(relay.homeport, path=PATH, body=body, headers=headers)
        assert first.body == again.body
        assert again.headers["idempotent-replayed"] == "true"
    assert len(relay.fake.received_for("once")) == 2


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"moderation": {"model": "m"}}, "moderation"),
        ({"context_management": [{"type": "compaction"}]}, "context_management"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"include": ["nothing"]}, "include[0]"),
        ({"include": ["message.output_text.logprobs"]}, "include[0]"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "nobody"}, "tools": [WEATHER]}, "tool_choice"),
        ({"background": True, "store": False}, "background"),
        ({"stream_options": {}}, "stream_options"),
        ({"stream": True, "stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
        ({"reasoning": {"summary": "detailed"}}, "reasoning.summary"),
        ({"temperature": 3}, "temperature"),
        ({"max_output_tokens": 1}, "max_output_tokens"),
        ({"truncation": "middle"}, "truncation"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": [{"type": "web_search_call"}]}, "input[0].type"),
        ({"metadata": {"k": "v" * 600}}, "metadata.k"),
        ({"conversation": {"name": "x"}}, "conversation.name"),
        ({"previous_response_id": "a b"}, "previous_response_id"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"instructions": "\0"}, "instructions"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_its_name(relay: Relay, body: dict[str, Any], param: str) -> None:
    answer = raw.ask(relay.homeport, path=PATH, body={"model": "nobody", "input": "x", **body})
    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error"), answer.body
    assert answer.error["param"] == param


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"reasoning": {"effort": "low"}}, "reasoning.effort"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"text": {"format": {"type": "json_object"}}}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}]}, "input"),
        ({"service_tier": "priority"}, "service_tier"),
    ],
)
def test_what_a_model_cannot_do_is_refused_by_its_name(relay: Relay, body: dict[str, Any], param: str) -> None:
    answer = raw.ask(relay.homeport, path=PATH, body={"model": "echo", "input": "x", **body})
    assert (answer.status, answer.error["param"]) == (400, param), answer.body


def test_an_unknown_member(relay: Relay) -> None:
    answer = raw.ask(relay.homeport, path=PATH, body={"model": "nobody", "input": "x", "shoe": 1})
    assert (answer.status, answer.error["message"]) == (400, "Unrecognized request argument supplied: shoe")


def test_a_response_cannot_be_cancelled_unless_it_is_in_the_background(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["front"] = talkers.says("Yes.")
    made = client.responses.create(model="front", input="hello")
    with pytest.raises(openai.BadRequestError, match="background"):
        client.responses.cancel(made.id)
    with pytest.raises(openai.BadRequestError, match="background"):
        client.responses.retrieve(made.id, stream=True)


def test_azure(relay: Relay) -> None:
    relay.fake.by_model["azure"] = talkers.says("Yes.")
    version = "?api-version=2025-04-01-preview"
    made = raw.ask(relay.homeport, path=f"/openai/responses{version}", body={"model": "azure", "input": "hello"})
    assert made.json["output"][0]["content"][0]["text"] == "Yes."
    kept = raw.ask(relay.homeport, "GET", f"/openai/responses/{made.json['id']}{version}")
    assert kept.json == made.json


def test_many_at_once(relay: Relay) -> None:
    relay.fake.by_model["many"] = talkers.says("Yes.")

    async def all_of_them() -> list[str]:
        async with relay.async_client() as client, asyncio.TaskGroup() as group:
            asking = [group.create_task(client.responses.create(model="many", input=f"n{n}")) for n in range(20)]
        return [(await one).output_text for one in asking]

    assert asyncio.run(all_of_them()) == ["Yes."] * 20
