"""Replicas of one Homeport before one fake upstream, and their ledger as its database has it."""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from homeport.store.database import Database
from homeport.store.usage_tables import usage
from tests.fake_upstream import STREAM_HEAD, FakeUpstream, Visit, chunked, events, fake_upstream, until
from tests.replicas.processes import Replica

UPSTREAM_KEY = "sk-of-the-upstream-fedcba9876543210"
PATIENCE = 90.0
PICO_PER_CENT = 10**10
#: Dollars for a million tokens of every model whose name begins with `priced`.
INPUT, OUTPUT = 100, 12_000
PRICED = ("priced", "priced-slow", "priced-left")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Project:
    """With its first key."""

    id: str
    key_id: str
    key: str


@dataclass(frozen=True)
class House:
    """database_url: None where it is SQLite, which one replica alone can have."""

    replicas: list[Replica]
    fake: FakeUpstream
    database_url: str | None

    @property
    def first(self) -> Replica:
        """Through it changes are made."""
        return self.replicas[0]

    @property
    def ports(self) -> list[int]:
        return [one.port for one in self.replicas]

    def new_project(self) -> Project:
        project = self.first.admin.projects.create(name="Blue").id
        made = self.new_key(project)
        self.wait_until_known(made["value"])
        return Project(project, made["id"], made["value"])

    def new_key(self, project_id: str) -> dict[str, Any]:
        return self.first.make(f"/v1/homeport/projects/{project_id}/api_keys", {"name": "app"})

    def rate_limit(self, project: Project, model: str, **limits: int) -> None:
        self.first.admin.projects.rate_limits.update_rate_limit(f"rl-{model}", project_id=project.id, extra_body=limits)
        self.wait_until_seen(project)

    def spend_limit(self, project: Project, *, cents: int, of_key: bool = False, interval: str = "month") -> None:
        path = f"/v1/homeport/projects/{project.id}"
        path += f"/api_keys/{project.key_id}/spend_limit" if of_key else "/spend_limit"
        self.first.make(path, {"threshold_amount": cents, "currency": "USD", "interval": interval})
        self.wait_until_seen(project)

    def wait_until_seen(self, project: Project) -> None:
        """What was changed: a key that is made after it becomes known after it."""
        self.wait_until_known(self.new_key(project.id)["value"])

    def wait_until_known(self, key: str) -> None:
        for one in self.replicas:
            assert until(lambda one=one: one.knows(key), PATIENCE)  # type: ignore[misc]

    @property
    def usage_url(self) -> str:
        return self.database_url or f"sqlite:///{self.first.data / 'usage.db'}"

    def rows(self, project: Project, count: int = 0) -> list[Row]:
        """Of the ledger, as soon as there are so many; in the order in which they were written."""
        query = sa.select(usage).where(usage.c.project_id == project.id).order_by(usage.c.seq)
        found: list[Row] = []

        def are_there() -> bool:
            found[:] = read(self.usage_url, query)
            return len(found) >= count

        assert until(are_there, PATIENCE), f"{len(found)} rows, not {count}"
        return found


class Gate:
    """Streams of the upstream begin, and go on once it is open."""

    def __init__(self) -> None:
        self._opened = threading.Event()

    def open(self) -> None:
        self._opened.set()

    def shut(self) -> None:
        self._opened.clear()

    def behave(self, visit: Visit) -> None:
        first, *rest = events(visit)
        visit.send(STREAM_HEAD + chunked(first))
        self._opened.wait(PATIENCE)
        visit.send(b"".join(map(chunked, rest)) + b"0\r\n\r\n")


def spent(rows: list[Row]) -> int:
    """Picodollars."""
    return sum(row["cost_pico"] or 0 for row in rows)


def read(url: str, query: Any) -> list[Row]:
    async def read() -> list[Row]:
        database = Database(url)
        try:
            async with database.read() as connection:
                return [*(await connection.execute(query)).mappings()]
        finally:
            await database.close()

    return asyncio.run(read())


@contextmanager
def housed(
    folder: Path,
    *,
    replicas: int = 1,
    workers: int = 1,
    database_url: str | None = None,
    redis_url: str | None = None,
    settings: str = "",
    program: str = "homeport",
    **environment: str,
) -> Iterator[House]:
    """Until the block ends. Each replica has a data folder of its own. settings: tables of homeport.toml; program: the
    module that is run."""
    with fake_upstream() as fake:
        top = {"database_url": database_url, "redis_url": redis_url}
        lines = [f'{name} = "{value}"' for name, value in top.items() if value is not None]
        lines += ["[models.echo]", 'engine = "echo"', "[upstreams.far]"]
        lines += [f'base_url = "{fake.base_url}"', f'api_key = "{UPSTREAM_KEY}"', settings]
        lines.insert(-1, "retries = 0\nfailures = 0\nrest_seconds = 0.001")
        for model in PRICED:
            lines += [f"[prices.{model}]", f"input = {INPUT}", f"output = {OUTPUT}"]
        if workers > 1:
            lines += ["[server]", f"workers = {workers}"]
        made = [Replica(folder / f"replica-{number}", environment, program, workers) for number in range(replicas)]
        try:
            for one in made:
                one.folder.mkdir()
                (one.folder / "homeport.toml").write_text("\n".join(lines))
                one.launch()
            for one in made:
                one.wait()
            yield House(made, fake, database_url)
            for one in made:
                one.stop()
        finally:
            for one in made:
                one.kill()
