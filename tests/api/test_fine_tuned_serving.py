"""Fine-tuned models as programs use them: who may, what answers, what it costs, and how they go."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import openai
import pytest

from tests import adapters, batches, tuned
from tests.api import raw
from tests.api.owners import client_of, new_key, new_project
from tests.fake_upstream import TEXT, until
from tests.server import KEY, Running, running
from tests.training.text import tiny
from tests.upstreams.homeports import Relay, relaying

pytest.importorskip("xllamacpp")

HELLO: Any = [{"role": "user", "content": "hi"}]
PRICED = "priced"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("tiny") / "tiny.gguf", spells=True)


@pytest.fixture(scope="module")
def some(base: Path) -> Sequence[Path]:
    return [adapters.write(base.with_name(f"{number}.gguf"), base, seed=number) for number in range(3)]


def settings_of(base: Path) -> dict[str, Any]:
    small = {"path": str(base), "engine": "llama_cpp", "threads": 1, "parallel": 2}
    prices = {
        "tiny": {"input": "1", "output": "2"},
        f"ft:{PRICED}": {"input": "10", "output": "20"},
        PRICED: {"input": "1", "output": "1"},
    }
    aliases = {PRICED: "tiny", "gpt-4o-mini": "tiny"}
    return {"models": {"tiny": small, "echo": {"engine": "echo"}}, "prices": prices, "aliases": aliases}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("tuned"), settings_of(base)) as made:
        yield made


@pytest.fixture(scope="module")
def mine(server: Running) -> Iterator[openai.OpenAI]:
    with client_of(server) as made:
        yield made


@pytest.fixture(scope="module")
def strangers(server: Running) -> str:
    return new_project(server, "strangers")


@pytest.fixture(scope="module")
def theirs(server: Running, strangers: str) -> Iterator[openai.OpenAI]:
    with client_of(server, new_key(server, strangers)) as made:
        yield made


@pytest.fixture(scope="module")
def model(server: Running, some: Sequence[Path]) -> str:
    return tuned.add(server, some[0])


@pytest.fixture(scope="module")
def other(server: Running, some: Sequence[Path]) -> str:
    return tuned.add(server, some[1])


def asked(**more: Any) -> Any:
    bias = {str(token): bias for token, bias in adapters.ASCII.items()}
    return {"messages": HELLO, "temperature": 0, "max_tokens": 12, "logit_bias": bias, **more}


def said(client: openai.OpenAI, model: str, **more: Any) -> str:
    return client.chat.completions.create(model=model, **asked(**more)).choices[0].message.content or ""


# What answers


def test_each_answers_as_itself(mine: openai.OpenAI, model: str, other: str) -> None:
    answers = [mine.chat.completions.create(model=name, **asked()) for name in ("tiny", model, other)]
    assert [one.model for one in answers] == ["tiny", model, other]
    assert len({one.choices[0].message.content for one in answers}) == 3
    assert len({one.system_fingerprint for one in answers}) == 3
    assert said(mine, "tiny") == answers[0].choices[0].message.content


def test_it_answers_the_moment_that_it_is_there(server: Running, mine: openai.OpenAI, some: Sequence[Path]) -> None:
    """Its job is seen to have succeeded before this process has looked for new models by itself."""
    for _ in range(3):
        assert said(mine, tuned.add(server, some[0], told=False))
        assert mine.models.retrieve(tuned.add(server, some[0], told=False)).owned_by == "homeport"


def test_a_stream_is_the_same_text(mine: openai.OpenAI, model: str) -> None:
    chunks = list(mine.chat.completions.create(model=model, stream=True, **asked()))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == said(mine, model)
    assert {chunk.model for chunk in chunks} == {model}


def test_choices_and_log_probabilities(mine: openai.OpenAI, model: str) -> None:
    several = mine.chat.completions.create(model=model, n=2, **asked())
    assert {one.message.content for one in several.choices} == {said(mine, model)}
    first, base = [
        mine.chat.completions.create(model=name, logprobs=True, **asked()).choices[0].logprobs
        for name in (model, "tiny")
    ]
    assert first is not None
    assert base is not None
    assert first.content != base.content


def test_completions_are_scored_by_it(mine: openai.OpenAI, model: str) -> None:
    given = [
        mine.completions.create(model=name, prompt="hello", echo=True, logprobs=1, max_tokens=0)
        for name in (model, "tiny")
    ]
    assert [one.model for one in given] == [model, "tiny"]
    scores = [one.choices[0].logprobs for one in given]
    assert scores[0] is not None
    assert scores[1] is not None
    assert scores[0].token_logprobs != scores[1].token_logprobs
    assert scores[0].tokens == scores[1].tokens


def test_what_its_base_cannot_it_cannot(mine: openai.OpenAI, model: str) -> None:
    with pytest.raises(openai.PermissionDeniedError, match="not allowed to generate embeddings"):
        mine.embeddings.create(model=model, input="hello")


def test_a_batch(mine: openai.OpenAI, model: str) -> None:
    lines = [batches.chat(number, **{"model": model, **asked(), "text": None}) for number in range(3)]
    for line in lines:
        line["body"]["messages"] = HELLO
    done = batches.run(mine, lines)
    assert (done.status, batches.counts(done)) == ("completed", (3, 3, 0))
    assert done.output_file_id is not None
    for row in map(json.loads, mine.files.content(done.output_file_id).text.splitlines()):
        assert row["response"]["body"]["model"] == model
        assert row["response"]["body"]["choices"][0]["message"]["content"] == said(mine, model)


def test_azures_way(server: Running, mine: openai.OpenAI, model: str) -> None:
    with openai.AzureOpenAI(azure_endpoint=server.url, api_key=KEY, api_version="2024-10-21", max_retries=0) as azure:
        assert said(azure, model) == said(mine, model)
        assert azure.models.retrieve(model) == mine.models.retrieve(model)
        assert [*azure.models.list()] == [*mine.models.list()]


@pytest.mark.parametrize("bytes_", [b"no adapter at all", b""])
def test_a_damaged_adapter_is_an_error_for_its_own_requests(
    server: Running, mine: openai.OpenAI, model: str, bytes_: bytes
) -> None:
    broken = tuned.add(server, bytes_)
    before = said(mine, model)
    with pytest.raises(openai.APIStatusError, match="damaged") as caught:
        said(mine, broken)
    assert (caught.value.status_code, caught.value.response.headers["x-should-retry"]) == (503, "false")
    assert (said(mine, model), said(mine, "tiny") != "") == (before, True)


def test_an_engine_that_cannot_says_so(server: Running, mine: openai.OpenAI, some: Sequence[Path]) -> None:
    name = tuned.add(server, some[2], model="echo", base="echo")
    with pytest.raises(openai.APIStatusError, match="does not serve fine-tuned models"):
        said(mine, name)


# Who may


def test_they_are_listed_for_whom_may_use_them(
    server: Running, mine: openai.OpenAI, theirs: openai.OpenAI, model: str
) -> None:
    listed = {one.id: one for one in mine.models.list()}
    assert listed[model].owned_by == "homeport"
    assert abs(listed[model].created - mine.chat.completions.create(model="tiny", **asked()).created) < 300
    assert model not in {one.id for one in theirs.models.list()}
    assert mine.models.retrieve(model) == listed[model]
    encoded = raw.ask(server, "GET", "/v1/models/" + model.replace(":", "%3A"))
    assert (encoded.json["id"], encoded.json["root"]) == (model, "tiny")


def test_another_projects_is_as_one_that_does_not_exist(theirs: openai.OpenAI, model: str) -> None:
    told = set()
    for name in (model, "ft:tiny:nobody::12345678"):
        for ask in (lambda name=name: said(theirs, name), lambda name=name: theirs.models.retrieve(name)):
            with pytest.raises(openai.NotFoundError) as caught:
                ask()
            assert caught.value.code == "model_not_found"
            told.add(str(caught.value).replace(name, "NAME"))
    assert len(told) == 1


def test_a_permission_opens_it_until_it_is_taken(
    server: Running, mine: openai.OpenAI, theirs: openai.OpenAI, strangers: str, model: str
) -> None:
    tuned.grant(server, model, strangers)
    assert said(theirs, model) == said(mine, model)
    assert theirs.models.retrieve(model).id == model
    tuned.revoke(server, model)
    with pytest.raises(openai.NotFoundError):
        said(theirs, model)


@pytest.mark.parametrize(
    ("models", "may"),
    [(["tiny"], True), (["gpt-4o-mini"], False), (["ITSELF"], True), (["echo"], False)],
    ids=str,
)
def test_a_list_of_models_names_it_or_what_it_was_made_from(
    server: Running, model: str, models: list[str], may: bool
) -> None:
    """Its checkpoints go with it."""
    named = [model if name == "ITSELF" else name for name in models]
    step = tuned.add(server, b"", name=f"{model}:ckpt-step-{len(named)}{sum(map(len, models))}")
    with client_of(server, new_key(server, tuned.project_of(server), models=named)) as client:
        assert ({model, step} <= {one.id for one in client.models.list()}) is may
        if may:
            assert said(client, model)
        else:
            with pytest.raises(openai.PermissionDeniedError, match="does not have access to model"):
                said(client, model)


# How they go


def test_a_model_that_was_deleted_is_gone(server: Running, mine: openai.OpenAI, base: Path) -> None:
    adapter = adapters.write(base.with_name("short-lived.gguf"), base, seed=50)
    name = tuned.add(server, adapter)
    before = tuned.files(server)
    said(mine, name)
    (file,) = tuned.files(server) - before
    assert (server.data / "adapters" / file).read_bytes() == adapter.read_bytes()
    tuned.remove(server, name)
    with pytest.raises(openai.NotFoundError, match="does not exist or you do not have access"):
        said(mine, name)
    assert until(lambda: file not in tuned.files(server))
    assert before <= tuned.files(server)


def test_what_two_models_share_stays_with_the_second(server: Running, mine: openai.OpenAI, base: Path) -> None:
    """The last checkpoint and the finished model are the same bytes."""
    adapter = adapters.write(base.with_name("shared.gguf"), base, seed=51)
    names = [tuned.add(server, adapter) for _ in range(2)]
    answers = [said(mine, name) for name in names]
    assert answers[0] == answers[1]
    files = tuned.files(server)
    tuned.remove(server, names[0])
    tuned.remove(server, tuned.add(server, b"passes by"))  # a look or two later
    assert said(mine, names[1]) == answers[1]
    assert files <= tuned.files(server)


def test_its_base_is_gone(tmp_path: Path, base: Path, some: Sequence[Path]) -> None:
    """The model is listed, for it can come back; asked, it says what to do."""
    with running(tmp_path, settings_of(base)) as server:
        name = tuned.add(server, some[0])
    with running(tmp_path) as server, client_of(server) as client:
        assert client.models.retrieve(name).id == name
        with pytest.raises(openai.NotFoundError, match=r'the model `tiny`.* \[models\."tiny"\]'):
            said(client, name)
    missing = {"models": {"tiny": {"engine": "llama_cpp"}, "echo": {"engine": "echo"}}}
    with running(tmp_path, missing) as server, client_of(server) as client:
        with pytest.raises(openai.InternalServerError, match="homeport pull tiny"):
            said(client, name)


# What it costs


@pytest.mark.parametrize(
    ("made_from", "price"), [("tiny", (1, 2)), (PRICED, (10, 20)), ("gpt-4o-mini", (1, 2))], ids=str
)
def test_on_this_machine_it_costs_what_the_operator_says(
    server: Running, mine: openai.OpenAI, some: Sequence[Path], made_from: str, price: tuple[int, int]
) -> None:
    """Its own price, or its base's. What a hosted model of that name costs is no matter."""
    name = tuned.add(server, some[0], model=made_from)
    given = mine.chat.completions.with_raw_response.create(model=name, **asked())
    usage = given.parse().usage
    assert usage is not None
    cached = usage.prompt_tokens_details.cached_tokens or 0 if usage.prompt_tokens_details else 0
    assert cached >= 0
    cost = (usage.prompt_tokens * price[0] + usage.completion_tokens * price[1]) / 1e6
    assert float(given.headers["x-homeport-cost"]) == pytest.approx(cost)
    receipt = raw.ask(server, "GET", f"/v1/homeport/receipts/{given.headers['x-request-id']}").json
    assert receipt["model"] == name


def test_the_cache_does_not_mix_them(tmp_path: Path, base: Path, some: Sequence[Path]) -> None:
    cache = {"enabled": True}
    with running(tmp_path, {**settings_of(base), "cache": cache}) as server, client_of(server) as client:
        names = ["tiny", *(tuned.add(server, one) for one in some[:2])]
        found = [
            client.chat.completions.with_raw_response.create(
                model=name, extra_headers={"x-homeport-cache": "on"}, **asked()
            )
            for name in (*names, *names)
        ]
        assert [one.headers["x-homeport-cache"] for one in found] == ["miss"] * 3 + ["hit"] * 3
        texts = [one.parse().choices[0].message.content for one in found]
        assert texts[:3] == texts[3:]
        assert len({*texts}) == 3


# Those of an upstream


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with relaying(tmp_path_factory.mktemp("relay")) as made:
        yield made


def test_an_upstreams_model_is_asked_there_and_costs_what_is_listed(relay: Relay) -> None:
    upstream = relay.homeport.app.upstreams[0].name
    name = tuned.add(
        relay.homeport, None, model="gpt-4o-mini-2024-07-18", base="gpt-4o-mini-2024-07-18", upstream=upstream
    )
    with relay.client() as client:
        given = client.chat.completions.with_raw_response.create(model=name, messages=HELLO)
    assert given.parse().choices[0].message.content == TEXT
    assert relay.fake.received[-1].json["model"] == name
    prompt, cached, completion = 11, 3, 7  # of what the fake upstream counts; 0.30, 0.15 and 1.20 dollars a million
    cost = ((prompt - cached) * 0.30 + cached * 0.15 + completion * 1.20) / 1e6
    assert float(given.headers["x-homeport-cost"]) == pytest.approx(cost)
    stranger = new_key(relay.homeport, new_project(relay.homeport, "strangers"))
    before = len(relay.fake.received)
    refused = raw.ask(relay.homeport, body={"model": name, "messages": HELLO}, key=stranger)
    assert (refused.status, refused.error["code"], len(relay.fake.received)) == (404, "model_not_found", before)
    unknown = raw.ask(relay.homeport, body={"model": "ft:gpt-4o:elsewhere::1", "messages": HELLO}, key=stranger)
    assert unknown.status == 200, "an upstream that takes any name knows its own"
