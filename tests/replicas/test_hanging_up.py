"""A thousand clients hang up in the middle of their streams: upstream nothing goes on, and memory is as it was."""

import asyncio
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.replicas.hanging_up import SETTINGS, Endless, wave
from tests.replicas.http import chat
from tests.replicas.processes import KEY, Replica

CLIENTS = 1000
#: After the first ones everything is loaded, the tokenizer too: what was produced has to be counted.
WAVES = 5


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    made = Replica(tmp_path)
    yield made
    made.stop()


def resident(replica: Replica) -> int:
    """Bytes."""
    assert replica.process is not None
    return int(Path(f"/proc/{replica.process.pid}/statm").read_text().split()[1]) * resource.getpagesize()


def test_a_thousand_clients_hang_up(replica: Replica) -> None:
    upstream = Endless()
    memory: list[int] = []

    async def waves() -> None:
        async with upstream.serving(CLIENTS):
            (replica.folder / "homeport.toml").write_text(SETTINGS.format(port=upstream.port))
            await asyncio.to_thread(replica.start)
            for _ in range(WAVES):
                await wave(replica.port, KEY, upstream, CLIENTS)
                memory.append(resident(replica))
                echoed = await asyncio.to_thread(replica.ask, "POST", "/v1/chat/completions", chat("echo"))
                assert echoed.status == 200

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the replica inherits it
    try:
        asyncio.run(waves())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert memory[-1] - memory[-3] < 4 * 2**20, f"what a wave took was not given back, or not used again: {memory}"
