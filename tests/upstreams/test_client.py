"""The client alone: connections kept and not kept, deadlines, caps, and what may stand in an address or a header."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import uvloop

from homeport.backends.upstreams.client import Client, Response
from homeport.backends.upstreams.connection import HIGH_WATER, Deadlines
from homeport.backends.upstreams.errors import AllBusy, Broken, ConnectFailed, Cut, TimedOut, TooLarge
from tests.fake_upstream import FakeUpstream, Visit, chunked, dead_port, fake_upstream, head, until, whole
from tests.upstreams import faults

QUICK = Deadlines(connect=0.3, first_byte=0.3, idle=0.3, total=2)
#: Where no deadline is meant: a machine that is busy may stand still for a moment.
PATIENT = Deadlines(connect=30, first_byte=30, idle=30, total=60)
Work = Callable[[Client, FakeUpstream], Coroutine[Any, Any, None]]
LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


def run(work: Work, *, loop: Any = uvloop.new_event_loop, **arguments: Any) -> None:
    with fake_upstream() as fake, asyncio.Runner(loop_factory=loop) as runner:
        client = Client(fake.base_url, **{"deadlines": QUICK, "line_seconds": 0.3, **arguments})

        async def whole_life() -> None:
            try:
                await work(client, fake)
            finally:
                await client.close()
                await asyncio.sleep(0.01)

        runner.run(whole_life())
        assert until(lambda: fake.open == 0), "a connection leaks"


async def get(client: Client, most: int = 2**20) -> bytes:
    with closing(await client.request("GET", "/models")) as response:
        return await response.read(most)


@LOOPS
def test_one_connection_for_requests_in_turn(loop: Any) -> None:
    async def work(client: Client, fake: FakeUpstream) -> None:
        for _ in range(5):
            assert b"fake-a" in await get(client)
        assert fake.connections == 1
        assert {visit.path for visit in fake.received} == {"/v1/models"}

    run(work, loop=loop)


@LOOPS
@pytest.mark.parametrize("dying", [faults.hang_up, faults.reset_after(lambda _: b"")])
def test_a_stale_connection_is_noticed_and_the_request_sent_once_more(loop: Any, dying: Any) -> None:
    async def work(client: Client, fake: FakeUpstream) -> None:
        await get(client)
        fake.script.append(dying)
        assert b"fake-a" in await get(client)
        assert (len(fake.received), fake.connections) == (3, 2)

    run(work, loop=loop)


def test_it_is_sent_twice_at_most() -> None:
    async def work(client: Client, fake: FakeUpstream) -> None:
        held = await asyncio.gather(*(client.request("GET", "/models") for _ in range(3)))
        for response in held:
            await response.read(2**20)
        fake.script.extend([faults.hang_up] * 3)
        with pytest.raises(Cut):
            await get(client)
        assert len(fake.received) == 5

    run(work)


def test_when_one_is_stale_the_others_are_not_tried() -> None:
    async def work(client: Client, fake: FakeUpstream) -> None:
        for response in await asyncio.gather(*(client.request("GET", "/models") for _ in range(3))):
            await response.read(2**20)
        fake.script.append(faults.hang_up)
        assert b"fake-a" in await get(client)
        assert fake.received[-1].connection == 4

    run(work)


def test_an_upstream_that_says_close_is_taken_at_its_word() -> None:
    async def work(client: Client, fake: FakeUpstream) -> None:
        fake.script.append(lambda visit: visit.send(whole(b"ok", connection="close")))
        assert await get(client) == b"ok"
        await get(client)
        assert [visit.connection for visit in fake.received] == [1, 2]

    run(work)


def test_a_body_without_a_length_is_not_whole_because_we_close() -> None:
    async def work(client: Client, fake: FakeUpstream) -> None:
        fake.script.append(faults.quiet_after(lambda _: head() + b"abc"))
        reading = asyncio.ensure_future(get(client))
        assert await asyncio.to_thread(until, lambda: bool(fake.received) and fake.received[0].sent > 0)
        await asyncio.sleep(0.05)
        await client.close()
        with pytest.raises(Cut):
            await reading

    run(work)


def test_on_a_new_connection_nothing_is_sent_again() -> None:
    async def work(client: Client, fake: FakeUpstream) -> None:
        fake.script.append(faults.hang_up)
        with pytest.raises(Cut):
            await get(client)
        assert len(fake.received) == 1

    run(work)


def test_a_kept_connection_that_was_closed_is_not_used() -> None:
    def answer_then_close(visit: Visit) -> None:
        visit.send(whole(b"ok"))
        visit.close()

    async def work(client: Client, fake: FakeUpstream) -> None:
        fake.script.append(answer_then_close)
        assert await get(client) == b"ok"
        await asyncio.sleep(0.05)
        await get(client)
        assert (len(fake.received), fake.connections) == (2, 2)

    run(work)


def test_what_nobody_asked_for_is_never_an_answer() -> None:
    async def work(client: Client, fake: FakeUpstream) -> None:
        fake.script.append(lambda visit: visit.send(whole(b"mine") + whole(b"poison", x_more="1")))
        with closing(await client.request("GET", "/models")) as response:
            assert await response.read(2**20) == b"mine"
            assert response.header(b"x-more") == b""
        assert b"fake-a" in await get(client)
        assert fake.connections == 2

    run(work)


def test_what_comes_while_a_connection_rests_ends_it() -> None:
    def more_later(visit: Visit) -> None:
        visit.send(whole(b"mine"))
        visit.wait_until_left() if visit.left.wait(0.05) else visit.send(whole(b"poison"))

    async def work(client: Client, fake: FakeUpstream) -> None:
        fake.script.append(more_later)
        assert await get(client) == b"mine"
        await asyncio.sleep(0.15)
        assert b"fake-a" in await get(client)

    run(work)


@LOOPS
@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (faults.silence, TimedOut),
        (faults.quiet_after(lambda _: b"HTTP/1.1 200 OK\r\nContent-Len"), TimedOut),
        (faults.quiet_after(lambda _: head(content_length="9") + b"abc"), TimedOut),
        (faults.cut_after(lambda _: head(content_length="9") + b"abc"), Cut),
        (faults.reset_after(lambda _: head(content_length="9") + b"abc"), Cut),
        (faults.endless(head(transfer_encoding="chunked"), chunked(b"x" * 9999)), TooLarge),
        (faults.endless(head(), b"x" * 9999), TooLarge),
        (faults.endless(head(transfer_encoding="chunked") + b"0\r\nX-Tail: ", b"x" * 999), TooLarge),
        (faults.raw(b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n"), Broken),
        (faults.raw(b"hello\r\n"), Broken),
        (faults.raw(head(content_length="-1")), Broken),
    ],
)
def test_every_fault_is_told_and_frees_the_connection(loop: Any, behaviour: Any, error: type[Exception]) -> None:
    async def work(client: Client, fake: FakeUpstream) -> None:
        for _ in range(3):
            fake.script.append(behaviour)
            with pytest.raises(error):
                await get(client)
        assert b"fake-a" in await get(client)

    run(work, loop=loop, connections=1, deadlines=QUICK if error is TimedOut else PATIENT)


def test_the_idle_deadline_holds_though_the_first_byte_has_long() -> None:
    async def work(client: Client, fake: FakeUpstream) -> None:
        fake.script.append(faults.quiet_after(lambda _: head(content_length="9") + b"abc"))
        async with asyncio.timeout(5):
            with pytest.raises(TimedOut, match="the rest of the answer"):
                await get(client)

    run(work, deadlines=Deadlines(connect=1, first_byte=60, idle=0.2, total=60))


def test_the_idle_deadline_holds_after_a_late_first_byte() -> None:
    def late(visit: Visit) -> None:
        visit.left.wait(0.5)
        visit.send(head(content_length="9"))
        visit.wait_until_left()

    async def work(client: Client, fake: FakeUpstream) -> None:
        fake.script.append(late)
        async with asyncio.timeout(5):
            with pytest.raises(TimedOut, match="the rest of the answer"):
                await get(client)

    run(work, deadlines=Deadlines(connect=1, first_byte=60, idle=0.2, total=60))


def test_a_large_body_is_read_whole() -> None:
    async def work(client: Client, fake: FakeUpstream) -> None:
        large = b"x" * (8 * HIGH_WATER)
        fake.script.append(lambda visit: visit.send(whole(large)))
        with closing(await client.request("GET", "/models")) as response:
            await asyncio.sleep(0.1)  # more than HIGH_WATER has come before anybody reads
            assert await response.read(2**24) == large
        await get(client)
        assert fake.connections == 1

    run(work)


def test_nobody_reads_so_the_upstream_waits() -> None:
    async def work(client: Client, fake: FakeUpstream) -> None:
        fake.script.append(faults.endless(head(), b"x" * 65536))
        response = await client.request("GET", "/models")
        await asyncio.sleep(0.5)
        sent = fake.received[0].sent
        assert sent < 64 * 2**20
        assert len(await response.chunk()) >= HIGH_WATER
        response.close()
        assert await asyncio.to_thread(fake.received[0].left.wait, 2)

    run(work)


@LOOPS
def test_what_is_poured_stops_for_as_long_as_the_sink_wants(loop: Any) -> None:
    async def work(client: Client, fake: FakeUpstream) -> None:
        large = b"".join(b"%08d" % number for number in range(2**16))
        fake.script.append(lambda visit: visit.send(whole(large)))
        with closing(await client.request("GET", "/models")) as response:
            poured, pauses = bytearray(), 0

            def sink(chunk: bytes) -> bool:
                poured.extend(chunk)
                return len(poured) // 2**17 == (len(poured) - len(chunk)) // 2**17  # a pause in every 128 kB

            while await response.pour(sink):
                pauses, had = pauses + 1, len(poured)
                await asyncio.sleep(0.02)
                assert len(poured) == had
        assert poured == large
        assert 1 < pauses <= 4
        await get(client)
        assert fake.connections == 1

    run(work, loop=loop)


def test_what_a_sink_raises_is_told_and_ends_the_work() -> None:
    async def work(client: Client, fake: FakeUpstream) -> None:
        fake.script.append(faults.endless(head(), b"x" * 1024))

        def sink(chunk: bytes) -> bool:
            raise ZeroDivisionError

        with closing(await client.request("GET", "/models")) as response, pytest.raises(ZeroDivisionError):
            await response.pour(sink)
        assert await asyncio.to_thread(fake.received[0].left.wait, 2)

    run(work)


def test_what_is_poured_is_cut_with_the_connection() -> None:
    async def work(client: Client, fake: FakeUpstream) -> None:
        fake.script.append(faults.cut_after(lambda _: head(content_length="10") + b"abc"))
        poured = bytearray()

        def sink(chunk: bytes) -> bool:
            poured.extend(chunk)
            return True

        with closing(await client.request("GET", "/models")) as response, pytest.raises(Cut):
            await response.pour(sink)
        assert poured == b"abc"

    run(work)


def test_a_cancelled_request_cuts_the_connection() -> None:
    async def work(client: Client, fake: FakeUpstream) -> None:
        fake.script.append(faults.silence)
        task = asyncio.ensure_future(get(client))
        assert await asyncio.to_thread(until, lambda: bool(fake.received))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(fake.received[0].left.wait, 2)

    run(work)


def test_those_in_line_are_served_in_order_and_may_leave_it() -> None:
    served: list[int] = []

    async def one(client: Client, number: int) -> None:
        await get(client)
        served.append(number)

    async def work(client: Client, fake: FakeUpstream) -> None:
        holding = await client.request("GET", "/models")
        tasks = [asyncio.ensure_future(one(client, number)) for number in range(6)]
        await asyncio.sleep(0.02)
        tasks[2].cancel()
        await holding.read(2**20)
        tasks[0].cancel()  # in the moment in which it is handed the connection
        await asyncio.gather(*tasks, return_exceptions=True)
        assert served == [1, 3, 4, 5]
        assert fake.connections == 1

    run(work, connections=1)


@pytest.mark.parametrize(("connections", "alone", "beside"), [(16, 14, 4), (8, 7, 2), (2, 1, 1)])
def test_lines_of_batches_leave_connections_to_others(connections: int, alone: int, beside: int) -> None:
    async def work(client: Client, fake: FakeUpstream) -> None:
        lines = [asyncio.ensure_future(line(client)) for _ in range(3 * connections)]
        held = await _begun(lines, alone)
        holding = await asyncio.wait_for(client.request("GET", "/models"), 1)
        for response in held:
            await response.read(2**20)
        held = await _begun(lines, alone + beside)
        await holding.read(2**20)
        held = await _begun(lines, 2 * alone)
        for response in held:
            await response.read(2**20)
        for response in await _begun(lines, 3 * alone):
            await response.read(2**20)
        for one in lines:
            await (await asyncio.wait_for(one, 5)).read(2**20)

    run(work, connections=connections)


def test_who_waits_is_served_before_the_line_of_a_batch_that_waited_longer() -> None:
    served: list[str] = []

    async def one(client: Client, name: str, *, batch: bool) -> None:
        with closing(await client.request("GET", "/models", batch=batch)) as response:
            await response.read(2**20)
        served.append(name)

    async def work(client: Client, fake: FakeUpstream) -> None:
        holding = await client.request("GET", "/models")
        tasks = [asyncio.ensure_future(one(client, f"line {number}", batch=True)) for number in range(3)]
        await asyncio.sleep(0.02)
        tasks += [asyncio.ensure_future(one(client, f"request {number}", batch=False)) for number in range(3)]
        await asyncio.sleep(0.02)
        tasks[1].cancel()
        await holding.read(2**20)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert served == ["request 0", "request 1", "request 2", "line 0", "line 2"]
        assert fake.connections == 1

    run(work, connections=1, line=3)


def test_lines_of_batches_wait_for_as_long_as_it_takes() -> None:
    """Nobody is told that a connection takes too long, nor that too many wait."""

    async def work(client: Client, fake: FakeUpstream) -> None:
        holding = await client.request("GET", "/models")
        lines = [asyncio.ensure_future(line(client)) for _ in range(9)]
        with pytest.raises(AllBusy, match="and 0 requests wait"):
            await get(client)
        await asyncio.sleep(0.5)
        assert not any(one.done() for one in lines)
        await holding.read(2**20)
        for one in lines:
            await (await asyncio.wait_for(one, 5)).read(2**20)

    run(work, connections=1, line=0)


@LOOPS
def test_a_line_of_a_batch_that_fails_or_leaves_frees_its_place(loop: Any) -> None:
    async def work(client: Client, fake: FakeUpstream) -> None:
        for fault in (faults.hang_up, faults.reset_after(lambda _: b""), faults.cut_after(lambda _: b"HTTP/1.1")):
            fake.script.append(fault)
            with pytest.raises(Cut):
                await line(client)
        fake.script.append(faults.silence)
        before = len(fake.received)
        left = asyncio.ensure_future(line(client))
        assert await asyncio.to_thread(until, lambda: len(fake.received) > before)
        left.cancel()
        shut = asyncio.ensure_future(line(client))
        with suppress(asyncio.CancelledError):
            await left
        await (await asyncio.wait_for(shut, 5)).read(2**20)
        lines = [asyncio.ensure_future(line(client)) for _ in range(5)]
        for one in lines:
            await (await asyncio.wait_for(one, 5)).read(2**20)

    run(work, connections=2, loop=loop)


async def line(client: Client) -> Response:
    return await client.request("GET", "/models", batch=True)


async def _begun(lines: Sequence["asyncio.Future[Response]"], count: int) -> list[Response]:
    """So many have begun, and no more do."""
    for _ in range(500):
        if sum(one.done() for one in lines) >= count:
            break
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    begun = [one.result() for one in lines if one.done()]
    assert len(begun) == count
    return begun


def test_a_place_is_freed_by_a_fault() -> None:
    async def work(client: Client, fake: FakeUpstream) -> None:
        fake.script.append(faults.cut_after(lambda _: b"HTTP/1.1"))
        results = await asyncio.gather(*(get(client) for _ in range(4)), return_exceptions=True)
        assert [type(result) for result in results] == [Cut, bytes, bytes, bytes]

    run(work, connections=1)


def test_whoever_waits_too_long_is_told() -> None:
    async def work(client: Client, fake: FakeUpstream) -> None:
        holding = await client.request("GET", "/models")
        with pytest.raises(AllBusy, match="all 1 connections were busy for 0.3 s"):
            await get(client)
        await holding.read(2**20)
        await get(client)

    run(work, connections=1)


@LOOPS
def test_an_upstream_that_closes_every_connection_at_once_uses_up_no_place(loop: Any) -> None:
    async def work(client: Client, fake: FakeUpstream) -> None:
        refusing = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        port = refusing.sockets[0].getsockname()[1]
        shut = Client(f"http://127.0.0.1:{port}", deadlines=QUICK, connections=2)
        for _ in range(6):
            with pytest.raises((ConnectFailed, Cut)) as told:
                await get(shut)
            assert not isinstance(told.value, AllBusy)
        refusing.close()
        await refusing.wait_closed()

    run(work, loop=loop)


@LOOPS
def test_a_dead_port_is_refused(loop: Any) -> None:
    async def work(client: Client, fake: FakeUpstream) -> None:
        dead = Client(f"http://127.0.0.1:{dead_port()}", deadlines=QUICK, connections=1)
        for _ in range(3):
            with pytest.raises(ConnectFailed, match="refused"):
                await get(dead)

    run(work, loop=loop)


def test_early_close_and_settle() -> None:
    def never_ends(visit: Visit) -> None:
        visit.send(head(transfer_encoding="chunked") + chunked(b"all"))
        visit.wait_until_left()

    async def settled(client: Client) -> Response:
        response = await client.request("GET", "/models")
        await response.chunk()
        await response.settle()
        return response

    async def work(client: Client, fake: FakeUpstream) -> None:
        fake.script.append(lambda visit: visit.send(head(transfer_encoding="chunked") + chunked(b"a") + b"0\r\n\r\n"))
        await settled(client)
        await get(client)
        assert fake.connections == 1
        fake.script.append(never_ends)
        await settled(client)
        await get(client)
        assert fake.connections == 2

    run(work, deadlines=Deadlines())


@LOOPS
def test_a_socket_of_this_machine(loop: Any, tmp_path: Path) -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while True:
                heads.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(whole(b"well"))
        writer.close()

    async def work() -> None:
        client = Client(f"http+unix://{quote(str(tmp_path / 'So cket'), safe='')}/v1", deadlines=QUICK)
        with pytest.raises(ConnectFailed, match="its socket is not there"):
            await get(client)
        async with await asyncio.start_unix_server(serve, tmp_path / "So cket"):
            assert [await get(client) for _ in range(3)] == [b"well"] * 3
            await client.close()
        await asyncio.sleep(0.01)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(work())
    assert {head.splitlines()[0] for head in heads} == {b"GET /v1/models HTTP/1.1"}
    assert {head.splitlines()[1] for head in heads} == {b"host: localhost"}


@pytest.mark.parametrize(
    "address",
    [
        "http+unix:///run/vllm.sock/v1",
        "http+unix://run%2Fvllm.sock/v1",
        "http+unix://%2Frun%2F%00/v1",
        f"http+unix://%2F{107 * 'x'}/v1",
        "far.example/v1",
        "ftp://far.example",
        "http://",
        "http://user:secret@far.example",
        "http://:secret@far.example",
        "http://far.example/v1?a=b",
        "http://far.example/v1 HTTP/1.1",
        "http://far.example/a\r\nX-Evil: 1",
        "http://far.example:99999",
        "http://fär.example/",
    ],
)
def test_an_address_that_cannot_be_used(address: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Client(address)


@pytest.mark.parametrize("value", [b"a\r\nX-Evil: 1", b"a\nb", b"a\x00b", b"\x7f"])
def test_a_header_cannot_smuggle_another(value: bytes) -> None:
    with pytest.raises(ValueError, match="control characters"):
        Client("http://127.0.0.1", headers=[(b"authorization", value)])

    async def work(client: Client, fake: FakeUpstream) -> None:
        with pytest.raises(ValueError, match="control characters"):
            await client.request("GET", "/", [(b"x-a", value)])
        assert not fake.connections

    run(work)
