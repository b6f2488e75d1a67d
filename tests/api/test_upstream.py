"""An upstream through a whole Homeport, as programs use it: what goes there, what comes back, and nothing else."""

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from homeport.errors import SettingsError
from tests.api import raw
from tests.fake_upstream import TEXT, USAGE, Visit, answer_well, events, fake_upstream, plain_answer, until
from tests.server import KEY, running
from tests.upstreams import faults
from tests.upstreams.homeports import UPSTREAM_KEY, Relay, relaying

HELLO: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module", params=[True, False], ids=["lane", "asgi"])
def relay(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    settings = {"aliases": {"nick": "far-name"}}
    with relaying(tmp_path_factory.mktemp("relay"), settings, lane=request.param) as made:
        yield made


def body(model: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": HELLO, **fields}


def last(relay: Relay) -> Visit:
    return relay.fake.received[-1]


def test_a_plain_answer_is_untouched(relay: Relay) -> None:
    answer = raw.ask(relay.homeport, body=body("m"))
    assert answer.body == plain_answer(last(relay))
    assert answer.headers["content-type"] == "application/json"


def test_a_streamed_answer_is_untouched_but_for_the_usage(relay: Relay) -> None:
    answer = raw.ask(relay.homeport, body=body("m", stream=True))
    visit = last(relay)
    assert visit.json["stream_options"] == {"include_usage": True}
    shown = [one.replace(b',"usage":null', b"") for one in events(visit) if b"prompt_tokens" not in one]
    assert answer.body == b"".join(shown)


def test_usage_is_shown_to_those_who_asked(relay: Relay) -> None:
    answer = raw.ask(relay.homeport, body=body("m", stream=True, stream_options={"include_usage": True}))
    assert answer.body == b"".join(events(last(relay)))
    assert raw.events(answer.body)[-2]["usage"] == USAGE


def test_other_stream_options_stay(relay: Relay) -> None:
    options = {"include_usage": False, "include_obfuscation": True}
    answer = raw.ask(relay.homeport, body=body("m", stream=True, stream_options=options))
    assert last(relay).json["stream_options"] == {"include_usage": True, "include_obfuscation": True}
    assert b"prompt_tokens" not in answer.body


def test_a_request_is_untouched(relay: Relay) -> None:
    sent = b'{ "model":"m", "messages" : [{"role":"user","content":"\\u00e9 \xc3\xa9"}], "seed": 1.50, "own": [1 ] }'
    raw.ask(relay.homeport, body=sent)
    assert last(relay).body == sent
    assert last(relay).path == "/v1/chat/completions"


def test_an_alias_is_renamed_and_nothing_else(relay: Relay) -> None:
    raw.ask(relay.homeport, body=body("nick", own={"a": 1.50}))
    assert last(relay).json == body("far-name", own={"a": 1.50})
    (row, *_) = relay.rows("nick")
    assert (row["ran"], row["outcome"], row["status"]) == ("far-name-2024", "completed", 200)


def test_completions(relay: Relay) -> None:
    with relay.client() as client:
        assert client.completions.create(model="m", prompt="hello").choices[0].text == TEXT
        chunks = client.completions.create(model="m", prompt="hello", stream=True)
        assert "".join(chunk.choices[0].text for chunk in chunks) == TEXT
    assert last(relay).path == "/v1/completions"


def test_the_sdk_reads_it(relay: Relay) -> None:
    with relay.client() as client:
        answer = client.chat.completions.create(model="m", messages=HELLO)
        chunks = list(client.chat.completions.create(model="m", messages=HELLO, stream=True))
    assert answer.choices[0].message.content == TEXT
    assert answer.usage is not None
    assert answer.usage.total_tokens == 18
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT
    assert all(chunk.usage is None for chunk in chunks)


def test_the_counts_are_written_down(relay: Relay) -> None:
    for stream in (False, True):
        raw.ask(relay.homeport, body=body("counted", stream=stream))
    rows = relay.rows("counted", 2)
    assert [(row["prompt_tokens"], row["completion_tokens"], row["cached_tokens"]) for row in rows[:2]] == [
        (11, 7, 3)
    ] * 2
    assert {row["outcome"] for row in rows} == {"completed"}
    assert {row["backend"] for row in rows} == {"far"}


def test_custom_headers_go_there_and_come_back_and_secrets_do_not(relay: Relay) -> None:
    sent: dict[str, str | None] = {
        "X-Team": "blue\tgreen",
        "X-My-Token": "secret-1",
        "Cookie": "secret-2",
        "Api-Key": "secret-3",
    }
    answer = raw.ask(relay.homeport, body=body("m"), headers=sent)
    visit = last(relay)
    assert visit.headers["x-team"] == "blue\tgreen"
    assert answer.headers["x-team"] == "blue\tgreen"
    assert visit.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert visit.headers["x-client-request-id"] == answer.headers["x-request-id"]
    everything = repr(visit.headers) + visit.body.decode()
    assert KEY not in everything
    assert "secret-" not in everything
    assert set(visit.headers) == {
        *("host", "accept-encoding", "authorization", "content-type", "content-length"),
        *("x-team", "x-client-request-id"),
    }


def test_the_upstreams_headers_stay_there(relay: Relay) -> None:
    headers = raw.ask(relay.homeport, body=body("m")).headers
    assert "x-upstream" not in headers
    assert headers["openai-organization"] == "homeport"


def test_the_upstreams_key_is_told_to_nobody(relay: Relay, caplog: pytest.LogCaptureFixture) -> None:
    said = {"message": f"Incorrect API key provided: {UPSTREAM_KEY}."}
    relay.fake.by_model["no-entry"] = faults.status(401, said)
    with caplog.at_level(logging.DEBUG):
        answer = raw.ask(relay.homeport, body=body("no-entry"))
    assert UPSTREAM_KEY not in answer.body.decode() + repr(answer.headers) + caplog.text
    assert "upstreams.far.api_key" in answer.error["message"]
    assert answer.headers["x-should-retry"] == "false"
    for file in relay.homeport.data.rglob("*"):
        assert file.is_dir() or UPSTREAM_KEY.encode() not in file.read_bytes()


def test_every_name_nobody_claims_goes_there_and_is_listed(relay: Relay) -> None:
    with relay.client() as client:
        names = {model.id: model.owned_by for model in client.models.list()}
        assert names == {"echo": "homeport", "nick": "far", "fake-a": "far", "fake-b": "far"}
        assert client.models.retrieve("fake-a").owned_by == "far"
        assert client.chat.completions.create(model="echo", messages=HELLO).choices[0].message.content == "hello"
    assert not relay.fake.received_for("echo")


def test_a_wrong_key_reaches_nobody(relay: Relay) -> None:
    before = len(relay.fake.received)
    assert (
        raw.ask(relay.homeport, body=body("m"), headers={"Authorization": "Bearer sk-wrong-wrong-wrong"}).status == 401
    )
    assert len(relay.fake.received) == before


def test_fifty_at_once_share_few_connections(relay: Relay) -> None:
    async def ask_all() -> list[str | None]:
        async with relay.async_client() as client:
            answers = await asyncio.gather(
                *(client.chat.completions.create(model=f"many-{n}", messages=HELLO) for n in range(50))
            )
            return [answer.model for answer in answers]

    before = relay.fake.connections
    assert asyncio.run(ask_all()) == [f"many-{n}-2024" for n in range(50)]
    opened = relay.fake.connections - before
    assert asyncio.run(ask_all()) == [f"many-{n}-2024" for n in range(50)]
    assert opened <= 50
    assert relay.fake.connections - before - opened < 50


def test_no_more_connections_than_the_settings_allow(tmp_path: Path) -> None:
    def slow(visit: Visit) -> None:
        time.sleep(0.02)
        answer_well(visit)

    async def ask_all(relay: Relay) -> None:
        async with relay.async_client() as client:
            chats = client.chat.completions
            plain = [chats.create(model="slow", messages=HELLO) for _ in range(20)]
            assert [answer.choices[0].message.content for answer in await asyncio.gather(*plain)] == [TEXT] * 20

    with relaying(tmp_path, connections=3) as relay:
        relay.fake.by_model["slow"] = slow
        asyncio.run(ask_all(relay))
        assert relay.fake.connections == 3


def test_when_all_connections_are_busy_for_too_long_it_is_said(tmp_path: Path) -> None:
    with relaying(tmp_path, connections=1, queue_seconds=0.2) as relay:
        relay.fake.by_model["silent"] = faults.silence
        with raw.connect(relay.homeport) as holding:
            holding.sendall(raw.request_bytes(body("silent")))
            assert until(lambda: len(relay.fake.received) == 1)
            error = raw.ask(relay.homeport, body=body("m"))
            assert (error.status, error.error["code"]) == (503, "upstream_busy")
        assert until(lambda: relay.fake.received[0].left.is_set())
        assert raw.ask(relay.homeport, body=body("m")).status == 200


def test_without_usage_in_streams_nothing_is_asked(tmp_path: Path) -> None:
    with relaying(tmp_path, usage_in_streams=False) as relay:
        sent = body("m", stream=True)
        answer = raw.ask(relay.homeport, body=sent)
        assert last(relay).body == json.dumps(sent).encode()
        assert answer.body == b"".join(events(last(relay)))
        (row,) = relay.rows("m")
        assert row["estimated"]
        assert row["completion_tokens"] == 9, "counted here, by OpenAI's tokenizer"


@pytest.mark.parametrize("credential", ["api_key", "bearer_token"])
def test_azure_has_deployments_a_version_and_its_own_header(tmp_path: Path, credential: str) -> None:
    with fake_upstream() as fake:
        azure = {"kind": "azure", "base_url": fake.url, credential: "az-secret", "models": ["my gpt"]}
        with running(tmp_path, {"upstreams": {"az": azure}}) as homeport:
            relay = Relay(fake, homeport)
            with relay.client() as client:
                answer = client.chat.completions.create(model="my gpt", messages=HELLO)
                chunks = list(client.chat.completions.create(model="my gpt", messages=HELLO, stream=True))
                assert "my gpt" in {model.id for model in client.models.list()}
                with pytest.raises(openai.NotFoundError):
                    client.chat.completions.create(model="other", messages=HELLO)
        assert answer.choices[0].message.content == TEXT
        assert len(chunks) == 4
        visit = fake.received[0]
        assert visit.path == "/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21"
        if credential == "api_key":
            assert visit.headers["api-key"] == "az-secret"
            assert "authorization" not in visit.headers
        else:
            assert visit.headers["authorization"] == "Bearer az-secret"
            assert "api-key" not in visit.headers


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"bearer_token": "t"}, "bearer_token is for kind azure"),
        ({"kind": "azure", "bearer_token": "t", "api_key": "k"}, "leave one of them out"),
        ({"kind": "azure", "bearer_token": "t", "api_keys": ["k"]}, "leave one of them out"),
    ],
)
def test_a_credential_that_would_not_be_used_is_refused(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words), running(tmp_path, {"upstreams": {"far": settings}}):
        pass


def test_organization_and_project_are_sent(tmp_path: Path) -> None:
    with relaying(tmp_path, organization="org-1", project="proj-1") as relay:
        raw.ask(relay.homeport, body=body("m"))
        assert last(relay).headers["openai-organization"] == "org-1"
        assert last(relay).headers["openai-project"] == "proj-1"
