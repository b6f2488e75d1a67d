"""Clients that hang up in the middle of their streams, all at once; for the tests and for bench/hanging_up.py."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.fake_upstream import STREAM_HEAD, chunked, event
from tests.replicas.http import Client, chat, sent

PIECE = chunked(event({"choices": [{"index": 0, "delta": {"content": "on "}, "finish_reason": None}]}))
SETTINGS = """
[upstreams.far]
base_url = "http://127.0.0.1:{port}/v1"
models = ["endless"]
connections = 4096
[models.echo]
engine = "echo"
[tiers.home.default]
max_requests_per_1_minute = 1_000_000
max_tokens_per_1_minute = 1_000_000_000
"""
#: Seconds until a wave is given up.
_PATIENCE = 90.0


class Endless:
    """An upstream whose streams go on until somebody closes them. working: how many do."""

    def __init__(self) -> None:
        self.working = 0
        self.port = 0

    @asynccontextmanager
    async def serving(self, backlog: int) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=backlog)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
        self.working += 1
        writer.write(STREAM_HEAD + PIECE)
        with suppress(OSError):
            while not reader.at_eof():
                writer.write(PIECE)
                with suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1), 0.2)
        self.working -= 1
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def wave(port: int, key: str, upstream: Endless, clients: int) -> float:
    """So many streams begin and are hung up on. Seconds from there until the upstream works for none of them."""
    async with sent([port], key, chat("endless", stream=True), clients) as waiting:
        await asyncio.gather(*(_first_piece(client) for client in waiting))
        assert upstream.working == clients
        for client in waiting:
            client.writer.transport.abort()
        began = time.monotonic()
        while upstream.working:
            await asyncio.sleep(0.005)
            assert time.monotonic() - began < _PATIENCE
        return time.monotonic() - began


async def _first_piece(client: Client) -> None:
    await client.head()
    assert client.status == 200
    await client.reader.readuntil(b"on ")
