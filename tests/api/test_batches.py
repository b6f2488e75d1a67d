"""Batches as programs use them: through OpenAI's SDK, against a whole Homeport."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types import Batch, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion

from homeport.control import batch_states
from tests import openapi
from tests.api import raw
from tests.api.test_permissions import new_key
from tests.batches import CHAT, chat, content, counts, create, custom_ids, ended, errors, line, run, upload, wait_for
from tests.fake_upstream import Visit, answer_well, plain_answer, until
from tests.server import KEY, Running, running
from tests.upstreams import faults
from tests.upstreams.homeports import Relay, relaying

EMBEDDINGS: Any = "/v1/embeddings"
COMPLETIONS: Any = "/v1/completions"
MODELS = {
    "echo": {"engine": "echo"},
    "other": {"engine": "echo"},
    "slow": {"engine": "echo", "delay": 0.05, "parallel": 4},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    tiers = {"home": {"limited": {"batch_1_day_max_input_tokens": 40}}}
    settings = {"models": MODELS, "aliases": {"limited": "slow"}, "tiers": tiers, "telemetry": {"metrics": "admin"}}
    with running(tmp_path_factory.mktemp("batches"), settings) as made:
        yield made


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key=KEY, admin_api_key=KEY, max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with relaying(tmp_path_factory.mktemp("relayed")) as made:
        yield made


def client_of(server: Running, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.base_url, api_key=key, max_retries=0)


def new_project(client: openai.OpenAI, name: str) -> str:
    return client.admin.organization.projects.create(name=name).id


# From its creation to its files.


def test_a_batch_from_its_file_to_its_output(client: openai.OpenAI) -> None:
    file = upload(client, [chat(number) for number in range(1, 251)])
    batch = client.batches.create(
        input_file_id=file, endpoint=CHAT, completion_window="24h", metadata={"customer": "blue"}
    )
    assert batch.id.startswith("batch_")
    assert (batch.status, counts(batch)) == ("validating", (0, 0, 0))
    assert (batch.endpoint, batch.input_file_id, batch.completion_window) == (CHAT, file, "24h")
    assert batch.metadata == {"customer": "blue"}
    assert batch.expires_at == batch.created_at + 86_400
    batch = ended(client, batch.id)
    assert (batch.status, batch.model, counts(batch)) == ("completed", "echo", (250, 250, 0))
    assert (batch.errors, batch.error_file_id) == (None, None)
    times = (batch.created_at, batch.in_progress_at, batch.finalizing_at, batch.completed_at)
    assert list(times) == sorted(one for one in times if one is not None)
    assert batch.failed_at is batch.expired_at is batch.cancelling_at is batch.cancelled_at is None
    lines = content(client, batch.output_file_id)
    assert custom_ids(lines) == [f"request-{number}" for number in range(1, 251)]
    assert len({one["id"] for one in lines}) == len({one["response"]["request_id"] for one in lines}) == 250
    tokens = 0
    for number, one in enumerate(lines, start=1):
        assert (one["error"], one["response"]["status_code"]) == (None, 200)
        assert one["id"].startswith("batch_req_")
        answer = ChatCompletion.model_validate(one["response"]["body"], strict=True)
        assert answer.choices[0].message.content == f"line {number}"
        assert answer.usage is not None
        tokens += answer.usage.total_tokens
    assert batch.usage is not None
    assert batch.usage.total_tokens == tokens == batch.usage.input_tokens + batch.usage.output_tokens
    assert batch.usage.input_tokens_details.cached_tokens == batch.usage.output_tokens_details.reasoning_tokens == 0


def test_its_output_is_a_file_like_others(client: openai.OpenAI) -> None:
    batch = run(client, [chat(1)], output_expires_after={"anchor": "created_at", "seconds": 3600})
    assert batch.output_file_id is not None
    file = client.files.retrieve(batch.output_file_id)
    assert (file.purpose, file.filename) == ("batch_output", f"{batch.id}_output.jsonl")
    assert file.expires_at == file.created_at + 3600
    assert file.id in {one.id for one in client.files.list(purpose="batch_output")}
    assert file.bytes == len(client.files.content(file.id).content)
    client.files.delete(file.id)
    assert client.batches.retrieve(batch.id).output_file_id == file.id
    assert client.files.retrieve(run(client, [chat(1)]).output_file_id or "").expires_at is None


def test_every_endpoint_of_the_table(client: openai.OpenAI) -> None:
    batch = run(client, [line(1, {"model": "echo", "prompt": "hello"}, COMPLETIONS)], COMPLETIONS)
    (one,) = content(client, batch.output_file_id)
    assert one["response"]["body"]["choices"][0]["text"] == "hello"
    batch = run(client, [line(1, {"model": "echo", "input": ["a", "b"]}, EMBEDDINGS)], EMBEDDINGS)
    (one,) = content(client, batch.output_file_id)
    assert len(CreateEmbeddingResponse.model_validate(one["response"]["body"], strict=True).data) == 2
    assert batch.usage is not None
    assert batch.usage.input_tokens == one["response"]["body"]["usage"]["prompt_tokens"]


def test_lines_that_fail_are_in_the_error_file(client: openai.OpenAI) -> None:
    bad = [chat(2, temperature=7), chat(4, messages="none"), chat(5, n="x")]
    batch = run(client, [chat(1), bad[0], chat(3), *bad[1:]])
    assert (batch.status, counts(batch)) == ("completed", (5, 2, 3))
    assert custom_ids(content(client, batch.output_file_id)) == ["request-1", "request-3"]
    wrong = content(client, batch.error_file_id)
    assert custom_ids(wrong) == ["request-2", "request-4", "request-5"]
    for one in wrong:
        assert (one["error"], one["response"]["status_code"]) == (None, 400)
        assert one["response"]["body"]["error"]["type"] == "invalid_request_error"
    assert [one["response"]["body"]["error"]["param"] for one in wrong] == ["temperature", "messages", "n"]
    assert client.files.retrieve(batch.error_file_id or "").filename == f"{batch.id}_error.jsonl"


def test_without_a_success_there_is_no_output_file(client: openai.OpenAI) -> None:
    batch = run(client, [chat(number, temperature=7) for number in (1, 2)])
    assert (batch.status, counts(batch), batch.output_file_id) == ("completed", (2, 0, 2), None)
    assert len(content(client, batch.error_file_id)) == 2


def test_a_file_that_is_deleted_meanwhile_does_no_harm(client: openai.OpenAI) -> None:
    batch = create(client, [chat(number, model="slow") for number in range(1, 41)])
    client.files.delete(batch.input_file_id)
    assert counts(ended(client, batch.id)) == (40, 40, 0)
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(batch.input_file_id)


def test_counts_are_told_while_it_runs(client: openai.OpenAI) -> None:
    batch = create(client, [chat(number, model="slow") for number in range(1, 61)])
    seen = wait_for(client, batch.id, lambda one: 0 < counts(one)[1] < 60)
    assert (seen.status, seen.model, counts(seen)[0]) == ("in_progress", "slow", 60)
    assert counts(ended(client, batch.id)) == (60, 60, 0)


# What is wrong with the input.


def test_what_is_wrong_is_told_by_line(client: openai.OpenAI) -> None:
    lines = [chat(1), chat(1), {**chat(3), "method": "GET"}, {**chat(4), "url": EMBEDDINGS}, chat(5, model="other")]
    batch = run(client, [*lines, chat(6, stream=True), line(7, {"messages": []})])
    assert (batch.status, counts(batch)) == ("failed", (0, 0, 0))
    assert errors(batch) == [
        ("duplicate_custom_id", 2),
        ("invalid_method", 3),
        ("invalid_url", 4),
        ("mismatched_model", 5),
        ("unsupported_parameter", 6),
        ("missing_required_parameter", 7),
    ]
    assert batch.failed_at is not None
    assert (batch.in_progress_at, batch.output_file_id, batch.error_file_id) == (None, None, None)


def of_bytes(client: openai.OpenAI, raw: bytes) -> Batch:
    file = client.files.create(file=("input.jsonl", raw), purpose="batch").id
    return ended(client, client.batches.create(input_file_id=file, endpoint=CHAT, completion_window="24h").id)


def test_a_line_that_is_no_json_is_named(client: openai.OpenAI) -> None:
    lines = [json.dumps(chat(number)) for number in range(1, 101)]
    lines[36] = "no json"
    batch = of_bytes(client, "\n".join(lines).encode())
    assert (batch.status, counts(batch), errors(batch)) == ("failed", (0, 0, 0), [("invalid_json_line", 37)])
    assert batch.errors is not None
    assert batch.errors.data is not None
    assert batch.errors.data[0].message == "This line is not parseable as valid JSON."
    assert client.batches.retrieve(batch.id).output_file_id is None


def test_a_file_without_requests(client: openai.OpenAI) -> None:
    assert errors(of_bytes(client, b"\n\n")) == [("empty_file", None)]


def test_a_model_that_nobody_knows(client: openai.OpenAI) -> None:
    batch = run(client, [chat(1, model="nobody")])
    assert (batch.status, errors(batch)) == ("failed", [("model_not_found", None)])


def test_a_model_that_the_key_may_not_use(server: Running, client: openai.OpenAI) -> None:
    with client_of(server, new_key(server, client, models=["other"])) as restricted:
        batch = run(restricted, [chat(1)])
    assert (batch.status, errors(batch)) == ("failed", [("model_not_found", None)])


def test_more_tokens_than_may_be_enqueued(client: openai.OpenAI) -> None:
    def of(tokens: int) -> list[Any]:
        return [chat(1, model="limited", text="x" * (4 * tokens - 60))]

    first = create(client, [chat(number, model="limited", text="a b c d e f g h") for number in (1, 2)][:1])
    wait_for(client, first.id, lambda one: one.status == "in_progress")
    refused = run(client, of(30))
    assert (refused.status, errors(refused)) == ("failed", [("token_limit_exceeded", None)])
    assert refused.errors is not None
    assert refused.errors.data is not None
    assert "Limit: 40 enqueued tokens" in (refused.errors.data[0].message or "")
    assert ended(client, first.id).status == "completed"
    assert run(client, of(30)).status == "completed"


# What is refused at once.


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"endpoint": "/v1/nowhere"}, "endpoint", "invalid_value"),
        ({"endpoint": "/v1/videos"}, "endpoint", "unsupported_endpoint"),
        ({"completion_window": "1h"}, "completion_window", "invalid_value"),
        ({"metadata": {"a": "x" * 513}}, "metadata.a", "string_above_max_length"),
        ({"metadata": {str(one): "" for one in range(17)}}, "metadata", "object_above_max_properties"),
        (
            {"output_expires_after": {"anchor": "created_at", "seconds": 60}},
            "output_expires_after.seconds",
            "integer_below_min_value",
        ),
        ({"output_expires_after": {"anchor": "now", "seconds": 3600}}, "output_expires_after.anchor", "invalid_value"),
        ({"priority": 1}, None, None),
    ],
)
def test_what_is_no_batch(client: openai.OpenAI, changes: dict[str, Any], param: str | None, code: str | None) -> None:
    file = upload(client, [chat(1)])
    with pytest.raises(openai.BadRequestError) as refused:
        client.post(
            "/batches",
            body={"input_file_id": file, "endpoint": CHAT, "completion_window": "24h", **changes},
            cast_to=object,
        )
    assert (refused.value.param, refused.value.code) == (param, code)


def test_a_file_that_is_not_there_or_is_for_something_else(server: Running, client: openai.OpenAI) -> None:
    def refused(file: str) -> openai.APIStatusError:
        with pytest.raises(openai.APIStatusError) as raised:
            client.batches.create(input_file_id=file, endpoint=CHAT, completion_window="24h")
        return raised.value

    unknown = refused("file-unknown")
    assert (unknown.status_code, unknown.param) == (404, "input_file_id")
    other = client.files.create(file=("a.txt", b"hello"), purpose="user_data").id
    assert (refused(other).status_code, refused(other).code) == (400, "invalid_purpose")
    with client_of(server, new_key(server, client, new_project(client, "elsewhere"))) as stranger:
        theirs = upload(stranger, [chat(1)])
    assert refused(theirs).status_code == 404


# Lists, and whose it is.


def test_lists_go_from_the_newest_on(server: Running, client: openai.OpenAI) -> None:
    with client_of(server, new_key(server, client, new_project(client, "listed"))) as own:
        assert own.batches.list().data == []
        made = [create(own, [chat(1)]).id for _ in range(5)][::-1]
        assert [one.id for one in own.batches.list(limit=2)] == made
        page = own.batches.list(limit=2, after=made[1])
        assert ([one.id for one in page.data], page.has_more) == (made[2:4], True)
        assert own.batches.list(after=made[-1]).data == []
        for wrong in ({"limit": 0}, {"limit": 101}, {"after": "batch_unknown"}):
            with pytest.raises(openai.BadRequestError):
                own.batches.list(**wrong)


def test_another_project_sees_nothing_of_it(server: Running, client: openai.OpenAI) -> None:
    batch = run(client, [chat(1)])
    with client_of(server, new_key(server, client, new_project(client, "stranger"))) as stranger:
        for ask in (stranger.batches.retrieve, stranger.batches.cancel):
            with pytest.raises(openai.NotFoundError) as raised:
                ask(batch.id)
            assert raised.value.body["message"] == f"No batch found with id '{batch.id}'."  # type: ignore[index]
        with pytest.raises(openai.NotFoundError):
            stranger.files.content(batch.output_file_id or "")
        assert batch.id not in {one.id for one in stranger.batches.list()}


def test_keys_need_their_scopes(server: Running, client: openai.OpenAI) -> None:
    batch = run(client, [chat(1)])
    with client_of(server, new_key(server, client, scopes=["api.batch.read"])) as reader:
        assert reader.batches.retrieve(batch.id).id == batch.id
        with pytest.raises(openai.PermissionDeniedError, match=r"Missing scopes: batch\.write"):
            reader.batches.cancel(batch.id)
        with pytest.raises(openai.PermissionDeniedError, match=r"Missing scopes: batch\.write"):
            reader.batches.create(input_file_id="file-1", endpoint=CHAT, completion_window="24h")
    scopes = ["batch.read", "batch.write", "files.read", "files.write"]
    with client_of(server, new_key(server, client, scopes=scopes)) as writer:
        refused = run(writer, [chat(1)])
    assert (refused.status, errors(refused)) == ("failed", [("missing_scope", None)])


def test_the_same_request_twice_makes_one_batch(client: openai.OpenAI) -> None:
    file = upload(client, [chat(1)])

    def make() -> str:
        headers = {"Idempotency-Key": "once"}
        made = client.batches.create(input_file_id=file, endpoint=CHAT, completion_window="24h", extra_headers=headers)
        return made.id

    assert make() == make()
    assert sum(one.input_file_id == file for one in client.batches.list()) == 1


def test_azures_client(server: Running) -> None:
    with openai.AzureOpenAI(azure_endpoint=server.url, api_version="2024-10-21", api_key=KEY, max_retries=0) as azure:
        lines = [{**chat(number), "url": "/chat/completions"} for number in (1, 2)]
        batch = create(azure, lines, "/chat/completions")
        assert batch.endpoint == "/chat/completions"
        assert (ended(azure, batch.id).status, batch.id in {one.id for one in azure.batches.list()}) == (
            "completed",
            True,
        )
        assert len(content(azure, azure.batches.retrieve(batch.id).output_file_id)) == 2
        with pytest.raises(openai.ConflictError):
            azure.batches.cancel(batch.id)


def test_the_description_knows_every_state(server: Running, client: openai.OpenAI) -> None:
    ids = [run(client, [chat(1), chat(2, temperature=7)], metadata={"a": "b"}).id, run(client, [chat(1), chat(1)]).id]
    slow = create(client, [chat(number, model="slow", text="a b c d e f") for number in range(1, 40)])
    client.batches.cancel(slow.id)
    shown = [raw.ask(server, "GET", f"/v1/batches/{one}").json for one in (*ids, slow.id)]
    shown.append(raw.ask(server, "GET", f"/v1/batches/{ended(client, slow.id).id}").json)
    listed = raw.ask(server, "GET", "/v1/batches?limit=5").json
    for description in (openapi.NEWEST, openapi.OF_2024):
        for one in shown:
            openapi.validate("Batch", one, description)
        openapi.validate("ListBatchesResponse", listed, description)
    assert [one["status"] for one in shown] == ["completed", "failed", "cancelling", "cancelled"]


# Its end before its time.


def test_cancelled_lines_in_flight_end_and_what_is_done_is_kept(client: openai.OpenAI) -> None:
    text = " ".join("abcdefgh")
    batch = create(client, [chat(number, model="slow", text=text) for number in range(1, 301)])
    wait_for(client, batch.id, lambda one: counts(one)[1] > 0)
    began = time.monotonic()
    cancelling = client.batches.cancel(batch.id)
    assert cancelling.status == "cancelling"
    assert cancelling.cancelling_at is not None
    batch = ended(client, batch.id)
    assert time.monotonic() - began < 8
    assert batch.status == "cancelled"
    assert batch.cancelled_at is not None
    total, completed, failed = counts(batch)
    assert total == 300
    assert 0 < completed < 300
    assert failed == total - completed
    done = custom_ids(content(client, batch.output_file_id))
    missed = content(client, batch.error_file_id)
    assert len(done) == completed
    assert {*done, *custom_ids(missed)} == {f"request-{number}" for number in range(1, 301)}
    assert len(missed) == failed
    assert {(one["response"], one["error"]["code"]) for one in missed} == {(None, "batch_cancelled")}
    with pytest.raises(openai.ConflictError) as raised:
        client.batches.cancel(batch.id)
    assert raised.value.body["message"] == "Cannot cancel a batch with status 'cancelled'."  # type: ignore[index]


def test_what_has_ended_cannot_be_cancelled(client: openai.OpenAI) -> None:
    batch = run(client, [chat(1)])
    with pytest.raises(openai.ConflictError) as raised:
        client.batches.cancel(batch.id)
    assert raised.value.body["message"] == "Cannot cancel a batch with status 'completed'."  # type: ignore[index]
    with pytest.raises(openai.NotFoundError):
        client.batches.cancel("batch_unknown")


def test_a_day_is_over(client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_states, "WINDOW_SECONDS", 2)
    batch = create(client, [chat(number, model="slow", text="a b c d") for number in range(1, 201)])
    batch = ended(client, batch.id)
    assert batch.status == "expired"
    assert batch.expired_at is not None
    total, completed, failed = counts(batch)
    assert 0 < completed < total == 200 == completed + failed
    done, missed = content(client, batch.output_file_id), content(client, batch.error_file_id)
    assert (len(done), len(missed)) == (completed, failed)
    assert {*custom_ids(done), *custom_ids(missed)} == {f"request-{number}" for number in range(1, 201)}
    assert {one["error"]["code"] for one in missed} == {"batch_expired"}
    assert {one["error"]["message"] for one in missed} == {
        "This request could not be executed before the completion window expired."
    }


# Keys that change meanwhile.


def test_a_key_that_is_revoked_ends_it(server: Running, client: openai.OpenAI) -> None:
    project = new_project(client, "revoked")
    made = raw.ask(server, path=f"/v1/homeport/projects/{project}/api_keys", body={"name": "k"}).json
    other = new_key(server, client, project)
    with client_of(server, made["value"]) as own, client_of(server, other) as beside:
        assert until(lambda: raw.ask(server, "GET", "/v1/models", key=made["value"]).status == 200)
        batch = create(own, [chat(number, model="slow", text="a b c d") for number in range(1, 201)])
        wait_for(own, batch.id, lambda one: counts(one)[1] > 0)
        client.admin.organization.projects.api_keys.delete(made["id"], project_id=project)
        batch = ended(beside, batch.id)
        assert batch.status == "completed"
        assert 0 < counts(batch)[1] < 200 == sum(counts(batch)[1:])
        refused = content(beside, batch.error_file_id)
        assert {one["response"]["status_code"] for one in refused} == {401}
        assert {one["response"]["body"]["error"]["code"] for one in refused} == {"invalid_api_key"}


def test_a_key_that_is_rotated_goes_on(server: Running, client: openai.OpenAI) -> None:
    project = new_project(client, "rotated")
    keys = f"/v1/homeport/projects/{project}/api_keys"
    made = raw.ask(server, path=keys, body={"name": "k"}).json
    other = new_key(server, client, project)
    with client_of(server, other) as beside, client_of(server, made["value"]) as own:
        assert until(lambda: raw.ask(server, "GET", "/v1/models", key=made["value"]).status == 200)
        batch = create(own, [chat(number, model="slow", text="a b c d") for number in range(1, 101)])
        wait_for(own, batch.id, lambda one: counts(one)[1] > 0)
        rotated = raw.ask(server, path=f"{keys}/{made['id']}/rotate", body={"overlap_seconds": 0})
        assert rotated.status == 200, rotated.body
        assert until(lambda: raw.ask(server, "GET", "/v1/models", key=made["value"]).status == 401)
        assert counts(ended(beside, batch.id)) == (100, 100, 0)


# Upstreams.


def test_an_upstreams_answer_is_one_line_and_otherwise_as_it_came(relay: Relay) -> None:
    with relay.client() as client:
        batch = run(client, [chat(1, model="far-m")])
        (one,) = content(client, batch.output_file_id)
        assert one["response"]["body"] == json.loads(plain_answer(relay.fake.received_for("far-m")[-1]))
        assert batch.usage is not None
        assert (batch.usage.input_tokens, batch.usage.output_tokens) == (11, 7)
        assert batch.usage.input_tokens_details.cached_tokens == 3
    assert relay.fake.received_for("far-m")[-1].headers["idempotency-key"] == one["id"]


@pytest.mark.parametrize("code", [429, 503])
def test_a_line_waits_for_an_upstream_that_has_too_much_to_do(relay: Relay, code: int) -> None:
    model, refusals = f"busy-{code}", 8

    def busy_at_first(visit: Visit) -> None:
        if len(relay.fake.received_for(model)) <= refusals:
            faults.status(code, retry_after_ms="20")(visit)
        else:
            answer_well(visit)

    relay.fake.by_model[model] = busy_at_first
    with relay.client() as client:
        batch = run(client, [chat(number, model=model) for number in range(1, 5)])
    assert (batch.status, counts(batch)) == ("completed", (4, 4, 0))
    ids = [visit.headers["idempotency-key"] for visit in relay.fake.received_for(model)]
    assert len(ids) == refusals + 4
    assert len({*ids}) == 4


def test_what_an_upstream_says_of_a_line_is_its_answer(relay: Relay) -> None:
    relay.fake.by_model["never"] = faults.status(400)
    with relay.client() as client:
        batch = run(client, [chat(1, model="never")])
        (one,) = content(client, batch.error_file_id)
    assert (one["response"]["status_code"], one["response"]["body"]["error"]) == (400, faults.ERROR)
    assert len(relay.fake.received_for("never")) == 1


def test_an_upstream_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    gone = {"far": {"base_url": "http://127.0.0.1:9/v1", "api_key": "x", "retries": 0, "rest_seconds": 0.1}}
    with running(tmp_path, {"upstreams": gone}) as server, client_of(server, KEY) as client:
        batch = create(client, [chat(number, model="far-m") for number in range(1, 4)])
        wait_for(client, batch.id, lambda one: one.status == "in_progress")
        time.sleep(1.0)
        assert counts(client.batches.retrieve(batch.id)) == (3, 0, 0)
        client.batches.cancel(batch.id)
        assert ended(client, batch.id).status == "cancelled"


# Limits.


def test_lines_wait_for_limits_that_they_count_against(tmp_path: Path) -> None:
    settings = {
        "batches": {"count_against_rate_limits": True},
        "tiers": {"home": {"default": {"max_requests_per_1_minute": 600, "max_concurrent_requests": 2}}},
    }
    with running(tmp_path, settings) as server, client_of(server, KEY) as client:
        batch = run(client, [chat(number) for number in range(1, 21)])
        assert (batch.status, counts(batch)) == ("completed", (20, 20, 0))


def test_a_budget_that_is_used_up_is_an_answer(server: Running, client: openai.OpenAI, tmp_path: Path) -> None:
    prices = {"echo": {"input": 1000, "output": 1000}}
    with running(tmp_path, {"prices": prices}) as own, client_of(own, KEY) as poor:
        project = raw.ask(own, "GET", "/v1/organization/projects").json["data"][0]["id"]
        limit = {"threshold_amount": 1, "currency": "USD", "interval": "month"}
        made = raw.ask(own, path=f"/v1/homeport/projects/{project}/spend_limit", body=limit)
        assert made.status == 200, made.body
        batch = run(poor, [chat(number, text="x" * 400, max_tokens=400) for number in range(1, 5)])
        assert batch.status == "completed"
        refused = content(poor, batch.error_file_id)
    assert {one["response"]["status_code"] for one in refused} == {429}
    assert {one["response"]["body"]["error"]["code"] for one in refused} == {"insufficient_quota"}


def test_waiting_batches_go_on_after_a_restart(tmp_path: Path) -> None:
    """The second server has another port and the same data."""
    lines = [chat(number, model="slow", text="a b c d") for number in range(1, 101)]
    with running(tmp_path, {"models": MODELS}) as server, client_of(server, KEY) as client:
        batch = create(client, lines)
        seen = wait_for(client, batch.id, lambda one: counts(one)[1] > 4)
    assert counts(seen)[1] < 100
    with running(tmp_path, {"models": MODELS}) as server, client_of(server, KEY) as client:
        assert counts(client.batches.retrieve(batch.id))[1] >= counts(seen)[1]
        batch = ended(client, batch.id)
        assert counts(batch) == (100, 100, 0)
        assert custom_ids(content(client, batch.output_file_id)) == [one["custom_id"] for one in lines]
