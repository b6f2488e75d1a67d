"""Keys, projects, limits and budgets as the hot path sees them: a snapshot of the database, looked up in memory.

`revision` says when the rows have changed: it is looked at every 0.4 s, so every replica sees a new key, a revoked one
or another limit within a second; the process that made the change sees it at once. While the database is away the last
snapshot goes on, for as long as the settings say: a key that was revoked meanwhile must not work for ever.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock
from homeport.errors import DatabaseUnavailable, Unavailable
from homeport.gateway import tuned
from homeport.gateway.keyring import Budget, Models, Principal, Screening
from homeport.gateway.tiers import RateLimits
from homeport.gateway.tuned import Tuned
from homeport.store import tables
from homeport.store.database import Database
from homeport.wire.money import NANO_PER_CENT

log = logging.getLogger("homeport.accounts")

LOOK_SECONDS = 0.4
#: `last_used_at` of keys is written this often.
LAST_USED_SECONDS = 30.0
MOST_CALLERS = 10_000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """by_hash: SHA-256 of a key -> who it is; by_id: by the key's id, for work that goes on without the key.

    keyless: on the default project's account, for callers that another house vouches for (Entra).
    tier: of projects that have none of their own. tuned: the fine-tuned models, by name.
    """

    revision: int = -1
    by_hash: Mapping[bytes, Principal] = field(default_factory=dict)
    by_id: Mapping[str, Principal] = field(default_factory=dict)
    keyless: Principal = field(default_factory=lambda: Principal("", "", ""))
    tier: str = ""
    tuned: Mapping[str, Tuned] = field(default_factory=dict)
    _callers: dict[str, Principal] = field(default_factory=dict)

    def caller(self, name: str) -> Principal:
        """The one principal of a caller without a key, as long as nothing changes."""
        found = self._callers.get(name)
        if found is None:
            if len(self._callers) >= MOST_CALLERS:
                self._callers.clear()
            found = self._callers[name] = replace(self.keyless, key_id=name)
        return found


class Accounts:
    def __init__(
        self,
        database: Database,
        *,
        organization: str,
        tier: str,
        last_used: Callable[[], Mapping[str, int]],
        max_age: float = 3600.0,
        screening: Screening | None = None,
    ) -> None:
        """tier: of projects that have none of their own. It may be changed: the next load() sees it.

        last_used: key id -> unix second of its last request, of those since it was asked before. max_age: seconds that
        a snapshot holds after the last look that found it true. screening: as tier.
        """
        self._last_used = last_used
        self._administrators: dict[str, int] = {}
        self._screening = screening
        self._max_age = max_age
        self._holds_until = float("-inf")
        self._database = database
        self._organization = organization
        self.tier = tier
        self._loading = asyncio.Lock()
        self.snapshot = Snapshot()
        #: The database has answered the last look.
        self.reachable = True

    def current(self) -> Snapshot:
        """For whoever asks what a key may do. Raises DatabaseUnavailable (503): it is too old to tell."""
        if clock.monotonic() > self._holds_until:
            raise DatabaseUnavailable
        return self.snapshot

    async def load(self) -> None:
        """Read everything again if it has changed: what was changed before this is called holds when it returns.

        Raises Unavailable.
        """
        async with self._loading, self._database.read() as connection:
            looked_at = clock.monotonic()  # what is read is no older: PostgreSQL's view begins with the first query
            revision = await connection.scalar(sa.select(tables.revision.c.value))
            if (revision, self.tier) != (self.snapshot.revision, self.snapshot.tier):
                self.snapshot = await _read(
                    connection, int(revision or 0), self._organization, self.tier, self._screening
                )
            self._holds_until = looked_at + self._max_age

    async def watch(self) -> None:
        """Look for changes until cancelled."""
        written_at = clock.monotonic()
        while True:
            await clock.sleep(LOOK_SECONDS)
            try:
                await self.load()
                if clock.monotonic() - written_at > LAST_USED_SECONDS:
                    written_at = clock.monotonic()
                    await self.write_last_used()
            except Unavailable:
                if self.reachable:
                    log.error(
                        "the database cannot be reached: keys and limits stay as they were, for %g s at most",
                        self._max_age,
                    )
                self.reachable = False
            else:
                if not self.reachable:
                    log.info("the database is back")
                self.reachable = True

    def used(self, key_id: str) -> None:
        """The Admin API was asked with a key: no row of the ledger says so."""
        self._administrators[key_id] = int(clock.now())

    async def write_last_used(self) -> None:
        """When each key was used last. Raises Unavailable."""
        administrators, self._administrators = self._administrators, {}
        used = {**self._last_used(), **administrators}
        if not used:
            return
        keys = tables.keys
        statement = sa.update(keys).where(keys.c.id == sa.bindparam("b_id")).values(last_used_at=sa.bindparam("b_used"))
        async with self._database.write() as connection:
            await connection.execute(statement, [{"b_id": key, "b_used": at} for key, at in used.items()])


async def _read(
    connection: AsyncConnection, revision: int, organization: str, tier: str, screening: Screening | None
) -> Snapshot:
    projects = {row.id: row for row in await connection.execute(sa.select(tables.projects))}
    limits: dict[str, dict[str, RateLimits]] = {}
    for row in await connection.execute(sa.select(tables.rate_limits)):
        limits.setdefault(row.project_id, {})[row.model] = _rate_limits(dict(row._mapping))
    budgets = _budgets(await connection.execute(sa.select(tables.spend_limits)))

    emails = {row.id: row.email for row in await connection.execute(sa.select(tables.users))}
    members = {(row.project_id, row.user_id) for row in await connection.execute(sa.select(tables.project_users))}
    roles = {row.id: row.role for row in await connection.execute(sa.select(tables.service_accounts))}

    def is_active(key: Any) -> bool:
        """A project's key works while its project does, and whoever has it is in the project."""
        project = projects.get(key.project_id)
        if project is None or key.kind != "project":
            return project is None or project.archived_at is None
        if key.service_account_id is not None and roles.get(key.service_account_id, "none") == "none":
            return False
        return project.archived_at is None and (key.user_id is None or (key.project_id, key.user_id) in members)

    def principal(project: Any, key: Any | None) -> Principal:
        """key: None for the project's account itself."""
        project_id = project.id if project is not None else ""
        own = key.rate_limits if key is not None else None
        return Principal(
            key_id=key.id if key is not None else "",
            project=project_id,
            organization=organization,
            user=(key.user_id or key.service_account_id or "") if key is not None else "",
            email=emails.get(key.user_id, "") if key is not None else "",
            kind=key.kind if key is not None else "project",
            tier=(project.tier if project is not None else None) or tier,
            scopes=None if key is None or key.scopes is None else frozenset(_plain(key.scopes)),
            models=Models.of(
                project.model_permissions if project is not None else None, key.models if key is not None else None
            ),
            rate_limits=limits.get(project_id, {}),
            own_limits=None if own is None else _rate_limits(own),
            budgets=(
                *budgets.get(("organization", ""), ()),
                *budgets.get(("project", project_id), ()),
                *(budgets.get(("key", key.id), ()) if key is not None else ()),
            ),
            expires_at=key.expires_at if key is not None else None,
            screening=Screening.of(project.moderation if project is not None else None, screening),
        )

    by_hash: dict[bytes, Principal] = {}
    by_id: dict[str, Principal] = {}
    for row in await connection.execute(sa.select(tables.keys)):
        if is_active(row):
            by_hash[bytes(row.sha256)] = by_id[row.id] = principal(projects.get(row.project_id), row)
    oldest = min(projects.values(), key=lambda project: project.seq, default=None)
    return Snapshot(revision, by_hash, by_id, principal(oldest, None), tier, await tuned.read(connection))


def _plain(scopes: Iterable[str]) -> Iterable[str]:
    """OpenAI writes them with and without its `api.`."""
    return (scope.removeprefix("api.") for scope in scopes)


def _rate_limits(values: Mapping[str, Any]) -> RateLimits:
    return RateLimits(**{name: values.get(name) for name in RateLimits.__dataclass_fields__})


def _budgets(rows: Iterable[Any]) -> dict[tuple[str, str], tuple[Budget, ...]]:
    """(scope, subject) -> its budgets. The organization's subject is empty."""
    found: dict[tuple[str, str], tuple[Budget, ...]] = {}
    for row in rows:
        subject = "" if row.scope == "organization" else row.subject
        budget = Budget(row.scope, subject, row.interval, row.threshold_cents * NANO_PER_CENT)
        found[row.scope, subject] = (*found.get((row.scope, subject), ()), budget)
    return found
