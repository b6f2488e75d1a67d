"""Bodies that are sent in pieces: as fast as the upstream reads, and no longer than it wants them."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import closing
from typing import Any

import pytest
import uvloop

from homeport.backends.upstreams.client import Client
from homeport.backends.upstreams.connection import Deadlines
from homeport.backends.upstreams.errors import TimedOut
from tests.fake_upstream import whole

PIECE = bytes(64 * 1024)
LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Work = Callable[[Client], Coroutine[Any, Any, None]]


class Many:
    """Pieces. given: how many were asked for; closed: how often reading them has ended."""

    def __init__(self, count: int) -> None:
        self.length = count * len(PIECE)
        self.count = count
        self.given = 0
        self.closed = 0

    async def read(self) -> AsyncGenerator[bytes, None]:
        try:
            for _ in range(self.count):
                self.given += 1
                yield PIECE
                await asyncio.sleep(0)
        finally:
            self.closed += 1


def run(behave: Behaviour, work: Work, *, loop: Any = uvloop.new_event_loop, **seconds: float) -> None:
    async def whole_life() -> None:
        ended: list[BaseException] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await behave(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            except BaseException as error:
                ended.append(error)
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        deadlines = Deadlines(connect=5, idle=5, total=20, **{"first_byte": 10, **seconds})
        client = Client(f"http://127.0.0.1:{port}/v1", deadlines=deadlines)
        try:
            await work(client)
        finally:
            await client.close()
            server.close()
            await asyncio.sleep(0.01)
        assert not ended, ended

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(whole_life())


async def length_of(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    return int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])


@LOOPS
def test_they_come_whole_and_the_connection_is_kept(loop: Any) -> None:
    received: list[int] = []

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            received.append(len(await reader.readexactly(await length_of(reader))))
            writer.write(whole(b"ok"))

    async def work(client: Client) -> None:
        body = Many(40)
        for _ in range(2):
            with closing(await client.request("POST", "/audio", body=body)) as response:
                assert await response.read(10) == b"ok"
        assert received == [body.length] * 2
        assert body.closed == 2

    run(behave, work, loop=loop)


@LOOPS
def test_what_the_upstream_does_not_read_is_not_held(loop: Any) -> None:
    go_on = asyncio.Event()

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = await length_of(reader)
        await go_on.wait()
        await reader.readexactly(length)
        writer.write(whole(b"ok"))

    async def work(client: Client) -> None:
        body = Many(800)  # 50 MiB: more than all buffers of the system
        asking = asyncio.ensure_future(client.request("POST", "/audio", body=body))
        seen = -1
        while seen != body.given:
            seen = body.given
            await asyncio.sleep(0.2)
        assert body.given < body.count
        go_on.set()
        with closing(await asking) as response:
            assert await response.read(10) == b"ok"
        assert body.given == body.count

    run(behave, work, loop=loop)


@LOOPS
def test_a_refusal_before_the_end_is_the_answer_and_nothing_more_is_sent(loop: Any) -> None:
    gone = asyncio.Event()

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await length_of(reader)
        writer.write(whole(b"too large", 413))
        await writer.drain()
        while await reader.read(2**16):
            pass
        gone.set()

    async def work(client: Client) -> None:
        body = Many(8000)
        with closing(await client.request("POST", "/audio", body=body)) as response:
            assert (response.status, await response.read(100)) == (413, b"too large")
        assert body.given < body.count
        assert body.closed == 1
        await asyncio.wait_for(gone.wait(), 5)  # what it waits for will not come: the connection is not kept

    run(behave, work, loop=loop)


def test_who_does_not_read_is_given_up() -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await length_of(reader)
        await asyncio.sleep(5)

    async def work(client: Client) -> None:
        body = Many(8000)
        with pytest.raises(TimedOut):
            await client.request("POST", "/audio", body=body)
        assert body.closed == 1

    run(behave, work, first_byte=0.3)


def test_a_stale_connection_gets_them_again_from_the_beginning() -> None:
    requests: list[int] = []

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            length = await length_of(reader)
            requests.append(length)
            if len(requests) == 2:
                return  # in the middle
            requests[-1] = len(await reader.readexactly(length))
            writer.write(whole(b"ok"))

    async def work(client: Client) -> None:
        body = Many(20)
        for _ in range(2):
            with closing(await client.request("POST", "/audio", body=body)) as response:
                assert await response.read(10) == b"ok"
        assert requests == [body.length] * 3

    run(behave, work)


def test_who_leaves_while_it_is_sent_cuts_it() -> None:
    gone = asyncio.Event()

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await length_of(reader)
        await asyncio.sleep(0.1)
        while await reader.read(2**16):
            pass
        gone.set()

    async def work(client: Client) -> None:
        body = Many(100_000)
        asking = asyncio.ensure_future(client.request("POST", "/audio", body=body))
        await asyncio.sleep(0.3)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert body.closed == 1
        await asyncio.wait_for(gone.wait(), 5)

    run(behave, work)
