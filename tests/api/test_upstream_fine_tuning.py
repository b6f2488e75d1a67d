"""Fine-tuning at an upstream as programs use it: the official SDK asks Homeport, which asks OpenAI, or Azure."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from homeport.jobs import fine_tuning_upstream
from tests.api import raw
from tests.api.owners import client_of, new_key, new_project
from tests.fake_tuning import RESULTS, FakeTuning, refused
from tests.fake_upstream import FakeUpstream, fake_upstream, until
from tests.fine_tuning import LINES, upload
from tests.server import KEY, Running, running
from tests.upstreams.homeports import Relay

HELLO: Any = [{"role": "user", "content": "hello"}]
POLLING = {"poll_seconds": 0.05}


class House:
    def __init__(self, server: Running, fake: FakeUpstream, tuning: FakeTuning) -> None:
        self.server = server
        self.fake = fake
        self.tuning = tuning
        self.client = client_of(server)

    def create(self, **more: Any) -> str:
        """Once the upstream has it."""
        before = len(self.tuning.jobs)
        made = self.client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=upload(self.client), **more)
        assert made.status == "validating_files"
        assert until(lambda: len(self.tuning.jobs) > before)
        return made.id

    def theirs(self) -> dict[str, Any]:
        """The newest job there."""
        return [*self.tuning.jobs.values()][-1]

    def comes_to(self, job: str, status: str) -> bool:
        return until(lambda: self.client.fine_tuning.jobs.retrieve(job).status == status)

    def ask(self, model: str) -> Any:
        """What the upstream is asked for it, once every replica has looked."""
        assert until(lambda: model in [one.id for one in self.client.models.list()])
        self.client.chat.completions.create(model=model, messages=HELLO)
        (visit,) = (one for one in self.fake.received if "/chat/completions" in one.path and one.json["model"] == model)
        return visit


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("FIRST_REST", "LONGEST_REST", "SETTLE"):
            patch.setattr(fine_tuning_upstream, name, 0.02)
        yield


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with fake_upstream() as fake:
        fake.otherwise = tuning = FakeTuning()
        upstream = {"base_url": fake.base_url, "api_keys": ["sk-first", "sk-second"]}
        settings = {"upstreams": {"far": upstream}, "jobs": POLLING}
        with running(tmp_path_factory.mktemp("openai"), settings) as server:
            yield House(server, fake, tuning)


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with fake_upstream() as fake:
        fake.otherwise = tuning = FakeTuning(azure=True)
        upstream = {"kind": "azure", "base_url": fake.url, "api_key": "sk-first", "models": ["gpt-4o-mini"]}
        settings = {"upstreams": {"far": upstream}, "jobs": POLLING}
        with running(tmp_path_factory.mktemp("azure"), settings) as server:
            yield House(server, fake, tuning)


def test_a_model_of_an_upstream_is_tuned_there(house: House) -> None:
    jobs = house.client.fine_tuning.jobs
    method: Any = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}}
    integrations: Any = [{"type": "wandb", "wandb": {"project": "p"}}]
    job_id = house.create(method=method, suffix="house", seed=5, metadata={"a": "b"}, integrations=integrations)
    tuning, theirs = house.tuning, house.theirs()
    assert tuning.contents[theirs["training_file"]] == LINES
    tuning.run(theirs)
    assert house.comes_to(job_id, "running")
    tuning.train(theirs, 1, 2, 3)
    kept = tuning.keep(theirs, 3)
    model = tuning.succeed(theirs)
    assert house.comes_to(job_id, "succeeded")
    job = jobs.retrieve(job_id)
    assert (job.fine_tuned_model, job.trained_tokens, job.seed, job.metadata) == (model, 4321, 5, {"a": "b"})
    assert job.method is not None
    assert job.method.supervised is not None
    assert job.method.supervised.hyperparameters is not None
    assert job.method.supervised.hyperparameters.batch_size == 1
    assert job.integrations is not None
    assert [one.wandb.project for one in job.integrations] == ["p"]
    (checkpoint,) = jobs.checkpoints.list(job_id)
    assert (checkpoint.fine_tuned_model_checkpoint, checkpoint.metrics.full_valid_loss) == (kept, 0.75)
    assert house.client.files.content(job.result_files[0]).content == RESULTS
    assert house.client.files.retrieve(job.result_files[0]).filename == "step_metrics.csv"
    (row,) = Relay(house.fake, house.server).rows("gpt-4o-mini")
    assert (row["request_id"], row["backend"], row["ran"]) == (job_id, "far", "gpt-4o-mini")
    assert (row["prompt_tokens"], row["cost_pico"]) == (4321, 4321 * 3 * 10**6), "three dollars a million"
    told = [one.message for one in jobs.list_events(job_id)]
    assert told[0] == "The job has successfully completed"
    assert [one for one in told if "their" in one.replace("their-org", "")] == [], "no id of theirs is shown"
    for name in (kept, model):
        assert house.ask(name).headers["authorization"] == "Bearer sk-first", "the account that has the model"


def test_it_is_watched_from_the_terminal(house: House) -> None:
    job_id = house.create()
    arguments = [sys.executable, "-m", "homeport", "fine-tune", "watch", job_id, "--base-url", house.server.base_url]
    environment = {**os.environ, "OPENAI_API_KEY": KEY}
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, env=environment, text=True) as watching:
        assert watching.stdout is not None
        lines = iter(watching.stdout.readline, "")
        assert any(f"Created fine-tuning job: {job_id}" in line for line in lines)
        house.tuning.run(house.theirs())
        house.tuning.train(house.theirs(), 1, 2)
        assert any("step 2/6  train loss 0.5000  train accuracy 0.5000" in line for line in lines)
        model = house.tuning.succeed(house.theirs())
        assert [*lines][-1] == f"succeeded: {model}\n"
    assert watching.returncode == 0


def test_it_is_the_projects_alone(house: House) -> None:
    job_id = house.create()
    model = house.tuning.succeed(house.theirs())
    assert house.comes_to(job_id, "succeeded")
    with client_of(house.server, new_key(house.server, new_project(house.server, "strangers"))) as stranger:
        with pytest.raises(openai.NotFoundError):
            stranger.fine_tuning.jobs.retrieve(job_id)
        with pytest.raises(openai.NotFoundError):
            stranger.models.delete(model)
        with pytest.raises(openai.NotFoundError):
            stranger.chat.completions.create(model=model, messages=HELLO)
    assert house.client.models.delete(model).deleted
    assert house.tuning.deleted == [model]


def test_cancel_pause_and_resume_are_forwarded(house: House) -> None:
    jobs = house.client.fine_tuning.jobs
    job_id = house.create()
    theirs = house.theirs()
    house.tuning.run(theirs)
    assert house.comes_to(job_id, "running")
    assert jobs.pause(job_id).status == "paused"  # type: ignore[comparison-overlap]
    assert theirs["status"] == "paused"
    assert jobs.resume(job_id).status == "queued"
    assert jobs.cancel(job_id).status == "cancelled"
    assert theirs["status"] == "cancelled"
    assert until(lambda: theirs["training_file"] not in house.tuning.files)


def test_what_the_upstream_says_is_the_answer(house: House) -> None:
    job_id = house.create()
    house.tuning.run(house.theirs())
    assert house.comes_to(job_id, "running")
    message = f"{house.theirs()['id']} cannot be paused"
    house.tuning.faults["act"].append(refused(400, "not_pausable", message))
    with pytest.raises(openai.BadRequestError) as refusal:
        house.client.fine_tuning.jobs.pause(job_id)
    assert (refusal.value.code, refusal.value.body["message"]) == ("not_pausable", f"{job_id} cannot be paused")  # type: ignore[index]
    house.tuning.faults["act"].append(refused(503))
    with pytest.raises(openai.InternalServerError):
        house.client.fine_tuning.jobs.cancel(job_id)
    assert house.client.fine_tuning.jobs.retrieve(job_id).status == "running"


def test_a_job_that_the_upstream_refuses_has_failed(house: House) -> None:
    house.tuning.faults["create"].append(refused(403, "model_not_found"))
    job = house.client.fine_tuning.jobs.create(model="far-model", training_file=upload(house.client))
    assert house.comes_to(job.id, "failed")
    error = house.client.fine_tuning.jobs.retrieve(job.id).error
    assert error is not None
    assert error.code == "upstream_authentication_failed"


def test_a_budget_that_cannot_hold_it(house: House) -> None:
    """Three epochs of a megabyte cost two dollars; the upstream is not even asked."""
    project = new_project(house.server, "thrifty")
    limit = {"threshold_amount": 100, "currency": "USD", "interval": "month"}
    assert raw.ask(house.server, "POST", f"/v1/homeport/projects/{project}/spend_limit", limit).status == 200
    with client_of(house.server, new_key(house.server, project)) as client:
        asked = len(house.tuning.keys)
        file = upload(client, b"\n".join([LINES] * 1000))
        job = client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=file)
        assert until(lambda: client.fine_tuning.jobs.retrieve(job.id).status == "failed")
        error = client.fine_tuning.jobs.retrieve(job.id).error
        assert error is not None
        assert error.code == "insufficient_quota"
        assert len(house.tuning.keys) == asked


def test_at_azure(azure: House) -> None:
    job_id = azure.create(suffix="house")
    azure.tuning.run(azure.theirs())
    model = azure.tuning.succeed(azure.theirs())
    assert azure.comes_to(job_id, "succeeded")
    assert azure.client.fine_tuning.jobs.retrieve(job_id).fine_tuned_model == model
    assert azure.ask(model).path == f"/openai/deployments/{model}/chat/completions?api-version=2024-10-21"
    assert azure.client.models.delete(model).deleted
    assert azure.tuning.deleted == [azure.theirs()["id"]]
