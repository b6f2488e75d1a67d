"""Idempotency keys: a POST that is sent again with the same key is done once and answered the same.

    nothing -> running -> kept       the whole answer of a success, for a day
                       -> nothing    it failed, or its client left: it may be tried again
                       -> done       kept without its answer: one that holds a secret, or is larger than is kept

Rows are in the state's database, so they hold for every replica and over a restart. Whoever runs a request renews its
lease; the row of one whose process was killed is taken over when the lease has ended.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from homeport import clock, ids
from homeport.errors import Conflict, InvalidRequest, Unavailable
from homeport.store.database import Database
from homeport.store.tables import idempotency_keys as table

LONGEST_KEY = 255
LARGEST_ANSWER = 16 * 2**20
KEPT_SECONDS = 86_400
LEASE_SECONDS = 60
_SECRET = re.compile(rb'"sk-[\w-]{16,}"')


class Kept(NamedTuple):
    """An answer, to be given again. request_id: of the request that it was made for."""

    request_id: str
    content_type: str
    body: bytes


class Claim:
    """The right to do a request. One of keep() and release() ends it."""

    def __init__(self, database: Database, scope: bytes, owner: str) -> None:
        self._database = database
        self._mine = sa.and_(table.c.scope == scope, table.c.owner == owner)

    async def keep(self, kept: Kept) -> None:
        """Before the client has the end of the answer: what it did not get is there when it asks again."""
        forgotten = len(kept.body) > LARGEST_ANSWER or _SECRET.search(kept.body) is not None
        values = {
            "owner": None,
            "request_id": kept.request_id,
            "content_type": kept.content_type,
            "body": None if forgotten else kept.body,
            "until": int(clock.now()) + KEPT_SECONDS,
        }
        async with self._database.write() as connection:
            await connection.execute(sa.update(table).where(self._mine).values(values))

    async def release(self) -> None:
        async with self._database.write() as connection:
            await connection.execute(sa.delete(table).where(self._mine))

    @asynccontextmanager
    async def held(self) -> AsyncGenerator[None, None]:
        """The lease does not end within the block."""
        async with asyncio.TaskGroup() as group:
            renewing = group.create_task(self._renew())
            try:
                yield
            finally:
                renewing.cancel()

    async def _renew(self) -> None:
        while True:
            await clock.sleep(LEASE_SECONDS / 3)
            with suppress(Unavailable):
                async with self._database.write() as connection:
                    until = int(clock.now()) + LEASE_SECONDS
                    await connection.execute(sa.update(table).where(self._mine).values(until=until))


class Idempotency:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, key_id: str, path: str, key: str, body: bytes) -> Claim | Kept:
        """The right to do the request, or the answer that it had. key_id: whose request it is.

        Raises InvalidRequest: the key is no key, or was used for another request; Conflict (409): the same request is
        under way, or its answer was not kept; Unavailable (503).
        """
        if not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
            raise InvalidRequest(
                f"The Idempotency-Key must be 1 to {LONGEST_KEY} printable characters; use a UUID for each request.",
                code="invalid_idempotency_key",
            )
        scope = hashlib.sha256("\0".join((key_id, path, key)).encode()).digest()
        digest, owner = hashlib.sha256(body).digest(), ids.random_text(16)
        now = int(clock.now())
        row = {"scope": scope, "digest": digest, "owner": owner, "until": now + LEASE_SECONDS}
        for _ in range(2):
            async with self._database.write() as connection:
                await connection.execute(sa.delete(table).where(table.c.scope == scope, table.c.until <= now))
                found = (await connection.execute(sa.select(table).where(table.c.scope == scope))).one_or_none()
                if found is not None:
                    return _again(found, digest)
                with suppress(IntegrityError):  # another replica was faster: look again
                    async with connection.begin_nested():
                        await connection.execute(sa.insert(table).values(row))
                    return Claim(self._database, scope, owner)
        raise _under_way()

    async def sweep(self) -> None:
        """Forget what is older than a day. Raises Unavailable."""
        async with self._database.write() as connection:
            await connection.execute(sa.delete(table).where(table.c.until <= int(clock.now())))


def _again(found: sa.Row[tuple[object, ...]], digest: bytes) -> Kept:
    if bytes(found.digest) != digest:
        raise InvalidRequest(
            "This Idempotency-Key was used for a request with another body. Use a new key for each request, and the "
            "same key only to send the same request again.",
            code="idempotency_key_reused",
        )
    if found.owner is not None:
        raise _under_way()
    if found.body is None:
        raise Conflict(
            "The request with this Idempotency-Key was done, and its answer is not kept: it held a secret, which is "
            f"shown once, or was larger than {LARGEST_ANSWER // 2**20} MiB. Its request ID was {found.request_id}.",
            code="idempotency_answer_not_kept",
            headers=(("x-should-retry", "false"),),
        )
    return Kept(found.request_id, found.content_type, bytes(found.body))


def _under_way() -> Conflict:
    return Conflict(
        "A request with this Idempotency-Key is under way. Try again in a moment: you will get its answer.",
        code="idempotency_key_in_use",
        headers=(("retry-after", "1"),),
    )
