"""`homeport worker`: beside servers, with the work that they leave to it."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from homeport.store.database import Database
from homeport.store.tables import idempotency_keys, jobs
from tests.fake_upstream import until
from tests.replicas.conftest import stores
from tests.replicas.house import read
from tests.replicas.processes import KEY, PATIENCE, ROOT, Replica
from tests.store.servers import PostgresServer, RedisServer

ECHO = '[models.echo]\nengine = "echo"'
Ran = subprocess.CompletedProcess[str]


def environment(**variables: str) -> Mapping[str, str]:
    return {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin", **variables}


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "homeport", "worker", "--data", str(folder / "data"), *arguments]


def refused(folder: Path, *arguments: str, **variables: str) -> str:
    ran: Ran = subprocess.run(
        command(folder, *arguments),
        cwd=folder,
        env=environment(**variables),
        text=True,
        capture_output=True,
        timeout=PATIENCE,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    return ran.stderr


def test_what_it_cannot_do_without(tmp_path: Path) -> None:
    variables = {"HOMEPORT_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    assert "needs database_url" in refused(tmp_path)
    assert "needs redis_url" in refused(tmp_path, **variables)
    variables["HOMEPORT_REDIS_URL"] = "redis://127.0.0.1:1/0"
    assert "needs files.store or files.folder" in refused(tmp_path, **variables)
    variables["HOMEPORT_FILES_FOLDER"] = str(tmp_path)
    told = refused(tmp_path, "--lanes", "housekeeping,bach", **variables)
    assert "there is no lane 'bach'. There are: " in told


def test_a_database_that_is_away_is_said_in_a_line(tmp_path: Path) -> None:
    variables = {
        "HOMEPORT_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "HOMEPORT_REDIS_URL": "redis://127.0.0.1:1/0",
        "HOMEPORT_FILES_FOLDER": str(tmp_path),
    }
    ran = subprocess.run(
        command(tmp_path), cwd=tmp_path, env=environment(**variables), text=True, capture_output=True, timeout=PATIENCE
    )
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1] == "homeport: The database cannot be reached. Try again in a moment."


@contextmanager
def worker(folder: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Until the block ends; it must end well."""
    process = subprocess.Popen(
        command(folder, *arguments), cwd=folder, env=environment(), text=True, stdout=subprocess.PIPE
    )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def write(url: str, *statements: Any) -> None:
    async def write() -> None:
        database = Database(url)
        async with database.write() as connection:
            for statement in statements:
                await connection.execute(statement)
        await database.close()

    asyncio.run(write())


def test_it_does_what_a_server_leaves_to_it(postgres: PostgresServer, redis: RedisServer, tmp_path: Path) -> None:
    """The worker is there first: it makes the tables, and no key."""
    given = stores(postgres, redis)
    url = given["database_url"]
    tables = f'[files]\nfolder = "{tmp_path / "files"}"\n[jobs]\nin_server = false\npoll_seconds = 0.1\n{ECHO}'
    for name in ("worker", "server"):
        (tmp_path / name).mkdir()
        top = [f'{setting} = "{value}"' for setting, value in given.items()]
        (tmp_path / name / "homeport.toml").write_text("\n".join([*top, tables]))
    old = {"scope": b"s", "digest": b"d", "until": 0}

    def kept() -> int:
        return len(read(url, sa.select(idempotency_keys.c.scope)))

    with worker(tmp_path / "worker", "--lanes", "housekeeping") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "Homeport works on housekeeping. Ctrl-C or SIGTERM ends it.\n"
        assert read(url, sa.text("SELECT 1 FROM keys")) == []
        server = Replica(tmp_path / "server")
        server.start()
        try:
            assert server.knows(KEY)
            write(url, sa.insert(idempotency_keys).values(old), sa.update(jobs).values(run_at=0))
            assert until(lambda: not kept(), PATIENCE)
        finally:
            server.stop()
    (owner,) = {row["owner"] for row in read(url, sa.select(jobs.c.owner))}
    assert owner is None, "what ended is nobody's"
