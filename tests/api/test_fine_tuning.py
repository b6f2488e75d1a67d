"""`/v1/fine_tuning/jobs` through the official SDK, on both databases; what a worker would do is done by hand."""

import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import openai
import pytest
import sqlalchemy as sa

from homeport import clock
from homeport.control import fine_tuning
from homeport.control import fine_tuning_states as states
from homeport.store.tables import fine_tuning_jobs, jobs
from tests import openapi
from tests.api import raw
from tests.api.owners import client_of, new_key, new_project
from tests.control import databases
from tests.fine_tuning import (
    LINES,
    RESOLVED,
    admit,
    begin,
    create,
    failed,
    made,
    paused,
    settings,
    step,
    succeed,
    trained,
    upload,
)
from tests.server import KEY, Running, running
from tests.store.servers import PostgresServer
from tests.stores import rows

JOBS = "/v1/fine_tuning/jobs"


@pytest.fixture(scope="module", params=databases.KINDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("fine-tuning")
    chosen = settings(folder)
    if request.param == "postgresql":
        postgres: PostgresServer = request.getfixturevalue("postgres")
        chosen["database_url"] = postgres.create("fine_tuning")
    with running(folder, chosen) as made:
        yield made


@pytest.fixture(scope="module")
def mine(server: Running) -> Iterator[openai.OpenAI]:
    with client_of(server) as made:
        yield made


@pytest.fixture(scope="module")
def theirs(server: Running) -> Iterator[openai.OpenAI]:
    with client_of(server, new_key(server, new_project(server, "strangers"))) as made:
        yield made


def url(server: Running) -> str:
    return server.app.books.database.url.render_as_string(hide_password=False)


def row(server: Running, job: str) -> Any:
    return rows(url(server), sa.select(fine_tuning_jobs).where(fine_tuning_jobs.c.id == job))[0]


def queued(server: Running, job: str) -> list[str]:
    """Kinds of the queue's jobs for it."""
    return [one["kind"] for one in rows(url(server), sa.select(jobs.c.kind).where(jobs.c.subject == job))]


def messages(client: openai.OpenAI, job: str) -> list[str]:
    """The oldest first."""
    return [one.message for one in client.fine_tuning.jobs.list_events(job, limit=100)][::-1]


def refused(server: Running, body: Any, *, key: str = KEY, path: str = JOBS) -> Any:
    answer = raw.ask(server, "POST", path, body, key=key)
    assert answer.status >= 400, answer.body
    return answer.status, answer.error["code"], answer.error["param"]


# Creation


def test_a_job_as_it_is_made(server: Running, mine: openai.OpenAI) -> None:
    file, held_out = upload(mine), upload(mine)
    job = mine.fine_tuning.jobs.create(
        model="gpt-4o-mini", training_file=file, validation_file=held_out, suffix="tone", seed=7, metadata={"a": "b"}
    )
    assert job.id.startswith("ftjob-")
    assert (job.object, job.status, job.model, job.seed) == ("fine_tuning.job", "validating_files", "gpt-4o-mini", 7)
    assert (job.training_file, job.validation_file, job.metadata) == (file, held_out, {"a": "b"})
    assert job.model_extra is not None
    assert job.model_extra["user_provided_suffix"] == "tone"
    assert (job.organization_id, job.result_files, job.integrations) == ("org-homeport", [], [])
    nothing = (job.fine_tuned_model, job.finished_at, job.estimated_finish, job.trained_tokens, job.error)
    assert nothing == (None,) * 5
    auto = {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}
    assert job.hyperparameters.model_dump() == auto
    assert job.method is not None
    assert job.method.type == "supervised"
    assert job.method.supervised is not None
    assert job.method.supervised.hyperparameters is not None
    assert job.method.supervised.hyperparameters.model_dump() == auto
    assert mine.fine_tuning.jobs.retrieve(job.id) == job
    assert next(iter(mine.fine_tuning.jobs.list())) == job
    assert messages(mine, job.id) == [f"Created fine-tuning job: {job.id}", f"Validating training file: {file}"]
    kept = row(server, job.id)
    assert (kept["base"], kept["model"], kept["suffix"], kept["upstream"]) == ("house", "gpt-4o-mini", "tone", None)
    assert kept["training_digest"] == kept["validation_digest"] is not None
    assert queued(server, job.id) == [states.VALIDATE]


@pytest.mark.parametrize("description", [openapi.NEWEST, openapi.OF_2024])
def test_objects_are_what_the_description_says(server: Running, mine: openai.OpenAI, description: str) -> None:
    openapi.description(description)
    job = create(mine).id
    begin(server, job)
    step(server, job, 1)
    made(server, job, f"ft:house:homeport::{job[-8:]}:ckpt-step-1", step=1)
    listed = raw.ask(server, "GET", JOBS).json
    openapi.validate("ListPaginatedFineTuningJobsResponse", {**listed, "data": listed["data"][:1]}, description)
    openapi.validate("FineTuningJob", raw.ask(server, "GET", f"{JOBS}/{job}").json, description)
    events = raw.ask(server, "GET", f"{JOBS}/{job}/events").json
    openapi.validate("ListFineTuningJobEventsResponse", events, description)
    checkpoints = raw.ask(server, "GET", f"{JOBS}/{job}/checkpoints").json
    assert len(checkpoints["data"]) == 1
    openapi.validate("ListFineTuningJobCheckpointsResponse", checkpoints, description)
    failed(server, job)
    openapi.validate("FineTuningJob", raw.ask(server, "GET", f"{JOBS}/{job}").json, description)


def test_a_seed_is_made_where_none_is_given(mine: openai.OpenAI) -> None:
    seeds = {create(mine).seed for _ in range(3)}
    assert len(seeds) == 3
    assert all(0 <= seed < 2**31 for seed in seeds)


OWN: Any = {"n_epochs": 4, "batch_size": 2, "learning_rate_multiplier": 0.5}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"hyperparameters": OWN}, OWN),
        ({"method": {"type": "supervised", "supervised": {"hyperparameters": OWN}}}, OWN),
        ({"hyperparameters": {"n_epochs": 4}, "method": {"type": "supervised"}}, {"n_epochs": 4}),
        (
            {
                "hyperparameters": {"n_epochs": 4, "batch_size": "auto"},
                "method": {"type": "supervised", "supervised": {"hyperparameters": OWN}},
            },
            OWN,
        ),
        ({"hyperparameters": {"n_epochs": None}, "method": None}, {}),
    ],
)
def test_hyperparameters_stand_in_two_places(mine: openai.OpenAI, asked: Any, expected: dict[str, Any]) -> None:
    job = create(mine, **asked)
    found = job.hyperparameters.model_dump()
    assert found == {name: expected.get(name, "auto") for name in found}
    assert job.method is not None
    assert job.method.supervised is not None
    assert job.method.supervised.hyperparameters is not None
    assert job.method.supervised.hyperparameters.model_dump() == found


def test_preferences_have_a_method_of_their_own(mine: openai.OpenAI) -> None:
    job = create(mine, method={"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.2, "n_epochs": 1}}})
    assert job.method is not None
    assert job.method.dpo is not None
    assert job.method.dpo.hyperparameters is not None
    asked = {"beta": 0.2, "n_epochs": 1, "batch_size": "auto", "learning_rate_multiplier": "auto"}
    assert job.method.dpo.hyperparameters.model_dump() == asked
    assert job.method.supervised is None
    assert job.hyperparameters.model_dump(exclude_none=True) == {}, "of supervised jobs alone"


def test_numbers_take_the_place_of_auto(server: Running, mine: openai.OpenAI) -> None:
    job = create(mine)
    assert admit(server, job.id)
    job = mine.fine_tuning.jobs.retrieve(job.id)
    assert (job.status, job.hyperparameters.model_dump()) == ("queued", RESOLVED)
    assert queued(server, job.id) == [states.VALIDATE, states.TRAIN]


NOT_SAID = "missing_required_parameter"
DPO = {"type": "dpo", "dpo": {"hyperparameters": {"beta": 3}}}
REFUSED: dict[str, tuple[dict[str, Any], tuple[int, str | None, str | None]]] = {
    "no model": ({"model": None}, (400, "invalid_type", "model")),
    "no file": ({"training_file": None}, (400, "invalid_type", "training_file")),
    "an unknown model": ({"model": "nothing"}, (400, "model_not_available", "model")),
    "a model that cannot be tuned": ({"model": "echo"}, (400, "model_not_available", "model")),
    "an unknown fine-tuned model": ({"model": "ft:house:homeport::12345678"}, (400, "model_not_available", "model")),
    "an unknown file": ({"training_file": "file-unknown"}, (400, None, "training_file")),
    "an unknown file to look at": ({"validation_file": "file-unknown"}, (400, None, "validation_file")),
    "graders": ({"method": {"type": "reinforcement", "reinforcement": {}}}, (400, "unsupported_value", "method.type")),
    "another method": ({"method": {"type": "other"}}, (400, "invalid_value", "method.type")),
    "a method beside another": ({"method": {"type": "supervised", "dpo": {}}}, (400, "invalid_value", "method.dpo")),
    "a method without a type": ({"method": {}}, (400, NOT_SAID, "method.type")),
    "too much beta": ({"method": DPO}, (400, "decimal_above_max_value", "method.dpo.hyperparameters.beta")),
    "beta without dpo": ({"hyperparameters": {"beta": 1}}, (400, "unknown_parameter", "hyperparameters.beta")),
    "contradictions": (
        {
            "hyperparameters": {"n_epochs": 2},
            "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}},
        },
        (400, "invalid_value", "hyperparameters.n_epochs"),
    ),
    "no epochs": ({"hyperparameters": {"n_epochs": 0}}, (400, "integer_below_min_value", "hyperparameters.n_epochs")),
    "wandb": ({"integrations": [{"type": "wandb"}]}, (400, "unsupported_parameter", "integrations")),
    "a suffix with colons": ({"suffix": "a:b"}, (400, "invalid_value", "suffix")),
    "a long suffix": ({"suffix": "a" * 65}, (400, "string_above_max_length", "suffix")),
    "no suffix at all": ({"suffix": ""}, (400, "empty_string", "suffix")),
    "a seed below 0": ({"seed": -1}, (400, "integer_below_min_value", "seed")),
    "metadata with a NUL": ({"metadata": {"a": "\0"}}, (400, "invalid_value", "metadata")),
    "much metadata": (
        {"metadata": {str(number): "x" for number in range(17)}},
        (400, "object_above_max_properties", "metadata"),
    ),
    "what nobody knows": ({"n_epochs": 3}, (400, None, None)),
}


@pytest.fixture(scope="module")
def file(mine: openai.OpenAI) -> str:
    return upload(mine)


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(server: Running, mine: openai.OpenAI, file: str, case: str) -> None:
    asked, expected = REFUSED[case]
    before = [one.id for one in mine.fine_tuning.jobs.list(limit=1)]
    assert refused(server, {"model": "house", "training_file": file, **asked}) == expected
    assert [one.id for one in mine.fine_tuning.jobs.list(limit=1)] == before


def test_models_that_can_be_tuned_are_named(server: Running, file: str) -> None:
    answer = raw.ask(server, "POST", JOBS, {"model": "nothing", "training_file": file})
    message = answer.error["message"]
    assert message.startswith("Model nothing is not available for fine-tuning or does not exist")
    assert "house" in message


def test_files_must_be_there_and_meant_for_it(
    server: Running, mine: openai.OpenAI, theirs: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, other = upload(theirs), upload(mine, purpose="user_data")
    assert refused(server, {"model": "house", "training_file": file}) == (400, None, "training_file")
    wrong = {"model": "house", "training_file": other}
    assert refused(server, wrong) == (400, "invalid_purpose", "training_file")
    answer = raw.ask(server, "POST", JOBS, {"model": "house", "training_file": "file-1"})
    assert answer.error["message"] == "invalid training_file: file-1"
    short = mine.files.create(
        file=("a.jsonl", LINES), purpose="fine-tune", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    later = clock.now() + 3601
    monkeypatch.setattr(clock, "now", lambda: later)
    assert refused(server, {"model": "house", "training_file": short.id}) == (400, None, "training_file")


def test_a_deleted_file_stays_with_its_job(server: Running, mine: openai.OpenAI) -> None:
    file = upload(mine, b'{"messages": []}')
    job = create(mine, training_file=file).id
    mine.files.delete(file)
    assert mine.fine_tuning.jobs.retrieve(job).training_file == file
    digest = row(server, job)["training_digest"]
    assert server.begin(server.app.durable.blobs.bucket.has(digest)).result(timeout=60)
    mine.fine_tuning.jobs.cancel(job)
    assert not server.begin(server.app.durable.blobs.bucket.has(digest)).result(timeout=60)


def test_a_job_goes_on_from_a_fine_tuned_model(server: Running, mine: openai.OpenAI, theirs: openai.OpenAI) -> None:
    first = trained(server, mine, model="gpt-4o-mini")
    assert first.fine_tuned_model is not None
    job = create(mine, model=first.fine_tuned_model)
    assert job.model == first.fine_tuned_model
    kept = row(server, job.id)
    assert (kept["model"], kept["base"], kept["start_model"]) == ("gpt-4o-mini", "house", first.fine_tuned_model)
    assert kept["start_digest"] is not None
    with pytest.raises(openai.BadRequestError) as refusal:
        create(theirs, model=first.fine_tuned_model)
    assert refusal.value.code == "model_not_available"


def test_the_same_key_twice_is_one_job(mine: openai.OpenAI) -> None:
    file = upload(mine)
    headers = {"Idempotency-Key": "once"}
    first, second = (create(mine, training_file=file, extra_headers=headers) for _ in range(2))
    assert first.id == second.id
    assert sum(one.training_file == file for one in mine.fine_tuning.jobs.list(limit=100)) == 1


def test_there_is_room_for_so_many(server: Running, mine: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    key = new_key(server, new_project(server, "busy"))
    with client_of(server, key) as busy:
        monkeypatch.setattr(fine_tuning, "MOST_UNFINISHED", 2)
        file = upload(busy)
        outcomes: list[str] = []

        def ask() -> None:
            try:
                outcomes.append(create(busy, training_file=file).id)
            except openai.RateLimitError as error:
                outcomes.append(f"{error.code}, {error.response.headers['x-should-retry']}")

        at_once(*[ask] * 5)
        assert outcomes.count("rate_limit_exceeded, false") == 3
        made_here = [one for one in outcomes if one.startswith("ftjob-")]
        assert len(made_here) == 2
        busy.fine_tuning.jobs.cancel(made_here[0])
        create(busy, training_file=file)


def at_once(*what: Callable[[], object]) -> None:
    errors: list[BaseException] = []

    def run(one: Callable[[], object]) -> None:
        try:
            one()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(one,)) for one in what]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors


# Who may


def test_keys_need_their_scopes(server: Running, mine: openai.OpenAI) -> None:
    project = new_project(server, "scoped")
    reader = new_key(server, project, scopes=["api.fine_tuning.jobs.read", "model.read"])
    writer = new_key(server, project, scopes=["fine_tuning.jobs.write", "files.write", "model.read"])
    with client_of(server, reader) as read, client_of(server, writer) as write:
        job = create(write)
        assert read.fine_tuning.jobs.retrieve(job.id) == job
        assert [one.id for one in read.fine_tuning.jobs.list()] == [job.id]
        assert len(read.fine_tuning.jobs.list_events(job.id).data) == 2
        for forbidden in (
            lambda: read.fine_tuning.jobs.create(model="house", training_file=job.training_file),
            lambda: read.fine_tuning.jobs.cancel(job.id),
            lambda: read.fine_tuning.jobs.pause(job.id),
            lambda: read.fine_tuning.jobs.resume(job.id),
            lambda: write.fine_tuning.jobs.retrieve(job.id),
            lambda: write.fine_tuning.jobs.list(),
            lambda: write.fine_tuning.jobs.list_events(job.id),
            lambda: write.fine_tuning.jobs.checkpoints.list(job.id),
            lambda: write.models.delete("ft:a"),
        ):
            with pytest.raises(openai.PermissionDeniedError) as refusal:
                forbidden()
            assert refusal.value.code == "missing_scope"


def test_a_key_tunes_the_models_that_it_may_use(server: Running) -> None:
    key = new_key(server, new_project(server, "limited"), models=["house"])
    with client_of(server, key) as limited:
        create(limited)
        with pytest.raises(openai.PermissionDeniedError) as refusal:
            create(limited, model="gpt-4o-mini")
        assert refusal.value.code == "model_not_found"


def test_another_project_sees_nothing(server: Running, mine: openai.OpenAI, theirs: openai.OpenAI) -> None:
    job = create(mine).id
    there = theirs.fine_tuning.jobs
    for look in (
        lambda: there.retrieve(job),
        lambda: there.cancel(job),
        lambda: there.pause(job),
        lambda: there.resume(job),
        lambda: there.list_events(job),
        lambda: there.list_events(job, extra_query={"stream": "true"}),
        lambda: there.checkpoints.list(job),
        lambda: there.list(after=job),
    ):
        with pytest.raises((openai.NotFoundError, openai.BadRequestError)) as refusal:
            look()
        assert refusal.value.code in ("fine_tune_not_found", "invalid_value")
    assert job not in {one.id for one in there.list(limit=100)}
    assert mine.fine_tuning.jobs.retrieve(job).status == "validating_files"


# Lists


@pytest.fixture(scope="module")
def several(server: Running) -> Iterator[tuple[openai.OpenAI, list[str]]]:
    """A client of a project with jobs of these metadata, the oldest first."""
    odd = 'it"s [a] $.k\\ey'
    with client_of(server, new_key(server, new_project(server, "several"))) as client:
        file = upload(client)
        each: list[Any] = [None, {"a": "1"}, {"a": "1", "b": ""}, {"a": "2"}, {odd: "ü%_"}, {}]
        yield client, [create(client, training_file=file, metadata=one).id for one in each]


def test_lists_come_in_pages(several: tuple[openai.OpenAI, list[str]]) -> None:
    client, made = several
    page = client.fine_tuning.jobs.list(limit=4)
    assert ([one.id for one in page.data], page.has_more) == (made[:1:-1], True)
    rest = page.get_next_page()
    assert ([one.id for one in rest.data], rest.has_more) == (made[1::-1], False)
    assert [one.id for one in client.fine_tuning.jobs.list()] == made[::-1]
    for wrong in ({"limit": 0}, {"limit": 101}, {"after": "ftjob-unknown"}, {"extra_query": {"order": "asc"}}):
        with pytest.raises(openai.BadRequestError):
            client.fine_tuning.jobs.list(**wrong)


@pytest.mark.parametrize(
    ("metadata", "places"),
    [
        ({"a": "1"}, [2, 1]),
        ({"a": "1", "b": ""}, [2]),
        ({"b": ""}, [2]),
        ({"a": ""}, []),
        ({"a": "3"}, []),
        ({'it"s [a] $.k\\ey': "ü%_"}, [4]),
        ({}, [5, 4, 3, 2, 1, 0]),
    ],
)
def test_lists_are_filtered_by_metadata(
    server: Running, several: tuple[openai.OpenAI, list[str]], metadata: dict[str, str], places: list[int]
) -> None:
    client, made = several
    wanted = [made[place] for place in places]
    query = urlencode({f"metadata[{key}]": value for key, value in metadata.items()})
    answer = raw.ask(server, "GET", f"{JOBS}?{query}", key=client.api_key)
    assert [one["id"] for one in answer.json["data"]] == wanted
    if "" not in metadata.values():  # which an SDK 2 does not send
        assert [one.id for one in client.fine_tuning.jobs.list(metadata=metadata)] == wanted


def test_jobs_without_metadata_can_be_asked_for(server: Running, several: tuple[openai.OpenAI, list[str]]) -> None:
    client, made = several
    found = client.fine_tuning.jobs.list(extra_query={"metadata": "null"})
    assert [one.id for one in found] == [made[5], made[0]]
    for wrong in ("metadata=x", "metadata=null&metadata[a]=1", "metadata[a]=1&metadata[a]=2", "metadata[]=1"):
        answer = raw.ask(server, "GET", f"{JOBS}?{wrong}")
        assert answer.status == 400, wrong


def test_a_filtered_list_goes_on_where_it_was(several: tuple[openai.OpenAI, list[str]]) -> None:
    client, made = several
    page = client.fine_tuning.jobs.list(metadata={"a": "1"}, limit=1)
    assert [one.id for one in page] == [made[2], made[1]]


# States


def test_from_its_files_to_its_model(server: Running, mine: openai.OpenAI) -> None:
    job = create(mine).id
    begin(server, job)
    step(server, job, 1)
    running = mine.fine_tuning.jobs.retrieve(job)
    assert (running.status, running.estimated_finish) == ("running", 2_000_000_000)
    model = f"ft:house:homeport::{job[-8:]}"
    made(server, job, model)
    result = upload(mine)
    assert succeed(server, job, model, result_file=result)
    ended = mine.fine_tuning.jobs.retrieve(job)
    assert (ended.status, ended.fine_tuned_model, ended.trained_tokens) == ("succeeded", model, 300)
    assert (ended.result_files, ended.estimated_finish) == ([result], None)
    assert ended.finished_at is not None
    assert messages(mine, job)[-2:] == [
        f"New fine-tuned model created: {model}",
        "The job has successfully completed",
    ]


def test_why_a_job_failed_is_told(server: Running, mine: openai.OpenAI) -> None:
    job = create(mine).id
    failed(server, job)
    ended = mine.fine_tuning.jobs.retrieve(job)
    assert ended.status == "failed"
    assert ended.error is not None
    told = (ended.error.code, ended.error.param, ended.error.message)
    assert told == ("invalid_training_file", "training_file", "Line 3 has no messages.")
    assert mine.fine_tuning.jobs.list_events(job).data[0].level == "error"


@pytest.mark.parametrize("state", ["validating_files", "queued", "running", "pausing", "paused"])
def test_what_has_not_ended_can_be_cancelled(server: Running, mine: openai.OpenAI, state: str) -> None:
    job = create(mine).id
    if state != "validating_files":
        admit(server, job)
    if state in ("running", "pausing"):
        begin(server, job)
    if state in ("pausing", "paused"):
        assert str(mine.fine_tuning.jobs.pause(job).status) == state
    assert mine.fine_tuning.jobs.retrieve(job).status == state
    ended = mine.fine_tuning.jobs.cancel(job)
    assert ended.status == "cancelled"
    assert ended.finished_at is not None
    assert mine.fine_tuning.jobs.cancel(job) == ended, "once more is no error"
    assert messages(mine, job).count("The job was cancelled") == 1
    assert queued(server, job) == [states.BOOK]
    kept = row(server, job)
    assert kept["training_digest"] is None


def test_what_has_ended_stays_as_it_is(server: Running, mine: openai.OpenAI) -> None:
    done, broken, left = trained(server, mine).id, create(mine).id, create(mine).id
    failed(server, broken)
    mine.fine_tuning.jobs.cancel(left)
    for job, verbs in (
        (done, ("cancel", "pause", "resume")),
        (broken, ("cancel", "pause", "resume")),
        (left, ("pause", "resume")),
    ):
        before = mine.fine_tuning.jobs.retrieve(job)
        for verb in verbs:
            with pytest.raises(openai.BadRequestError) as refusal:
                getattr(mine.fine_tuning.jobs, verb)(job)
            assert f"Cannot {verb} a job with status '{before.status}'" in refusal.value.message
        assert mine.fine_tuning.jobs.retrieve(job) == before


def test_a_job_is_paused_and_goes_on(server: Running, mine: openai.OpenAI) -> None:
    job = create(mine).id
    with pytest.raises(openai.ConflictError):
        mine.fine_tuning.jobs.pause(job)  # its files are being read
    begin(server, job)
    assert str(mine.fine_tuning.jobs.pause(job).status) == "pausing"
    assert str(mine.fine_tuning.jobs.pause(job).status) == "pausing"
    with pytest.raises(openai.ConflictError):
        mine.fine_tuning.jobs.resume(job)
    assert step(server, job, 1), "the step in hand is told of"
    assert paused(server, job)
    assert str(mine.fine_tuning.jobs.pause(job).status) == "paused"
    assert mine.fine_tuning.jobs.resume(job).status == "queued"
    with pytest.raises(openai.BadRequestError):
        mine.fine_tuning.jobs.resume(job)
    told = messages(mine, job)
    assert [one for one in told if "pause" in one or "resume" in one] == [
        *("The job is being paused", "The job was paused", "The job was resumed")
    ]


def test_a_job_that_waits_is_paused_at_once(server: Running, mine: openai.OpenAI) -> None:
    job = create(mine).id
    admit(server, job)
    assert str(mine.fine_tuning.jobs.pause(job).status) == "paused"
    assert states.TRAIN not in queued(server, job)
    assert mine.fine_tuning.jobs.resume(job).status == "queued"
    assert queued(server, job).count(states.TRAIN) == 1


# Races


def test_cancelled_or_succeeded_and_never_both(server: Running, mine: openai.OpenAI) -> None:
    for _ in range(5):
        job = create(mine).id
        begin(server, job)
        model = f"ft:house:homeport::{job[-8:]}"
        outcomes: list[str] = []

        def cancel(job: str = job, outcomes: list[str] = outcomes) -> None:
            try:
                outcomes.append(str(mine.fine_tuning.jobs.cancel(job).status))
            except openai.BadRequestError:
                outcomes.append("refused")

        def end(job: str = job, model: str = model, outcomes: list[str] = outcomes) -> None:
            outcomes.append("succeeded" if succeed(server, job, model) else "too late")

        at_once(cancel, end, cancel)
        ended = mine.fine_tuning.jobs.retrieve(job)
        if ended.status == "cancelled":
            assert sorted(outcomes) == ["cancelled", "cancelled", "too late"]
            assert ended.fine_tuned_model is None
        else:
            assert sorted(outcomes) == ["refused", "refused", "succeeded"]
        told = messages(mine, job)
        assert told.count("The job was cancelled") + told.count("The job has successfully completed") == 1


def test_paused_and_resumed_once(server: Running, mine: openai.OpenAI) -> None:
    job = create(mine).id
    admit(server, job)
    at_once(*[lambda: mine.fine_tuning.jobs.pause(job)] * 4)
    assert messages(mine, job).count("The job was paused") == 1
    resumed: list[bool] = []

    def resume() -> None:
        try:
            resumed.append(mine.fine_tuning.jobs.resume(job).status == "queued")
        except openai.BadRequestError:
            resumed.append(False)

    at_once(*[resume] * 4)
    assert resumed.count(True) >= 1
    assert messages(mine, job).count("The job was resumed") == 1
    assert queued(server, job).count(states.TRAIN) == 1


# Models, and what belongs to them, in test_fine_tuned_models.py; events in test_fine_tuning_events.py. Azure:


def test_azure_clients_find_the_same(server: Running, mine: openai.OpenAI) -> None:
    with openai.AzureOpenAI(azure_endpoint=server.url, api_version="2024-10-21", api_key=KEY, max_retries=0) as azure:
        job = create(azure)
        assert azure.fine_tuning.jobs.retrieve(job.id) == job == mine.fine_tuning.jobs.retrieve(job.id)
        assert next(iter(azure.fine_tuning.jobs.list())).id == job.id
        assert len(azure.fine_tuning.jobs.list_events(job.id).data) == 2
        assert azure.fine_tuning.jobs.checkpoints.list(job.id).data == []
        assert azure.fine_tuning.jobs.cancel(job.id).status == "cancelled"
        with pytest.raises(openai.NotFoundError) as missing:
            azure.fine_tuning.jobs.retrieve("ftjob-unknown")
        assert missing.value.body is not None
    path = f"/openai/fine_tuning/jobs/{job.id}"
    assert raw.ask(server, "GET", path, headers={"api-key": KEY}).status == 404, "api-version is missing"
