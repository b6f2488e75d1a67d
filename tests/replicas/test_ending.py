"""SIGTERM again and again, until the process is gone: what is in flight ends, and so does the process, well."""

import asyncio
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.fake_upstream import until
from tests.replicas.conftest import stores
from tests.replicas.house import Gate, housed
from tests.replicas.http import chat, sent
from tests.replicas.nursery import Process
from tests.replicas.processes import PATIENCE
from tests.replicas.test_worker_command import ECHO, command, environment
from tests.replicas.test_workers import refused
from tests.store.servers import PostgresServer, RedisServer

#: Seconds from one to the next: there is one in every step of the end.
OFTEN = 0.002


def pester(process: "Process | subprocess.Popen[str]") -> int:
    """Its status, once it is gone."""
    end = time.monotonic() + PATIENCE
    while process.poll() is None:
        assert time.monotonic() < end
        process.send_signal(signal.SIGTERM)
        time.sleep(OFTEN)
    return process.wait()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server(postgres: PostgresServer, redis: RedisServer, tmp_path: Path, workers: int) -> None:
    with housed(tmp_path, workers=workers, redis_url=stores(postgres, redis)["redis_url"]) as house:
        project = house.new_project()
        gate = Gate()
        house.fake.by_model["slow"] = gate.behave
        process = house.first.process
        assert process is not None

        async def end() -> tuple[int, list[bytes]]:
            async with sent(house.ports, project.key, chat("slow", stream=True), 4) as streams:
                for stream in streams:
                    await stream.head()
                status = asyncio.create_task(asyncio.to_thread(pester, process))
                assert await asyncio.to_thread(until, lambda: refused(house.first), PATIENCE)
                gate.open()
                bodies = [await stream.rest() for stream in streams]
                return await status, bodies

        status, bodies = asyncio.run(end())
        assert status == 0, house.first.log.read_text()
        assert all(b"[DONE]" in body for body in bodies)


def test_a_worker(postgres: PostgresServer, redis: RedisServer, tmp_path: Path) -> None:
    top = [f'{setting} = "{value}"' for setting, value in stores(postgres, redis).items()]
    (tmp_path / "homeport.toml").write_text("\n".join([*top, f'[files]\nfolder = "{tmp_path / "files"}"', ECHO]))
    with subprocess.Popen(
        command(tmp_path), cwd=tmp_path, env=environment(), text=True, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert "ends it" in process.stdout.readline()
        assert pester(process) == 0
