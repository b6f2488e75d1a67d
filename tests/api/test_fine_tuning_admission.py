"""Who may have a model tuned, and by whom: money, tiers, a trainer that is missing, and upstreams."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import sqlalchemy as sa

from homeport import tuning
from homeport.control import fine_tuning_states as states
from homeport.store.tables import fine_tuning_jobs, jobs
from tests.api import raw
from tests.api.owners import client_of, new_key, new_project
from tests.fake_upstream import dead_port, until
from tests.fine_tuning import create, settings, upload
from tests.server import KEY, Running, running
from tests.stores import rows
from tests.training.text import tiny

#: Two cents a token.
PRICES = {"house": {"training": "20000"}, "far-model": {"training": "20000"}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("admission")
    free = {"path": str(tiny.write(folder / "free.gguf")), "engine": "llama_cpp", "threads": 1}
    chosen = settings(
        folder,
        upstreams={
            "far": {"base_url": f"http://127.0.0.1:{dead_port()}/v1", "models": ["far-model", "unpriced"], "retries": 0}
        },
        prices=PRICES,
    )
    chosen["models"]["free"] = free
    chosen["aliases"]["gpt-4"] = ["free"]
    with running(folder, chosen) as made:
        yield made


@pytest.fixture(scope="module")
def mine(server: Running) -> Iterator[openai.OpenAI]:
    with client_of(server) as made:
        yield made


def with_budget(server: Running, cents: int) -> openai.OpenAI:
    project = new_project(server, f"{cents} cents")
    key = new_key(server, project)
    limit = {"threshold_amount": cents, "currency": "USD", "interval": "month"}
    path = f"/v1/organization/projects/{project}/spend_limit"
    assert raw.ask(server, "POST", path, limit).status == 200
    return client_of(server, key)


def kept(server: Running, job: str) -> Any:
    url = server.app.books.database.url.render_as_string(hide_password=False)
    return rows(url, sa.select(fine_tuning_jobs).where(fine_tuning_jobs.c.id == job))[0]


def kinds(server: Running, job: str) -> list[str]:
    url = server.app.books.database.url.render_as_string(hide_password=False)
    return [one["kind"] for one in rows(url, sa.select(jobs.c.kind).where(jobs.c.subject == job))]


def test_nothing_is_begun_on_a_budget_that_is_used_up(server: Running) -> None:
    with with_budget(server, 1) as poor, with_budget(server, 3) as rich:
        with pytest.raises(openai.RateLimitError) as refusal:
            create(poor)
        assert refusal.value.code == "insufficient_quota"
        assert list(poor.fine_tuning.jobs.list()) == []
        create(poor, model="free")
        for _ in range(3):
            create(rich)  # nothing is taken by asking


def test_on_a_budget_the_price_must_be_known(server: Running, mine: openai.OpenAI) -> None:
    with with_budget(server, 3) as limited:
        with pytest.raises(openai.PermissionDeniedError) as refusal:
            create(limited, model="unpriced")
        assert refusal.value.code == "model_price_unknown"
        create(limited, model="far-model")
    create(mine, model="unpriced")


def test_a_tier_tunes_what_it_may_use(server: Running) -> None:
    project = new_project(server, "on trial")
    key = new_key(server, project)
    raw.ask(server, "POST", f"/v1/homeport/projects/{project}", {"tier": "trial"})
    with client_of(server, key) as trying:

        def is_refused() -> bool:
            return refusal(trying, model="gpt-4") == (404, "model_not_found")

        assert until(is_refused)
        create(trying, model="free")


def refusal(client: openai.OpenAI, **more: Any) -> tuple[int, str | None] | None:
    try:
        create(client, **more)
    except openai.APIStatusError as error:
        return error.status_code, error.code
    return None


def test_without_a_trainer_the_command_that_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "find_spec", lambda _: None)
    with running(tmp_path, settings(tmp_path, jobs={})) as bare:
        with openai.OpenAI(base_url=bare.base_url, api_key=KEY) as client:  # which would ask again, where that helps
            with pytest.raises(openai.InternalServerError) as refused:
                create(client)
            assert (refused.value.status_code, refused.value.code) == (503, "trainer_not_installed")
            assert "pip install 'homeport[train]'" in refused.value.message
            assert refused.value.response.headers["x-should-retry"] == "false"
            assert list(client.fine_tuning.jobs.list()) == []


def test_what_upstreams_serve_they_tune(server: Running, mine: openai.OpenAI) -> None:
    method: Any = {"type": "reinforcement", "reinforcement": {"grader": {}}}
    wandb: Any = [{"type": "wandb", "wandb": {"project": "x"}}]
    job = create(mine, model="far-model", integrations=wandb)
    assert (job.model, job.status) == ("far-model", "validating_files")
    assert [one.type for one in job.integrations or []] == ["wandb"]
    row = kept(server, job.id)
    assert (row["upstream"], row["base"]) == ("far", "far-model")
    assert kinds(server, job.id) == [states.FOLLOW]
    other = create(mine, model="far-model", method=method)
    assert other.method is not None
    assert other.method.type == "reinforcement"
    assert mine.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError):
        mine.fine_tuning.jobs.pause(job.id)


def test_wrong_requests_are_refused_for_upstreams_as_well(server: Running, mine: openai.OpenAI) -> None:
    file = upload(mine)
    body = {"model": "far-model", "training_file": file, "hyperparameters": {"n_epochs": 99}}
    answer = raw.ask(server, "POST", "/v1/fine_tuning/jobs", body)
    assert (answer.status, answer.error["param"]) == (400, "hyperparameters.n_epochs")
    answer = raw.ask(server, "POST", "/v1/fine_tuning/jobs", {"model": "far-model", "training_file": "file-x"})
    assert (answer.status, answer.error["param"]) == (400, "training_file")
