"""HTTP by hand: requests that leave in the same moment, and streams that are held open."""

import asyncio
import http.client
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from tests.api.raw import CHAT, Answer

PATIENCE = 90.0


def ask(port: int, method: str, path: str, body: Any = None, *, key: str, headers: Mapping[str, str] = {}) -> Answer:
    """One request, on a connection of its own. Raises OSError: nobody is there, or whoever was has gone."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    sent = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **headers}
    try:
        connection.request(method, path, None if body is None else json.dumps(body), sent)
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, response.read())
    except http.client.HTTPException as error:
        raise OSError from error
    finally:
        connection.close()


def chat(model: str, *, stream: bool = False, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hello"}], "stream": stream, **more}


@dataclass
class Client:
    """A connection with one request on it. head: of the answer, once it came; it is parted from what follows."""

    port: int
    key: str
    body: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    async def connect(cls, port: int, key: str, body: Any) -> "Client":
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        return cls(port, key, json.dumps(body).encode(), reader, writer)

    def send(self) -> None:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {self.key}\r\nConnection: close\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(self.body)}\r\n\r\n"
        self.writer.write(head.encode() + self.body)

    async def head(self) -> None:
        """Raises OSError, IncompleteReadError: the server has gone."""
        raw = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE)).decode("latin-1")
        line, *lines = raw.split("\r\n")
        self.status = int(line.split(" ")[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}

    async def rest(self) -> bytes:
        """Until the server closes, however it does; of a stream with the lengths of its chunks."""
        parts = []
        with suppress(OSError):
            while part := await asyncio.wait_for(self.reader.read(65536), PATIENCE):
                parts.append(part)
        return b"".join(parts)

    async def answer(self) -> Answer:
        if not self.status:
            await self.head()
        return Answer(self.status, dict(self.headers), await self.rest())

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()

    @property
    def request_id(self) -> str:
        return self.headers["x-request-id"]


@asynccontextmanager
async def sent(ports: Sequence[int], key: str, body: Any, count: int) -> AsyncIterator[list[Client]]:
    """Spread over the ports, one after the other; all are connected before the first asks. Closed with the block."""
    clients = [await Client.connect(ports[number % len(ports)], key, body) for number in range(count)]
    try:
        for client in clients:
            client.send()
        yield clients
    finally:
        for client in clients:
            await client.close()


def at_once(ports: Sequence[int], key: str, body: Any, count: int) -> list[Answer]:
    async def ask() -> list[Answer]:
        async with sent(ports, key, body, count) as clients:
            return [*await asyncio.gather(*(client.answer() for client in clients))]

    return asyncio.run(ask())
