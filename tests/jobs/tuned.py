"""Fine-tuning jobs in the hands of a worker, without weights: the child that makes examples and the one that trains on
them are those of this folder."""

import asyncio
import hashlib
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from homeport import ids
from homeport.control import fine_tuning_states as states
from homeport.errors import HomeportError
from homeport.gateway.budgets import spent_on
from homeport.gateway.keyring import Budget, Principal
from homeport.gateway.limits import Limits
from homeport.gateway.pricing import Prices
from homeport.gateway.tiers import Tiers
from homeport.gateway.training_bills import TrainingBills
from homeport.jobs.batch_lines import Callers
from homeport.jobs.fine_tuning import Book, Booking, TrainedBy, Validate, Workshop
from homeport.jobs.fine_tuning_folder import Folders
from homeport.jobs.fine_tuning_run import Train
from homeport.jobs.worker import Handler, Worker
from homeport.settings import FineTuning
from homeport.store.blobs import Blobs, unwanted
from homeport.store.database import Database
from homeport.store.folder import Folder
from homeport.store.queue import Queue
from homeport.store.shared import MemoryShared
from homeport.store.tables import blobs as blobs_table
from homeport.store.tables import files, fine_tuned_models, fine_tuning_events, fine_tuning_jobs, jobs, projects
from homeport.store.usage_row import UsageRow
from homeport.store.usage_rows import UsageRows
from tests.store.filed import whole
from tests.training.text import tiny

PATIENCE = 90.0
PREPARER, TRAINER = (
    (sys.executable, "-I", "-S", str(Path(__file__).with_name(name)))
    for name in ("fake_preparer.py", "fake_trainer.py")
)
MODEL, BASE = "gpt-4o-mini", "tiny"
#: Four examples of ten tokens each: with two epochs and one example a step eight steps, and 80 tokens.
LINES = tuple(f"example {number:2d}" for number in range(4))
TOKENS, STEPS = 40, 4


def adapter_after(steps: int, *, seed: int = 7, begin: bytes = b"new") -> bytes:
    """Of a training that nobody has disturbed."""
    chain = hashlib.sha256(begin + b"%d" % seed).hexdigest()
    for step in range(1, steps + 1):
        chain = hashlib.sha256(f"{chain}{step}".encode()).hexdigest()
    return chain.encode()


async def until(true: Callable[[], Awaitable[bool]] | Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            found = true()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.02)


class Reins:
    """By which a test leads its trainers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def stop_after(self, step: int) -> None:
        (self.folder / "until.new").write_text(str(step))
        (self.folder / "until.new").replace(self.folder / "until")

    def let_go(self) -> None:
        (self.folder / "until").unlink(missing_ok=True)

    def crash_at(self, step: int) -> None:
        (self.folder / f"crash-{step}").touch()

    def fail_at(self, step: int, words: str) -> None:
        (self.folder / f"fail-{step}").write_text(words)

    def deafen(self) -> None:
        (self.folder / "deaf").touch()


@dataclass
class Shop:
    """One machine of several on the same database and blobs. principals: key id -> on whose account."""

    queue: Queue
    blobs: Blobs
    rows: UsageRows
    reins: Reins
    root: Path
    base: Path
    limits: Limits
    principals: dict[str, Principal] = field(default_factory=dict)
    trained_by: TrainedBy = "here"
    project: str = ""
    refusal: HomeportError | None = None

    @property
    def database(self) -> Database:
        return self.queue.database

    @property
    def key_id(self) -> str:
        return f"key_of_{self.project}"

    def workshop(self) -> Workshop:
        prices = Prices.load({BASE: {"training": "10"}})
        bills = TrainingBills(prices, self.limits, self.rows)
        return Workshop(
            self.queue,
            self.blobs,
            Folders(self.root, self.blobs),
            Booking(Callers(self.database, lambda key: self.principals.get(key)), bills),
            base=self._base,
            settings=FineTuning(),
            organization="org-home",
            preparer=PREPARER,
            trainer=(*TRAINER, str(self.reins.folder)),
        )

    def _base(self, name: str) -> Path:
        if self.refusal is not None:
            raise self.refusal
        assert name == BASE
        return self.base

    @asynccontextmanager
    async def working(self, *, drain: bool = True) -> AsyncGenerator[Worker, None]:
        """Until the block ends. drain: what is in hand ends, or is handed back; else it is cut off."""
        shop = self.workshop()
        handlers: list[Handler] = [
            Validate(shop, trained_by=self.trained_by),
            Train(shop, trained_by=self.trained_by),
            Book(shop),
        ]
        worker = Worker(self.queue, handlers, name=str(self.root), poll_seconds=0.05)
        try:
            async with asyncio.TaskGroup() as group:
                running = group.create_task(worker.run())
                yield worker
                worker.drain()
                if drain:
                    await asyncio.wait_for(worker.drained(), PATIENCE)
                    await running
                else:
                    running.cancel()
        finally:
            shop.folders.close()

    async def file(self, lines: Sequence[str]) -> str:
        """Its digest. A row refers to it until somebody lets it go."""
        async with self.blobs.staged() as staged:
            await staged.write("\n".join(lines).encode())
            async with self.blobs.keep(staged) as connection:
                await connection.execute(
                    files.insert().values(
                        id=ids.file(),
                        project_id=self.project,
                        digest=staged.digest,
                        filename="t.jsonl",
                        purpose="fine-tune",
                        bytes=staged.bytes,
                        created_at=0,
                        status="processed",
                    )
                )
            return staged.digest

    async def create(self, lines: Sequence[str] = LINES, validation: Sequence[str] = (), **values: Any) -> str:
        """A job of two epochs, with an example a step."""
        row = {
            "project_id": self.project,
            "key_id": self.key_id,
            "model": MODEL,
            "base": BASE,
            "method": "supervised",
            "hyperparameters": {"n_epochs": 2, "batch_size": 1},
            "seed": 7,
            "training_file": "file-1",
            "training_digest": await self.file(lines),
            "validation_file": "file-2" if validation else None,
            "validation_digest": await self.file(validation) if validation else None,
            **values,
        }
        async with self.database.write() as connection:
            job_id = await states.create(connection, self.queue, row)
        self.queue.told()
        return job_id

    async def do(self, change: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        """A change of states in a transaction of its own."""
        async with self.database.write() as connection:
            done = await change(connection, *arguments)
        self.queue.told()
        return done

    async def pause(self, job_id: str) -> bool:
        done: bool = await self.do(states.pause, self.queue, job_id)
        return done

    async def resume(self, job_id: str) -> bool:
        done: bool = await self.do(states.resume, self.queue, job_id)
        return done

    async def cancel(self, job_id: str) -> Any:
        return await self.do(states.cancel, self.queue, job_id)

    async def row(self, job_id: str) -> sa.RowMapping:
        query = sa.select(fine_tuning_jobs).where(fine_tuning_jobs.c.id == job_id)
        (found,) = await self.read(query)
        return found

    async def read(self, query: Any) -> Sequence[sa.RowMapping]:
        async with self.database.read() as connection:
            return (await connection.execute(query)).mappings().all()

    async def until(self, job_id: str, status: str, *, step: int = 0) -> sa.RowMapping:
        """Its row says so."""
        row = await self.row(job_id)

        async def says_so() -> bool:
            nonlocal row
            row = await self.row(job_id)
            if row["status"] != status:
                assert row["status"] not in states.OVER, (row["status"], row["error"], await self.messages(job_id))
            return bool(row["status"] == status and row["step"] >= step)

        await until(says_so)
        return row

    async def kept(self, job_id: str) -> bool:
        """A state of it."""
        return (await self.row(job_id))["state_digest"] is not None

    async def told(self, job_id: str, message: str) -> None:
        async def is_told() -> bool:
            return message in await self.messages(job_id)

        await until(is_told)

    async def quiet(self, job_id: str) -> None:
        """The queue has nothing more of it."""

        async def is_quiet() -> bool:
            return not await self.read(sa.select(jobs).where(jobs.c.subject == job_id))

        await until(is_quiet)

    async def events(self, job_id: str, kind: str = "message") -> Sequence[sa.RowMapping]:
        table = fine_tuning_events.c
        return await self.read(
            sa.select(fine_tuning_events).where(table.job_id == job_id, table.type == kind).order_by(table.seq)
        )

    async def messages(self, job_id: str) -> list[str]:
        return [one["message"] for one in await self.events(job_id)]

    async def models(self, job_id: str) -> Sequence[sa.RowMapping]:
        table = fine_tuned_models.c
        return await self.read(sa.select(fine_tuned_models).where(table.job_id == job_id).order_by(table.seq))

    async def bytes_of(self, model: sa.RowMapping) -> bytes:
        return await whole(self.blobs, model["digest"])

    async def adapter(self, job_id: str) -> bytes:
        """Of the finished model."""
        (model,) = [one for one in await self.models(job_id) if one["step"] is None]
        return await self.bytes_of(model)

    async def results(self, file_id: str) -> str:
        (row,) = await self.read(sa.select(files).where(files.c.id == file_id))
        assert (row["filename"], row["purpose"]) == ("step_metrics.csv", "fine-tune-results")
        return (await whole(self.blobs, row["digest"])).decode()

    async def digests(self) -> set[str]:
        return {one["digest"] for one in await self.read(sa.select(blobs_table.c.digest))}

    async def unwanted(self) -> list[str]:
        """Blobs that nobody refers to."""
        return [one["digest"] for one in await self.read(sa.select(blobs_table.c.digest).where(unwanted()))]

    async def bill(self, job_id: str) -> UsageRow | None:
        return await self.rows.find(job_id)


@asynccontextmanager
async def opened(queue: Queue, folder: Path, *, budget_cents: int | None = None) -> AsyncGenerator[Shop, None]:
    """The first machine. budget_cents: of the project's whole life."""
    usage = Database(f"sqlite:///{folder / 'usage.db'}")
    rows = UsageRows(usage)
    await rows.create()
    blobs = Blobs(queue.database, Folder(folder / "blobs"), folder / "staging")
    await blobs.start()

    async def spent(counter: str) -> int:
        return await spent_on(rows, counter)

    async def written() -> None:
        pass

    shop = Shop(
        queue,
        blobs,
        rows,
        Reins(folder / "reins"),
        folder / "machine-1",
        tiny.write(folder / "tiny.gguf"),
        Limits(MemoryShared(), Tiers({}), spent=spent, written=written),
        project=ids.project(),
    )
    budgets = () if budget_cents is None else (Budget("project", shop.project, "total", budget_cents * 10_000_000),)
    shop.principals[shop.key_id] = Principal(shop.key_id, shop.project, "org-home", user="user_1", budgets=budgets)
    async with queue.database.write() as connection:
        await connection.execute(projects.insert().values(id=shop.project, name="one", created_at=0))
    try:
        yield shop
    finally:
        await blobs.close()
        await rows.close()
        await usage.close()
