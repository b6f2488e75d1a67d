"""Fine-tuning jobs that an upstream does, on both databases, before a fake of OpenAI's and of Azure's API: brought
there once, whatever breaks, and followed to their end."""

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import msgspec
import pytest
import sqlalchemy as sa

from homeport import ids
from homeport.backends import registry
from homeport.backends.upstreams.openai import OpenAIUpstream
from homeport.control import files, fine_tuning_forwarding
from homeport.control import fine_tuning_states as states
from homeport.control.fine_tuning_forwarding import Forwarding
from homeport.errors import InvalidRequest, UpstreamFailed, UpstreamRefused
from homeport.jobs import fine_tuning_upstream
from homeport.jobs.fine_tuning_upstream import Follow
from homeport.jobs.worker import ATTEMPTS, Task
from homeport.settings import Upstream
from homeport.store import tables
from homeport.store.blobs import Blobs
from homeport.store.folder import Folder
from homeport.wire.fine_tuning import CreateFineTuningJobRequest
from tests.fake_tuning import RESULTS, FakeTuning, cut, refused
from tests.fake_upstream import FakeUpstream, Visit, fake_upstream, head, until, whole
from tests.store import queues
from tests.store.queues import Bench

T = TypeVar("T")
TRAINING = b'{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}\n' * 4000
VALIDATION = b'{"messages":[{"role":"user","content":"c"},{"role":"assistant","content":"d"}]}\n'
_numbers = count()


class Rich:
    """Whoever asks has money for it."""

    async def reserve(self, job: states.Job, tokens: int) -> AbstractContextManager[Any]:
        assert tokens == len(TRAINING) // 4 * 3
        return nullcontext(SimpleNamespace())


class House:
    """A project with files, an upstream, and a handler that takes one turn after another."""

    def __init__(self, bench: Bench, folder: Path, fake: FakeUpstream, tuning: FakeTuning, **settings: Any) -> None:
        self.bench = bench
        self.fake = fake
        self.tuning = tuning
        kind = "azure" if tuning.azure else "openai"
        known = {"kind": kind, "base_url": fake.url if tuning.azure else fake.base_url, "api_key": "sk-first"}
        upstream = msgspec.convert({**known, **settings}, Upstream)
        self.upstream: OpenAIUpstream = registry.load(registry.UPSTREAMS[kind])("far", upstream)
        bucket = Folder(folder / "blobs")
        self.blobs = Blobs(bench.database, bucket, bucket.staging)
        bench.run(self.blobs.start())
        self.project = f"proj_{next(_numbers)}_{ids.random_text(8)}"
        bench.execute(tables.projects.insert().values(id=self.project, name="p", created_at=0))
        upstreams = {"far": self.upstream.fine_tuning}
        booking: Any = Rich()
        self.handler = Follow(bench.queue, self.blobs, upstreams, booking)
        self.forwarding = Forwarding(bench.queue, self.blobs, upstreams)

    def close(self) -> None:
        self.run(self.upstream.close())

    def run(self, work: Awaitable[T]) -> T:
        return self.bench.run(work)

    def create(self, *, validation: bool = False, start: str | None = None, **asked: Any) -> str:
        """As the API does it. start: the model that it goes on from."""

        async def create() -> str:
            async with self.blobs.staged() as first, self.blobs.staged() as second:
                await first.write(TRAINING)
                await second.write(VALIDATION)
                async with self.blobs.keep(first, second) as connection:
                    mine = [
                        await files.add(connection, self.project, "mine.jsonl", "fine-tune", one, life=None)
                        for one in (first, second)
                    ]
                    body = {"model": "nick", "training_file": mine[0].id, **asked}
                    wanted = msgspec.convert(body, CreateFineTuningJobRequest)
                    values = {
                        "project_id": self.project,
                        "key_id": "key_1",
                        "model": "nick",
                        "base": "gpt-far",
                        "start_model": start,
                        "upstream": "far",
                        "upstream_job": fine_tuning_forwarding.column(wanted),
                        "method": "supervised",
                        "hyperparameters": dict.fromkeys(("n_epochs", "batch_size"), "auto"),
                        "seed": 1,
                        "suffix": wanted.suffix,
                        "training_file": mine[0].id,
                        "training_digest": first.digest,
                        "validation_file": mine[1].id if validation else None,
                        "validation_digest": second.digest if validation else None,
                        "metadata": wanted.metadata,
                    }
                    return await states.create(connection, self.bench.queue, values, kind=states.FOLLOW)

        return self.run(create())

    def turn(self, times: int = 1) -> None:
        """Whoever works takes it up so many times, however long that would take."""
        for _ in range(times):
            self.bench.pass_time(1e6)
            for job in self.bench.claim(kind=states.FOLLOW):
                self.run(self.handler.run(Task(job)))

    def killed(self, operation: str) -> None:
        """Whoever works is killed while the upstream is asked for that: it has done it, and the answer never comes."""

        def do(visit: Visit) -> None:
            self.tuning.answer(visit, operation, [], {})
            visit.wait_until_left()

        async def die() -> None:
            (job,) = await self.bench.queue.claim({states.FOLLOW: 1}, "victim")
            before = self.tuning.asked.count(operation)
            async with asyncio.TaskGroup() as group:
                running = group.create_task(self.handler.run(Task(job)))
                await asyncio.to_thread(until, lambda: self.tuning.asked.count(operation) > before)
                running.cancel()

        self.tuning.faults[operation].append(do)
        self.bench.pass_time(1e6)
        self.run(die())

    def rest(self) -> float:
        """Seconds until it is taken up again."""

        async def rest() -> float:
            async with self.bench.database.read() as connection:
                query = sa.select(tables.jobs.c.run_at - self.bench.queue._now()).where(
                    tables.jobs.c.kind == states.FOLLOW
                )
                return float((await connection.execute(query)).scalar_one())

        return self.run(rest())

    def row(self, job_id: str) -> states.Job:
        (row,) = self.rows(tables.fine_tuning_jobs, tables.fine_tuning_jobs.c.id == job_id)
        return row

    def events(self, job_id: str) -> list[str]:
        found = self.rows(tables.fine_tuning_events, tables.fine_tuning_events.c.job_id == job_id)
        return [one["message"] for one in found]

    def models(self, job_id: str) -> dict[str, int | None]:
        """Name -> step."""
        found = self.rows(tables.fine_tuned_models, tables.fine_tuned_models.c.job_id == job_id)
        return {one["name"]: one["step"] for one in found}

    def queued(self) -> list[str]:
        return sorted(one.kind for one in self.bench.rows())

    def rows(self, table: sa.Table, *where: Any) -> list[sa.RowMapping]:
        async def rows() -> list[sa.RowMapping]:
            async with self.bench.database.read() as connection:
                query = sa.select(table).where(*where).order_by(table.c.seq)
                return [*(await connection.execute(query)).mappings()]

        return self.run(rows())

    def content(self, file_id: str) -> bytes:
        (row,) = self.rows(tables.files, tables.files.c.id == file_id)

        async def read() -> bytes:
            return b"".join([piece async for piece in self.blobs.read(row["digest"])])

        return self.run(read())


@pytest.fixture
def fake() -> Iterator[FakeUpstream]:
    with fake_upstream() as made:
        yield made


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody has heard of is there at once, or never."""
    monkeypatch.setattr(fine_tuning_upstream, "SETTLE", 0.0)


@pytest.fixture
def both(bench: Bench, tmp_path: Path, fake: FakeUpstream) -> Iterator[House]:
    """On SQLite, and on PostgreSQL."""
    fake.otherwise = tuning = FakeTuning()
    made = House(bench, tmp_path, fake, tuning)
    yield made
    made.close()


@pytest.fixture(scope="module")
def _lite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with queues.opened(f"sqlite:///{tmp_path_factory.mktemp('lite') / 'state.db'}") as made:
        yield made


@pytest.fixture
def lite(_lite: Bench) -> Bench:
    """On SQLite, made once; nothing is in the queue."""
    _lite.execute(sa.delete(tables.jobs))
    return _lite


@pytest.fixture
def house(lite: Bench, tmp_path: Path, fake: FakeUpstream) -> Iterator[House]:
    fake.otherwise = tuning = FakeTuning()
    made = House(lite, tmp_path, fake, tuning)
    yield made
    made.close()


@pytest.fixture
def azure(lite: Bench, tmp_path: Path, fake: FakeUpstream) -> Iterator[House]:
    fake.otherwise = tuning = FakeTuning(azure=True)
    made = House(lite, tmp_path, fake, tuning)
    yield made
    made.close()


def live(house: House, job_id: str) -> None:
    """A whole life, in which nothing happens by chance."""
    tuning = house.tuning
    house.turn(3 if tuning.azure else 1)  # Azure looks at files for a while
    job = tuning.the_job()
    assert house.row(job_id)["status"] == "validating_files"
    tuning.run(job)
    house.turn()
    row = house.row(job_id)
    assert (row["status"], row["hyperparameters"]["n_epochs"]) == ("running", 3)
    assert row["estimated_finish"] == job["estimated_finish"]
    tuning.train(job, 1, 2, 3)
    kept = tuning.keep(job, 3)
    house.turn()
    assert house.models(job_id) == {kept: 3}
    tuning.train(job, 4, 5, 6)
    model = tuning.succeed(job)
    house.turn()
    row = house.row(job_id)
    assert (row["status"], row["fine_tuned_model"]) == ("succeeded", model)
    assert (row["trained_tokens"], row["tokens"], row["step"]) == (4321, 4321, 6)
    assert (row["finished_at"], row["estimated_finish"]) == (job["finished_at"], None)
    assert house.models(job_id) == {kept: 3, model: None}
    assert house.content(row["result_file"]) == RESULTS
    assert row["training_digest"] is None


def test_a_job_is_brought_there_and_followed_to_its_end(both: House) -> None:
    metadata = {"mine": "yes"}
    method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3, "batch_size": "auto"}}}
    more: dict[str, Any] = {"method": method, "seed": 5, "suffix": "house", "metadata": metadata}
    integrations = [{"type": "wandb", "wandb": {"project": "p"}}]
    job_id = both.create(validation=True, integrations=integrations, **more)
    live(both, job_id)
    job, tuning = both.tuning.the_job(), both.tuning
    uploaded = [tuning.contents[job[name]] for name in ("training_file", "validation_file")]
    assert uploaded == [TRAINING, VALIDATION]
    created = next(visit.json for visit in both.fake.received if visit.path == "/v1/fine_tuning/jobs" and visit.body)
    assert {name: created[name] for name in ("model", "seed", "suffix", "integrations")} == {
        "model": "gpt-far",
        "seed": 5,
        "suffix": "house",
        "integrations": integrations,
    }
    assert created["metadata"] == {"mine": "yes", "homeport_job": job_id}
    assert created["method"] == method
    assert tuning.keys == [f"{job_id}-training", f"{job_id}-validation", job_id]
    assert set(tuning.files) == {*job["result_files"]}, "what was uploaded for it is gone from there"
    assert both.queued() == [states.BOOK]


def test_a_fine_tuned_model_is_tuned_further(house: House) -> None:
    job_id = house.create(start="ft:gpt-far:org::1")
    house.turn()
    assert house.tuning.the_job()["model"] == "ft:gpt-far:org::1"
    assert house.row(job_id)["base"] == "gpt-far"


def test_the_model_is_what_the_upstream_says_it_is(house: House) -> None:
    job_id = house.create()
    house.turn()
    house.tuning.the_job()["model"] = "gpt-far-2024-07-18"
    house.turn()
    assert house.row(job_id)["base"] == "gpt-far-2024-07-18"


def test_metadata_that_is_full_stays_as_it_is(house: House) -> None:
    """And the job is known by its file."""
    full = {f"k{number}": "v" for number in range(16)}
    house.create(metadata=full)
    house.killed("create")
    house.turn(2)
    assert house.tuning.the_job()["metadata"] == full


def test_an_upstream_that_knows_no_pages(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house.tuning, "_page", lambda found, query: {"data": found, "has_more": True})
    job_id = house.create()
    house.turn()
    house.tuning.train(house.tuning.the_job(), 1, 2, 3)
    house.turn(2)
    assert len(house.events(job_id)) == 5


def test_results_that_never_end_are_none(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fine_tuning_upstream, "LARGEST_RESULTS", 10)
    job_id = house.create()
    house.turn()
    house.tuning.succeed(house.tuning.the_job())
    house.turn()
    row = house.row(job_id)
    assert (row["status"], row["result_file"]) == ("succeeded", None)


def test_at_azure(azure: House) -> None:
    job_id = azure.create(validation=True, suffix="house")
    live(azure, job_id)
    assert azure.tuning.credentials == {"sk-first"}
    assert azure.queued() == [states.BOOK]


def test_events_are_the_upstreams_with_our_ids(house: House) -> None:
    job_id = house.create()
    house.turn()
    training = house.row(job_id)["training_file"]
    job = house.tuning.the_job()
    house.tuning.tell(job, f"{job['training_file']} of {job['id']} is well")
    house.turn(3)
    house.tuning.run(job)
    house.tuning.train(job, 1, 2, 3, 4, 5)
    house.turn(2)
    assert house.events(job_id) == [
        f"Created fine-tuning job: {job_id}",
        f"Validating training file: {training}",
        f"{training} of {job_id} is well",
        "Fine-tuning job started",
        *(f"Step {step}/6: training loss={1 / step:.2f}" for step in range(1, 6)),
    ]
    (last,) = house.rows(tables.fine_tuning_events, tables.fine_tuning_events.c.message.like("Step 5%"))[-1:]
    assert (last["type"], last["data"]["train_loss"], last["created_at"]) == ("metrics", 0.2, job["created_at"])


@pytest.mark.parametrize("operation", ["upload", "create"])
def test_an_answer_that_is_lost_makes_nothing_twice(house: House, operation: str) -> None:
    house.tuning.faults[operation].append(house.tuning.done_and_cut)
    job_id = house.create()
    house.turn(4)
    assert len(house.tuning.jobs) == 1
    assert len(house.tuning.files) == 1
    assert house.row(job_id)["upstream_job"]["job"]["id"] == house.tuning.the_job()["id"]
    assert "upstream_cut" in " ".join(house.events(job_id))


@pytest.mark.parametrize("operation", ["upload", "create"])
def test_whoever_is_killed_makes_nothing_twice(both: House, operation: str) -> None:
    job_id = both.create()
    both.killed(operation)
    assert both.row(job_id)["upstream_job"].get("job") is None
    both.turn(2)
    assert len(both.tuning.jobs) == 1
    assert len(both.tuning.files) == 1


def test_killed_at_azure_which_keeps_no_metadata(azure: House) -> None:
    other = azure.tuning._create  # somebody else's job, made meanwhile
    azure.create()
    azure.turn()
    azure.killed("create")
    file = azure.tuning._new_file("other.jsonl", "fine-tune", b"")
    visit = Visit(azure.fake, 0, "POST", "", {}, b'{"model":"m","training_file":"%b"}' % file["id"].encode())  # type: ignore[arg-type]
    other(visit)
    azure.turn(2)
    assert len(azure.tuning.jobs) == 2


def test_what_was_asked_for_may_take_a_while_to_be_there(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fine_tuning_upstream, "SETTLE", 1000.0)
    house.tuning.faults["create"].append(house.tuning.done_and_cut)
    house.create()
    house.turn(2)
    assert house.tuning.asked.count("jobs") == 0
    assert 900 < house.rest() <= 1000


def test_a_refusal_is_the_jobs_error(house: House) -> None:
    def refuse(visit: Visit) -> None:
        message = f"{visit.json['training_file']} has too few examples"
        refused(400, "invalid_training_file", message)(visit)

    house.tuning.faults["create"].append(refuse)
    job_id = house.create()
    house.turn()
    row = house.row(job_id)
    message = f"{row['training_file']} has too few examples"
    assert (row["status"], row["error"]["code"], row["error"]["message"]) == (
        "failed",
        "invalid_training_file",
        message,
    )
    assert house.events(job_id)[-1] == f"The job failed: {message}"
    house.turn()
    assert not house.tuning.files, "what was uploaded for it is gone from there"
    assert states.FOLLOW not in house.queued()


def test_a_wrong_key_is_the_operators(house: House) -> None:
    house.tuning.faults["upload"].append(refused(401, "invalid_api_key", "Incorrect API key provided: sk-first"))
    job_id = house.create()
    house.turn()
    row = house.row(job_id)
    assert (row["status"], row["error"]["code"]) == ("failed", "upstream_authentication_failed")
    assert "upstreams.far.api_key" in row["error"]["message"]
    assert "sk-first" not in str([row, house.events(job_id)])


def test_a_rate_limit_is_kept_to(house: House) -> None:
    house.tuning.faults["create"].append(refused(429, "rate_limit_exceeded", retry_after="321"))
    job_id = house.create()
    house.turn()
    assert 300 < house.rest() <= 321
    house.turn()
    assert len(house.tuning.jobs) == 1
    assert house.row(job_id)["status"] == "validating_files"


def test_a_quota_that_is_used_up_ends_it(house: House) -> None:
    house.tuning.faults["create"].append(refused(429, "insufficient_quota"))
    job_id = house.create()
    house.turn()
    assert house.row(job_id)["error"]["code"] == "insufficient_quota"


def test_trouble_is_told_once_and_passes(house: House) -> None:
    job_id = house.create()
    house.turn()
    job = house.tuning.the_job()
    house.tuning.run(job)
    house.tuning.faults["job"].extend([refused(500), cut, refused(503), refused(401)])
    house.tuning.faults["events"].append(cut)
    house.turn(5)
    warned = [one for one in house.events(job_id) if "is asked again" in one]
    assert warned == ["The upstream cannot go on at the moment, and is asked again: status 500."]
    assert house.rest() > fine_tuning_upstream.FIRST_REST
    house.turn()
    assert house.row(job_id)["status"] == "running"
    assert house.row(job_id)["upstream_job"].get("tries", 0) == 0


def test_an_upstream_that_is_away_for_a_day_ends_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fine_tuning_upstream, "PATIENCE", -1.0)
    house.tuning.faults["upload"].append(refused(503))
    job_id = house.create()
    house.turn()
    assert house.row(job_id)["status"] == "failed"


def test_a_job_that_is_gone_there_has_failed(house: House) -> None:
    job_id = house.create()
    house.turn()
    theirs = house.tuning.jobs.popitem()[0]
    house.turn(2)
    row = house.row(job_id)
    assert (row["status"], row["error"]["code"]) == ("failed", "fine_tune_not_found")
    assert theirs not in row["error"]["message"]
    assert states.FOLLOW not in house.queued()


def test_its_failure_there_is_its_failure_here(house: House) -> None:
    job_id = house.create()
    house.turn()
    job = house.tuning.the_job()
    house.tuning.fail(job, "invalid_training_file", f"{job['training_file']} is nonsense", "training_file")
    house.turn()
    row = house.row(job_id)
    assert row["error"] == {
        "code": "invalid_training_file",
        "message": f"{row['training_file']} is nonsense",
        "param": "training_file",
    }


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("job", b"[]"),
        ("job", b'{"id": "ftjob-another"}'),
        ("events", b'{"data": [1]}'),
        ("events", b"<html>"),
        ("create", b'{"id": 5}'),
        ("upload", b"{}"),
    ],
)
def test_nonsense_is_no_answer(house: House, operation: str, body: bytes) -> None:
    house.tuning.faults[operation].append(lambda visit: visit.send(whole(body)))
    job_id = house.create()
    house.turn()
    assert "is asked again" in house.events(job_id)[-1]
    house.turn(3)
    assert house.row(job_id)["status"] == "validating_files"
    assert len(house.tuning.jobs) == 1


def test_results_that_are_not_given_out_are_none(house: House) -> None:
    job_id = house.create()
    house.turn()
    house.tuning.succeed(house.tuning.the_job())
    house.tuning.faults["content"].append(refused(404))
    house.turn()
    row = house.row(job_id)
    assert (row["status"], row["result_file"]) == ("succeeded", None)


def test_results_that_break_off_are_fetched_again(house: House) -> None:
    def break_off(visit: Visit) -> None:
        visit.send(head(200, content_length="1000") + b"step,")
        visit.reset()

    job_id = house.create()
    house.turn()
    house.tuning.succeed(house.tuning.the_job())
    house.tuning.faults["content"].append(break_off)
    house.turn()
    assert house.row(job_id)["status"] == "validating_files"
    house.turn()
    assert house.content(house.row(job_id)["result_file"]) == RESULTS
    assert (
        len(
            house.rows(
                tables.files, tables.files.c.purpose == "fine-tune-results", tables.files.c.project_id == house.project
            )
        )
        == 1
    )


def test_cancelled_before_it_is_there(both: House) -> None:
    job_id = both.create()
    both.run(both.forwarding.cancel(both.row(job_id)))
    assert both.row(job_id)["status"] == "cancelled"
    both.turn(2)
    assert "upload" not in both.tuning.asked
    assert states.FOLLOW not in both.queued()


def test_cancelled_while_it_is_made_there(both: House) -> None:
    """By the time that whoever follows it hears of it, the upstream has the job."""
    job_id = both.create()
    both.killed("create")
    both.run(both.forwarding.cancel(both.row(job_id)))
    both.turn(2)
    assert both.tuning.the_job()["status"] == "cancelled"
    assert not both.tuning.files
    assert states.FOLLOW not in both.queued()


def test_cancelled_while_it_runs(both: House) -> None:
    job_id = both.create()
    both.turn()
    job = both.tuning.the_job()
    both.tuning.run(job)
    both.turn()
    both.run(both.forwarding.cancel(both.row(job_id)))
    assert (job["status"], both.row(job_id)["status"]) == ("cancelled", "cancelled")
    both.turn()
    assert (both.queued(), both.tuning.files) == ([states.BOOK], {})
    with pytest.raises(InvalidRequest):
        both.run(both.forwarding.cancel(both.row(job_id)))


def test_cancelled_in_vain(house: House) -> None:
    """The upstream was faster: its word holds, and is passed on with our ids."""
    job_id = house.create()
    house.turn()
    house.tuning.succeed(house.tuning.the_job())
    with pytest.raises(UpstreamRefused) as refusal:
        house.run(house.forwarding.cancel(house.row(job_id)))
    assert refusal.value.message == f"Job {job_id} has already completed with status: succeeded"
    house.turn()
    assert house.row(job_id)["status"] == "succeeded"


def test_cancelling_needs_the_upstream(house: House) -> None:
    job_id = house.create()
    house.turn()
    house.tuning.faults["act"].extend([cut, cut])
    with pytest.raises(UpstreamFailed):
        house.run(house.forwarding.cancel(house.row(job_id)))
    assert house.row(job_id)["status"] == "validating_files"


def test_paused_and_resumed(house: House) -> None:
    job_id = house.create()
    with pytest.raises(InvalidRequest):
        house.run(house.forwarding.pause(house.row(job_id)))
    house.turn()
    house.tuning.run(house.tuning.the_job())
    house.turn()
    house.run(house.forwarding.pause(house.row(job_id)))
    assert house.row(job_id)["status"] == house.tuning.the_job()["status"] == "paused"
    house.turn()
    assert house.row(job_id)["status"] == "paused"
    house.run(house.forwarding.resume(house.row(job_id)))
    assert house.row(job_id)["status"] == "queued"
    house.tuning.succeed(house.tuning.the_job())
    house.turn()
    assert house.row(job_id)["status"] == "succeeded"


def finished(house: House) -> list[sa.RowMapping]:
    """Rows of its models: a checkpoint, and the model."""
    job_id = house.create()
    house.turn(3)
    house.tuning.keep(house.tuning.the_job(), 3)
    house.tuning.succeed(house.tuning.the_job())
    house.turn()
    return house.rows(tables.fine_tuned_models, tables.fine_tuned_models.c.job_id == job_id)


def test_a_model_is_deleted_there(house: House) -> None:
    for model in finished(house):
        house.run(house.forwarding.delete(model))
    assert house.tuning.deleted == [one["name"] for one in house.rows(tables.fine_tuned_models)[-2:]]
    house.tuning.faults["delete_model"].extend([refused(404), refused(403)])
    house.run(house.forwarding.delete(model))
    with pytest.raises(UpstreamFailed):
        house.run(house.forwarding.delete(model))


def test_a_model_of_azure_goes_with_its_job(azure: House) -> None:
    checkpoint, model = finished(azure)
    with pytest.raises(InvalidRequest):
        azure.run(azure.forwarding.delete(checkpoint))
    azure.run(azure.forwarding.delete(model))
    assert azure.tuning.deleted == [azure.tuning.the_job()["id"]]


def test_one_account_of_several(lite: Bench, tmp_path: Path, fake: FakeUpstream) -> None:
    fake.otherwise = tuning = FakeTuning()
    house = House(lite, tmp_path, fake, tuning, api_keys=("sk-second", "sk-third"))
    live(house, house.create())
    assert tuning.credentials == {"Bearer sk-first"}
    house.close()


def test_an_upstream_that_is_not_set_any_more(house: House) -> None:
    job_id = house.create()
    house.handler._upstreams = {}
    house.turn()
    assert "is asked again" in house.events(job_id)[-1]
    forwarding = Forwarding(house.bench.queue, house.blobs, {})
    model: Any = {"job_id": job_id, "upstream": "far"}
    with pytest.raises(UpstreamFailed):
        house.run(forwarding.delete(model))


def test_given_up(house: House) -> None:
    """What the upstream has of it ends there all the same."""
    job_id = house.create()
    house.turn()
    house.bench.pass_time(1e6)
    (job,) = house.bench.claim(kind=states.FOLLOW)

    async def give_up() -> None:
        async with house.bench.database.write() as connection:
            await house.handler.give_up(connection, job, "why")

    house.run(give_up())
    assert house.row(job_id)["error"]["code"] == "server_error"
    house.turn()
    assert (house.tuning.the_job()["status"], house.tuning.files) == ("cancelled", {})
    assert states.FOLLOW not in house.queued()


def test_processes_that_are_killed_are_not_the_jobs_fault(house: House) -> None:
    house.create()
    house.killed("upload")
    for _ in range(ATTEMPTS + 1):
        house.killed("files")
    house.bench.pass_time(1e6)
    (job,) = house.bench.claim(kind=states.FOLLOW)
    assert job.attempt <= 2
    house.run(house.handler.run(Task(job)))
    assert len(house.tuning.jobs) == len(house.tuning.files) == 1
