"""A real Homeport on a free loopback port, in a thread of this process, for tests that speak HTTP to it."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import uvloop
from starlette.routing import BaseRoute

from homeport import app
from homeport.api import server
from homeport.settings import Settings
from tests.store import empty

T = TypeVar("T")
KEY = "sk-test-0123456789abcdef"
ECHO = {"models": {"echo": {"engine": "echo"}}}


@dataclass(frozen=True)
class Running:
    """url: `http://127.0.0.1:PORT`, or `https:`; base_url: what an OpenAI client is given."""

    url: str
    port: int
    app: app.App
    data: Path
    loop: asyncio.AbstractEventLoop | None = None

    def begin(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """In the server's event loop."""
        assert self.loop is not None
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def routes(self) -> Sequence[BaseRoute]:
        """Of the API, behind the dashboard."""
        dashboard: Any = self.app.asgi
        routes: Sequence[BaseRoute] = dashboard.api._app.routes
        return routes


@dataclass
class _Told:
    """An application that tells when it is ready."""

    app: app.App
    ready: threading.Event

    async def start(self) -> None:
        await self.app.start()
        self.ready.set()

    async def watch(self) -> None:
        await self.app.watch()

    def drain(self) -> None:
        self.app.drain()

    async def drained(self) -> None:
        await self.app.drained()

    async def close(self) -> None:
        await self.app.close()


@contextmanager
def running(data: Path, settings: dict[str, Any] | None = None, *, lane: bool = True) -> Iterator[Running]:
    """Serve until the block ends. settings: as homeport.toml would say them; the key is KEY. Code is run where they say
    anything of `code_interpreter`: to look whether a machine can takes a moment of each start. data: on SQLite its
    databases are there before the first start, which makes them itself in tests/replicas.

    lane=False answers everything through plain ASGI, as another ASGI server would.
    """
    table = {**ECHO, "code_interpreter": {"enabled": False}, **(settings or {})}
    table["server"] = {"port": 0, "data": str(data), **table.get("server", {})}
    chosen = msgspec.convert(table, Settings)
    if chosen.database_url is None and not any(data.glob("*.db")):
        empty.copy(data)
    built = app.build(chosen)
    if not lane:
        built.http.routes = {}
    listener = server.bind("127.0.0.1", 0)
    serving = server.server(built.asgi, built.http, chosen.server)
    ready = threading.Event()
    failures: list[BaseException] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def whole_life() -> None:
        loops.append(asyncio.get_running_loop())
        await built.open(KEY)
        await serving.serve_while(listener, _Told(built, ready))

    def serve() -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(whole_life())
        except BaseException as error:
            failures.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=serve, name="homeport-under-test")
    thread.start()
    ready.wait(timeout=60)
    try:
        if failures:
            raise failures[0]
        port = listener.getsockname()[1]
        scheme = "https" if chosen.server.tls_cert is not None else "http"
        yield Running(f"{scheme}://127.0.0.1:{port}", port, built, data, loops[0])
    finally:
        serving.should_exit = True
        thread.join(timeout=60)
    assert not failures, failures
    assert not thread.is_alive(), "the server did not end"
