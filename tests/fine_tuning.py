"""Fine-tuning jobs through the official SDK, and what becomes of them said by hand: a server that trains nothing."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import openai
import sqlalchemy as sa
from openai.types.fine_tuning import FineTuningJob
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.control import fine_tuning_states as states
from homeport.store.queue import Queue
from homeport.store.tables import fine_tuning_jobs
from homeport.wire.fine_tuning import FineTuningError
from tests.server import Running
from tests.training.text import tiny

T = TypeVar("T")
EXAMPLE = {"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi there"}]}
LINES = "\n".join(json.dumps(EXAMPLE) for _ in range(10)).encode()
RESOLVED = {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.0}


def settings(folder: Path, **more: Any) -> dict[str, Any]:
    """`house` can be tuned, and is `gpt-4o-mini`, too; `echo` cannot. Nobody works on jobs."""
    house = tiny.write(folder / "house.gguf")
    models = {"house": {"path": str(house), "engine": "llama_cpp", "threads": 1}, "echo": {"engine": "echo"}}
    return {"models": models, "aliases": {"gpt-4o-mini": ["house"]}, "jobs": {"in_server": False}, **more}


def upload(client: openai.OpenAI, content: bytes = LINES, *, purpose: Any = "fine-tune") -> str:
    return client.files.create(file=("train.jsonl", content), purpose=purpose).id


def create(client: openai.OpenAI, **more: Any) -> FineTuningJob:
    asked = {"model": "house", **more}
    if "training_file" not in asked:
        asked["training_file"] = upload(client)
    return client.fine_tuning.jobs.create(**asked)


def drive(server: Running, step: Callable[[AsyncConnection, Queue], Awaitable[T]]) -> T:
    """In the server's loop, in a transaction: what a worker would do."""
    queue = server.app.durable.queue

    async def work() -> T:
        async with queue.database.write() as connection:
            return await step(connection, queue)

    return server.begin(work()).result(timeout=60)


def admit(server: Running, job: str) -> bool:
    return drive(server, lambda connection, queue: states.admit(connection, queue, job, RESOLVED, 100))


def begin(server: Running, job: str) -> None:
    """It runs."""
    admit(server, job)
    assert drive(server, lambda connection, _: states.begin(connection, job)) is not None


def step(server: Running, job: str, number: int) -> bool:
    data = {"step": number, "train_loss": 1 / number, "train_mean_token_accuracy": 0.5}
    told = {"message": f"Step {number}/30: training loss={1 / number:.2f}", "data": data}
    return drive(
        server,
        lambda connection, _: states.progress(
            connection, job, step=number, tokens=10 * number, estimated_finish=2_000_000_000, events=[told]
        ),
    )


def paused(server: Running, job: str) -> bool:
    return drive(server, lambda connection, _: states.paused(connection, job, None)) is not None


def failed(server: Running, job: str) -> None:
    error = FineTuningError("invalid_training_file", "Line 3 has no messages.", "training_file")
    drive(server, lambda connection, queue: states.fail(connection, queue, job, error))


def made(server: Running, job: str, name: str, *, step: int | None = None, content: bytes = b"adapter") -> str:
    """A model. Returns the digest of its bytes, which are kept."""
    blobs = server.app.durable.blobs

    async def work() -> str:
        async with blobs.staged() as staged:
            await staged.write(content)
            async with blobs.keep(staged) as connection:
                query = sa.select(fine_tuning_jobs).where(fine_tuning_jobs.c.id == job)
                row = (await connection.execute(query)).mappings().one()
                metrics = None if step is None else {"step": step, "full_valid_loss": 0.25}
                await states.made(connection, row, name, digest=staged.digest, step=step, metrics=metrics)
                return staged.digest

    return server.begin(work()).result(timeout=60)


def succeed(server: Running, job: str, model: str, *, result_file: str | None = None) -> bool:
    return (
        drive(
            server,
            lambda connection, queue: states.succeed(
                connection, queue, job, model=model, tokens=300, result_file=result_file
            ),
        )
        is not None
    )


def trained(server: Running, client: openai.OpenAI, **more: Any) -> FineTuningJob:
    """A job that has succeeded, whose model can be used."""
    job = create(client, **more)
    begin(server, job.id)
    model = f"ft:{job.model}:homeport::{job.id[-8:]}"
    made(server, job.id, model, content=job.id.encode())
    assert succeed(server, job.id, model)
    return client.fine_tuning.jobs.retrieve(job.id)


def exists(server: Running, digest: str) -> bool:
    """Bytes are on the disk."""
    return server.begin(server.app.durable.blobs.bucket.has(digest)).result(timeout=60)
