"""The Admin API alone on a free loopback port, in a thread, over a database of its own."""

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import openai
import sqlalchemy as sa
import uvicorn
from starlette.requests import Request
from starlette.routing import Router

from homeport.api.admin import routes
from homeport.api.admin.table import Operation
from homeport.api.middleware import Envelope
from homeport.api.openai import bearer_of
from homeport.control import bootstrap
from homeport.control import fine_tuning_states as states
from homeport.control.changes import Actor, Changes
from homeport.errors import InvalidKey
from homeport.store.database import Database
from homeport.store.queue import Queue
from homeport.store.tables import audit_logs, fine_tuning_jobs, metadata
from homeport.wire.admin.spend import Interval
from homeport.wire.money import NANO_PER_CENT
from tests import openapi
from tests.control import databases

T = TypeVar("T")

#: Who asks with which key. The second is a user's.
ADMIN = "sk-admin-0123456789abcdef"
USERS_ADMIN = "sk-admin-of-a-user-9876543210"
SCOPES = ("all", "all.read", "model", "model.request", "model.read", "responses.write")
ORGANIZATION = "org-homeport"


class Tiers:
    """Two tiers, two families; every other name is a model, too, but for those that begin with `gpt`."""

    names = ("trial", "1")
    default = "1"
    _limits: Mapping[str, Mapping[str, Mapping[str, int]]] = {
        "trial": {"gpt-4": {"max_requests_per_1_minute": 3, "max_tokens_per_1_minute": 40_000}},
        "1": {
            "gpt-4": {"max_requests_per_1_minute": 500, "max_tokens_per_1_minute": 10_000},
            "dall-e-3": {"max_requests_per_1_minute": 500, "max_images_per_1_minute": 5},
        },
    }

    def families(self, tier: str | None) -> Sequence[str]:
        return [*self._limits[tier or "1"]]

    def family(self, model: str) -> str | None:
        if not model.startswith("gpt"):
            return model
        return next((one for one in self._limits["1"] if model == one or model.startswith(f"{one}-0")), None)

    def limits(self, tier: str | None, family: str) -> Mapping[str, int]:
        return self._limits[tier or "1"].get(family, {})


@dataclass
class Served:
    """spent: (scope, subject, interval) -> cents, as the ledger would know it. actors: key -> who asks with it."""

    port: int
    loop: asyncio.AbstractEventLoop
    changes: Changes
    operations: Sequence[Operation]
    default_project: str
    spent: dict[tuple[str, str, str], int]
    actors: dict[bytes, Actor]

    @cached_property
    def client(self) -> openai.OpenAI:
        return self.client_of(ADMIN)

    @cached_property
    def admin(self) -> "openai.resources.admin.organization.Organization":
        return self.client.admin.organization

    def client_of(self, key: str) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=f"http://127.0.0.1:{self.port}/v1", api_key="none", admin_api_key=key, max_retries=0
        )

    def run(self, work: Awaitable[T]) -> T:
        """On the server's loop, where its database lives."""

        async def wrapped() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(wrapped(), self.loop).result(30)

    def rows(self, query: "sa.Select[Any]") -> list[Any]:
        async def read() -> list[Any]:
            async with self.changes.database.read() as connection:
                return [*(await connection.execute(query)).all()]

        return self.run(read())

    def everything(self) -> dict[str, list[Any]]:
        """All rows of all tables."""
        return {name: self.rows(sa.select(table)) for name, table in metadata.tables.items()}

    def last_entries(self, count: int) -> list[Any]:
        """Of the audit log, the oldest of them first."""
        newest = self.rows(sa.select(audit_logs).order_by(audit_logs.c.seq.desc()).limit(count))
        return newest[::-1]

    def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = ADMIN, headers: Mapping[str, str] = {}
    ) -> tuple[int, Any]:
        """By hand. body: JSON value, or bytes as they are. Returns the status and the JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {"Content-Type": "application/json", **headers}
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        try:
            connection.request(method, path, raw, sent)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def make(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """The same, which must go well."""
        status, answer = self.ask(method, path, body)
        assert status == 200, answer
        found: dict[str, Any] = answer
        return found

    def make_model(self, project: str) -> str:
        """The name of a fine-tuned one."""
        queue = Queue(self.changes.database)

        async def work() -> str:
            row = {"project_id": project, "key_id": "", "model": "house", "base": "house", "method": "supervised"}
            values = {**row, "hyperparameters": {}, "seed": 1, "training_file": "file-1"}
            async with self.changes.database.write() as connection:
                job_id = await states.create(connection, queue, values)
                query = sa.select(fine_tuning_jobs).where(fine_tuning_jobs.c.id == job_id)
                job = (await connection.execute(query)).mappings().one()
                name = f"ft:house:homeport::{job_id[-8:]}"
                await states.made(connection, job, name, digest=None, step=None)
            return name

        return self.run(work())

    def make_user(self, email: str, *, name: str | None = None, role: str = "owner") -> dict[str, Any]:
        """In the organization, and in no project."""
        invite = self.make("POST", "/v1/organization/invites", {"email": email, "role": role, "projects": []})
        self.make("POST", f"/v1/homeport/invites/{invite['id']}/accept", {"name": name})
        found: dict[str, Any] = self.make("GET", f"/v1/organization/users?emails={email}")["data"][0]
        return found

    def act_as(self, key: str, user_id: str, user_email: str) -> None:
        """From now on the key is a user's."""
        self.actors[key.encode()] = Actor(key_id="key_of_user", user_id=user_id, user_email=user_email)

    def files(self) -> dict[str, bytes]:
        """The database's, where it is in files."""
        file = self.changes.database.file
        return {one.name: one.read_bytes() for one in file.parent.iterdir()} if file is not None else {}

    @contextmanager
    def nothing_changes(self) -> Iterator[None]:
        before = self.everything()
        yield
        after = self.everything()
        for name in before:
            assert before[name] == after[name], name


def refused(
    answer: tuple[int, Any], status: int = 400, param: str | None = None, *, code: str | None = None, words: str = ""
) -> None:
    """It is OpenAI's error object, with this status and this `param`."""
    found, body = answer
    assert found == status, body
    openapi.validate("ErrorResponse", body)
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param, error
    assert words in error["message"], error
    assert code is None or error["code"] == code, error


@contextmanager
def serving(url: str) -> Iterator[Served]:
    """Until the block ends. url: of an empty database."""
    database = Database(url)
    changes = Changes(database)
    spent: dict[tuple[str, str, str], int] = {}
    actors = {ADMIN.encode(): Actor(key_id="key_admin")}

    async def authorize(request: Request, scope: str) -> Actor:
        secret = bearer_of(request)
        if secret not in actors:
            raise InvalidKey("Incorrect API key provided.")
        return actors[secret]

    async def of_ledger(scope: str, subject: str, interval: Interval) -> int:
        return spent.get((scope, subject, interval), 0) * NANO_PER_CENT

    given: dict[str, Any] = {"tiers": Tiers(), "scopes": SCOPES, "spent": of_ledger, "organization": ORGANIZATION}
    router = Router(routes.routes(changes, authorize, **given), redirect_slashes=False)
    config = uvicorn.Config(Envelope(router, organization="test"), log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    ready = threading.Event()
    found: list[Served] = []

    async def main() -> None:
        await databases.prepare(database)
        await bootstrap.prepare(changes, bootstrap.Presets())
        async with database.read() as connection:
            default = await bootstrap.default_project(connection) or ""
        port = listener.getsockname()[1]
        operations = routes.operations(changes, **given)
        found.append(Served(port, asyncio.get_running_loop(), changes, operations, default, spent, actors))
        ready.set()
        await server.serve(sockets=[listener])
        await database.close()

    thread = threading.Thread(target=lambda: _run(main, ready), name="admin-api-under-test")
    thread.start()
    ready.wait(60)
    try:
        yield found[0]
    finally:
        server.should_exit = True
        thread.join(30)
    assert not thread.is_alive(), "the server did not end"


def _run(main: Callable[[], Any], ready: threading.Event) -> None:
    try:
        asyncio.run(main())
    finally:
        ready.set()
