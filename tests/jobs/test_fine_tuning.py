"""What becomes of fine-tuning jobs in a worker's hands: done, wrong, paused, cancelled, handed on, dead, too dear."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from homeport.control import fine_tuning_states as states
from homeport.errors import InsufficientQuota, InvalidRequest, ModelNotReady, StorageFull, Unavailable
from homeport.jobs import fine_tuning, fine_tuning_run, hyperparameters, trainer
from homeport.jobs.worker import Event
from homeport.store.blobs import Blobs
from tests.jobs import tuned
from tests.jobs.tuned import LINES, STEPS, TOKENS, Shop, adapter_after
from tests.store import queues
from tests.store.queues import Bench

Run = Callable[..., None]


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits does not wait for long."""
    monkeypatch.setattr(trainer, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(fine_tuning_run, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(fine_tuning_run, "TELL_SECONDS", 0.05)
    monkeypatch.setattr(fine_tuning_run, "REST_SECONDS", 0.01)
    monkeypatch.setattr(fine_tuning_run, "WAIT_SECONDS", 0.1)
    monkeypatch.setattr(fine_tuning, "WAIT_SECONDS", 0.1)


@pytest.fixture
def run(bench: Bench, tmp_path: Path) -> Run:
    """A test of a shop, in the queue's loop, on both databases."""
    return runner(bench, tmp_path)


@pytest.fixture
def run_once(tmp_path: Path) -> Iterator[Run]:
    """On SQLite: of what is the same wherever it is written down."""
    with queues.opened(f"sqlite:///{tmp_path / 'state.db'}") as bench:
        yield runner(bench, tmp_path)


def runner(bench: Bench, folder: Path) -> Run:
    def run(test: Callable[[Shop], Awaitable[None]], *, budget_cents: int | None = None) -> None:
        async def whole() -> None:
            async with tuned.opened(bench.queue, folder, budget_cents=budget_cents) as shop:
                await test(shop)

        bench.run(whole())

    return run


def test_a_file_becomes_a_model(run: Run) -> None:
    async def test(shop: Shop) -> None:
        async with shop.working():
            job_id = await shop.create(validation=["one", "two"], suffix="mine")
            row = await shop.until(job_id, "succeeded")
            await shop.quiet(job_id)
        name = f"ft:gpt-4o-mini:org-home:mine:{job_id[-8:]}"
        assert (row["fine_tuned_model"], row["trained_tokens"], row["step"]) == (name, 2 * TOKENS, 2 * STEPS)
        assert row["hyperparameters"] == {"n_epochs": 2, "batch_size": 1, "learning_rate_multiplier": 1.0}
        assert await shop.messages(job_id) == [
            f"Created fine-tuning job: {job_id}",
            "Validating training file: file-1",
            "Files validated, moving job to queued state (40 tokens an epoch)",
            "Fine-tuning job started",
            "Checkpoint created at step 4",
            "Checkpoint created at step 8",
            f"New fine-tuned model created: {name}",
            "The job has successfully completed",
        ]
        told = await shop.events(job_id, "metrics")
        assert [one["message"] for one in told[:2]] == [
            "Step 1/8: training loss=2.00",
            "Step 2/8: training loss=1.00, validation loss=1.50",
        ]
        assert [one["data"]["step"] for one in told] == [*range(1, 9)]
        assert told[1]["data"] == {
            "step": 2,
            "train_loss": 1.0,
            "train_mean_token_accuracy": 0.66667,
            "valid_loss": 1.5,
            "valid_mean_token_accuracy": 0.25,
            "total_steps": 8,
        }
        made = await shop.models(job_id)
        assert [(one["name"], one["step"]) for one in made] == [
            (f"{name}:ckpt-step-4", 4),
            (f"{name}:ckpt-step-8", 8),
            (name, None),
        ]
        assert {(one["model"], one["base"], one["project_id"]) for one in made} == {
            ("gpt-4o-mini", "tiny", shop.project)
        }
        assert [await shop.bytes_of(one) for one in made] == [adapter_after(4), adapter_after(8), adapter_after(8)]
        assert made[0]["metrics"] == {
            "step": 4,
            "train_loss": 0.5,
            "train_mean_token_accuracy": 0.8,
            "valid_loss": 1.0,
            "valid_mean_token_accuracy": 0.25,
            "full_valid_loss": 1.5,
        }
        lines = (await shop.results(row["result_file"])).splitlines()
        assert lines[:3] == [
            "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy",
            "1,2.0,0.5,,",
            "2,1.0,0.66667,1.5,0.25",
        ]
        assert len(lines) == 1 + 8
        assert not (shop.root / job_id).exists()
        assert await shop.unwanted() == []

    run(test)


def test_it_is_in_the_ledger(run_once: Run) -> None:
    async def test(shop: Shop) -> None:
        async with shop.working():
            job_id = await shop.create()
            row = await shop.until(job_id, "succeeded")
            await shop.quiet(job_id)
        bill = await shop.bill(job_id)
        assert bill is not None
        assert (bill.outcome, bill.status, bill.page, bill.endpoint) == (
            "completed",
            200,
            "fine_tuning",
            "fine_tuning.jobs",
        )
        assert (bill.project_id, bill.key_id, bill.user_id) == (shop.project, shop.key_id, "user_1")
        assert (bill.model, bill.ran, bill.input_tokens) == ("gpt-4o-mini", "tiny", 2 * TOKENS)
        assert bill.cost_pico == 2 * TOKENS * 10 * 10**6  # 10 dollars a million
        assert bill.started_at == row["finished_at"]
        assert bill.price_lines is not None
        assert [(line[0], line[1], line[2]) for line in bill.price_lines] == [("tiny, training", 80, "tokens")]

    run_once(test)


def test_what_is_wrong_with_a_file_is_told_with_its_lines(run: Run) -> None:
    async def test(shop: Shop) -> None:
        async with shop.working():
            job_id = await shop.create(["warn me", "bad", "fine", "bad"])
            row = await shop.until(job_id, "failed")
            await shop.quiet(job_id)
        assert row["error"]["code"] == "invalid_training_file"
        assert row["error"]["param"] == "training_file"
        assert "2 errors" in row["error"]["message"]
        assert "Line 2: it is bad" in row["error"]["message"]
        assert (await shop.messages(job_id))[2:] == ["Line 1 is odd.", f"The job failed: {row['error']['message']}"]
        assert row["training_digest"] is None
        assert await shop.bill(job_id) is None
        assert not (shop.root / job_id).exists()

    run(test)


def test_paused_it_frees_all_and_goes_on_where_it_was(run: Run) -> None:
    async def test(shop: Shop) -> None:
        async with shop.working():
            shop.reins.stop_after(3)
            job_id = await shop.create()
            await shop.until(job_id, "running", step=3)
            assert await shop.pause(job_id)
            row = await shop.until(job_id, "paused")
            assert row["state_digest"] in await shop.digests()
            assert row["estimated_finish"] is None
            assert await shop.bill(job_id) is None
        assert not (shop.root / job_id).exists()
        async with shop.working():
            assert await shop.resume(job_id)
            shop.reins.let_go()
            await shop.until(job_id, "succeeded")
            await shop.quiet(job_id)
        assert await shop.adapter(job_id) == adapter_after(8)
        told = await shop.events(job_id, "metrics")
        assert [one["data"]["step"] for one in told] == [*range(1, 9)]
        assert (await shop.row(job_id))["trained_tokens"] == 2 * TOKENS
        assert row["state_digest"] not in await shop.digests()

    run(test)


def test_paused_and_resumed_before_it_began_it_is_trained_once(run_once: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    filling, go_on = asyncio.Event(), asyncio.Event()
    fill = fine_tuning_run._Run._fill

    async def slowly(run: fine_tuning_run._Run, base: Path) -> None:
        filling.set()
        await go_on.wait()
        await fill(run, base)

    async def test(shop: Shop) -> None:
        monkeypatch.setattr(fine_tuning_run._Run, "_fill", slowly)
        async with shop.working() as worker:
            job_id = await shop.create()
            await filling.wait()
            assert await shop.pause(job_id)
            assert await shop.resume(job_id)
            go_on.set()
            await shop.until(job_id, "succeeded")
            await shop.quiet(job_id)
            assert worker.counts[Event("fine_tuning", states.TRAIN, "claimed")] == 2
        assert [one["data"]["step"] for one in await shop.events(job_id, "metrics")] == [*range(1, 9)]
        assert (await shop.messages(job_id)).count("Fine-tuning job started") == 1

    run_once(test)


@pytest.mark.parametrize("deaf", [False, True], ids=["it listens", "it does not"])
def test_cancelled_it_ends(run: Run, monkeypatch: pytest.MonkeyPatch, deaf: bool) -> None:
    monkeypatch.setattr(fine_tuning_run, "CANCEL_SECONDS", 0.2)

    async def test(shop: Shop) -> None:
        if deaf:
            shop.reins.deafen()
        async with shop.working():
            shop.reins.stop_after(3)
            job_id = await shop.create()
            await shop.until(job_id, "running", step=3)
            assert await shop.cancel(job_id)
            await shop.quiet(job_id)
        assert not (shop.root / job_id).exists()
        assert (await shop.row(job_id))["status"] == "cancelled"
        bill = await shop.bill(job_id)
        assert bill is not None
        assert (bill.outcome, bill.input_tokens) == ("left", 30)
        assert await shop.models(job_id) == []

    run(test)


def test_a_paused_job_that_is_cancelled_is_booked(run_once: Run) -> None:
    async def test(shop: Shop) -> None:
        async with shop.working():
            shop.reins.stop_after(5)
            job_id = await shop.create()
            await shop.until(job_id, "running", step=5)
            await shop.pause(job_id)
            await shop.until(job_id, "paused")
            before = await shop.cancel(job_id)
            await shop.quiet(job_id)
        assert before["state_digest"] is not None
        bill = await shop.bill(job_id)
        assert bill is not None
        assert bill.input_tokens == 50

    run_once(test)


def test_handed_back_another_machine_goes_on(run: Run) -> None:
    """And then the first one again, whose folder is the older one."""

    async def test(shop: Shop) -> None:
        second = replace(shop, root=shop.root.with_name("machine-2"))
        shop.reins.stop_after(3)
        async with shop.working():
            job_id = await shop.create()
            await shop.until(job_id, "running", step=3)
        assert (await shop.row(job_id))["status"] == "running"
        assert (shop.root / job_id).exists()
        shop.reins.stop_after(6)
        async with second.working():
            await shop.until(job_id, "running", step=6)
        shop.reins.let_go()
        async with shop.working():
            await shop.until(job_id, "succeeded")
            await shop.quiet(job_id)
        assert await shop.adapter(job_id) == adapter_after(8)
        told = await shop.events(job_id, "metrics")
        assert [one["data"]["step"] for one in told] == [*range(1, 9)]
        assert (await shop.row(job_id))["trained_tokens"] == 2 * TOKENS
        assert (await shop.messages(job_id)).count("Fine-tuning job started") == 1
        # What is left on the other machine goes when it begins anew.
        assert (second.root / job_id).exists()
        await fine_tuning_run.sweep(second.workshop())
        assert not (second.root / job_id).exists()

    run(test)


def test_cut_off_another_machine_goes_on_from_what_was_kept(run_once: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fine_tuning_run, "STATE_SECONDS", 0.0)

    async def test(shop: Shop) -> None:
        shop.reins.stop_after(3)
        async with shop.working(drain=False):
            job_id = await shop.create()
            await shop.until(job_id, "running", step=3)
            await tuned.until(lambda: shop.kept(job_id))
        second = replace(shop, root=shop.root.with_name("machine-2"))
        shop.reins.stop_after(5)
        async with second.working():
            await shop.until(job_id, "running", step=5)
            began = (second.root / job_id / "events.jsonl").read_text().splitlines()[0]
            assert json.loads(began)["at"] == 2  # the last state that the first one has written
            shop.reins.let_go()
            await shop.until(job_id, "succeeded")
            await shop.quiet(job_id)
        assert await shop.adapter(job_id) == adapter_after(8)
        assert await shop.unwanted() == []

    run_once(test)


def test_a_trainer_that_dies_is_begun_again_twice(run_once: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def test(shop: Shop) -> None:
        shop.reins.crash_at(4)
        shop.reins.crash_at(6)
        async with shop.working():
            job_id = await shop.create()
            await shop.until(job_id, "succeeded")
        assert await shop.adapter(job_id) == adapter_after(8)

    with caplog.at_level(logging.ERROR, "homeport.fine_tuning"):
        run_once(test)
    assert [one.getMessage().rpartition(": ")[2] for one in caplog.records] == ["it broke"] * 2


def test_one_that_dies_each_time_has_failed(run_once: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def test(shop: Shop) -> None:
        async with shop.working():
            shop.reins.stop_after(3)
            job_id = await shop.create()
            for _ in range(1 + fine_tuning_run.RESTARTS):
                await shop.until(job_id, "running", step=3)
                shop.reins.crash_at(4)
                shop.reins.stop_after(4)
                await tuned.until(lambda: not (shop.reins.folder / "crash-4").exists())
                shop.reins.stop_after(3)
            row = await shop.until(job_id, "failed")
            await shop.quiet(job_id)
        assert row["error"]["code"] == "server_error"
        assert "it broke" not in row["error"]["message"]
        bill = await shop.bill(job_id)
        assert bill is not None
        assert (bill.outcome, bill.input_tokens) == ("failed", 30)

    with caplog.at_level(logging.ERROR, "homeport.fine_tuning"):
        run_once(test)
    assert len(caplog.records) == 3


def test_what_the_trainer_says_is_why_it_failed(run_once: Run) -> None:
    async def test(shop: Shop) -> None:
        shop.reins.fail_at(3, "It diverged.")
        async with shop.working():
            row = await shop.until(await shop.create(), "failed")
        assert (row["error"]["code"], row["error"]["message"]) == ("training_failed", "It diverged.")

    run_once(test)


def test_a_budget_that_cannot_hold_it_refuses_it(run_once: Run) -> None:
    """It costs 0.08 cents."""

    async def test(shop: Shop) -> None:
        async with shop.working():
            shop.reins.stop_after(1)
            lines = [f"{number:0100d}" for number in range(4)]  # 0.8 cents
            first = await shop.create(lines)
            await shop.until(first, "running", step=1)
            row = await shop.until(await shop.create(lines), "failed")
            assert row["error"]["code"] == "insufficient_quota"
            # What the first one needs is reserved meanwhile, and what it took counts for good.
            budget = shop.principals[shop.key_id].budgets[0]
            counted = [(budget.counter(0), budget.limit_nano)]
            with pytest.raises(InsufficientQuota):
                await shop.limits.reserve(counted, 3_000_000)
            await shop.cancel(first)
            await shop.quiet(first)
            with pytest.raises(InsufficientQuota):
                await shop.limits.reserve(counted, 9_500_000)
            await shop.limits.reserve(counted, 9_000_000)  # 0.1 cents were spent

    run_once(test, budget_cents=1)


def test_a_key_that_is_revoked_ends_what_it_asked_for(run_once: Run) -> None:
    async def test(shop: Shop) -> None:
        async with shop.working():
            shop.reins.stop_after(2)
            job_id = await shop.create()
            await shop.until(job_id, "running", step=2)
            shop.principals.clear()
            row = await shop.until(job_id, "failed")
            await shop.quiet(job_id)
        assert row["error"]["code"] == "invalid_api_key"
        bill = await shop.bill(job_id)
        assert bill is not None
        assert (bill.key_id, bill.user_id, bill.input_tokens) == (shop.key_id, "", 20)

    run_once(test)


def test_of_several_processes_of_a_machine_one_trains_one_job(run: Run) -> None:
    async def test(shop: Shop) -> None:
        shop.reins.stop_after(1)
        async with shop.working() as first, shop.working() as second:
            some = [await shop.create()]
            await shop.until(some[0], "running", step=1)
            some += [await shop.create() for _ in range(2)]
            for job_id in some[1:]:
                await shop.until(job_id, "queued")
            trained = [one.counts[Event("fine_tuning", states.TRAIN, "claimed")] for one in (first, second)]
            assert sorted(trained) == [0, 1]
            shop.reins.let_go()
            for job_id in some:
                await shop.until(job_id, "succeeded")

    run(test)


def test_without_a_trainer_it_fails_with_the_command_that_brings_it(run_once: Run) -> None:
    async def test(shop: Shop) -> None:
        async with replace(shop, trained_by="nobody").working():
            row = await shop.until(await shop.create(), "failed")
        assert "pip install 'homeport[train]'" in row["error"]["message"]

    run_once(test)


def test_where_others_may_have_one_it_waits_for_them(run_once: Run) -> None:
    async def test(shop: Shop) -> None:
        async with replace(shop, trained_by="others", root=shop.root.with_name("machine-2")).working():
            job_id = await shop.create()
            await shop.until(job_id, "queued")
            assert (await shop.messages(job_id))[2].startswith("No process of this machine can train.")
            async with shop.working():
                await shop.until(job_id, "succeeded")

    run_once(test)


def test_a_model_that_cannot_be_tuned_any_more(run_once: Run) -> None:
    async def test(shop: Shop) -> None:
        refusal = InvalidRequest("It is gone.", param="model", code="model_not_available")
        async with replace(shop, refusal=refusal).working():
            row = await shop.until(await shop.create(), "failed")
        assert row["error"] == {"code": "model_not_available", "message": "It is gone.", "param": "model"}

    run_once(test)


def test_a_full_disk_is_waited_for(run_once: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(shop: Shop) -> None:
        full = asyncio.Event()
        keep = Blobs.keep

        def refuse(blobs: Blobs, *staged: object) -> object:
            if staged and full.is_set():
                raise StorageFull("There is no room left.")
            return keep(blobs, *staged)  # type: ignore[arg-type]

        monkeypatch.setattr(Blobs, "keep", refuse)
        shop.reins.stop_after(3)
        async with shop.working():
            job_id = await shop.create()
            await shop.until(job_id, "running", step=3)
            full.set()
            shop.reins.let_go()
            await shop.told(job_id, fine_tuning.NO_ROOM)
            full.clear()
            await shop.until(job_id, "succeeded")
        assert (await shop.messages(job_id)).count(fine_tuning.NO_ROOM) == 1
        assert await shop.adapter(job_id) == adapter_after(8)

    run_once(test)


def test_while_the_database_is_away_the_trainer_goes_on(run_once: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(shop: Shop) -> None:
        progress, refused = states.progress, 0

        async def away(*arguments: Any, **more: Any) -> bool:
            nonlocal refused
            if refused < 5:
                refused += 1
                raise Unavailable("The database is away.")
            return await progress(*arguments, **more)

        monkeypatch.setattr(states, "progress", away)
        async with shop.working():
            job_id = await shop.create()
            await shop.until(job_id, "succeeded")
        assert refused == 5
        assert [one["data"]["step"] for one in await shop.events(job_id, "metrics")] == [*range(1, 9)]

    run_once(test)


def test_a_model_that_is_not_here_is_waited_for(run_once: Run) -> None:
    async def test(shop: Shop) -> None:
        away = replace(shop, refusal=ModelNotReady("Run `homeport pull tiny`."))
        async with away.working():
            job_id = await shop.create()
            await shop.told(job_id, "Run `homeport pull tiny`.")
            away.refusal = None
            await shop.until(job_id, "succeeded")
        assert (await shop.messages(job_id)).count("Run `homeport pull tiny`.") == 1

    run_once(test)


def test_a_job_goes_on_from_a_fine_tuned_model(run_once: Run) -> None:
    async def test(shop: Shop) -> None:
        async with shop.working():
            begin = await shop.file(["an adapter"])
            job_id = await shop.create(start_model="ft:x", start_digest=begin)
            await shop.until(job_id, "succeeded")
        assert await shop.adapter(job_id) == adapter_after(8, begin=b"an adapter")

    run_once(test)


def test_the_last_checkpoints_stay(run: Run) -> None:
    async def test(shop: Shop) -> None:
        async with shop.working():
            job_id = await shop.create(hyperparameters={"n_epochs": 6, "batch_size": 2})
            await shop.until(job_id, "succeeded")
            await shop.quiet(job_id)
        made = await shop.models(job_id)
        assert [one["step"] for one in made] == [8, 10, 12, None]
        assert await shop.unwanted() == []

    run(test)


@pytest.mark.parametrize(
    ("examples", "n_epochs", "batch_size"), [(10, 10, 1), (33, 3, 1), (100, 3, 4), (1000, 3, 8), (20_000, 1, 8)]
)
def test_auto_is_a_number(examples: int, n_epochs: int, batch_size: int) -> None:
    chosen = hyperparameters.resolved({"n_epochs": "auto", "batch_size": None}, "supervised", examples)
    assert chosen == {"n_epochs": n_epochs, "batch_size": batch_size, "learning_rate_multiplier": 1.0}
    assert hyperparameters.resolved({"beta": 0.3, "n_epochs": 7}, "dpo", examples) == {
        "n_epochs": 7,
        "batch_size": batch_size,
        "learning_rate_multiplier": 1.0,
        "beta": 0.3,
    }


assert len(LINES) == STEPS
