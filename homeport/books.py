"""The part of the composition root that keeps books: databases, keys, limits, prices, the ledger.

It has one life: open() brings the databases up to date and reads what the gateway needs, watch() follows changes,
close() writes what waits.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal, NamedTuple

import msgspec

from homeport import clock
from homeport.control import batch_states, bootstrap
from homeport.control.alerting import Alerting
from homeport.control.bootstrap import Presets
from homeport.control.changes import Changes
from homeport.control.idempotency import Idempotency
from homeport.control.mail import Mail
from homeport.control.sessions import Sessions
from homeport.control.usage import Usage
from homeport.errors import HomeportError, SettingsError, Unavailable
from homeport.gateway.accounts import Accounts
from homeport.gateway.budgets import Budgets, counters, spent_on
from homeport.gateway.fullness import Fullness, Waiting
from homeport.gateway.graduation import Graduation
from homeport.gateway.keyring import Budget, Screening
from homeport.gateway.ledger import Ledger
from homeport.gateway.limits import Limits
from homeport.gateway.pricing import Prices
from homeport.gateway.routing import Router
from homeport.gateway.tiers import DEFAULT, HOME, LADDER, NAMES, Tiers, pool
from homeport.gateway.training_bills import TrainingBills
from homeport.settings import Moderation, Settings
from homeport.store import shared
from homeport.store.database import Database
from homeport.store.journal import Journal
from homeport.store.migrations import migrate
from homeport.store.spill import Spill
from homeport.store.usage import BATCH_ROWS, UsageLog
from homeport.store.usage_newest import UsageNewest
from homeport.store.usage_row import UsageRow
from homeport.store.usage_rows import UsageRows
from homeport.store.usage_sums import UsageSums
from homeport.store.vector_store_usage import VectorStoreUsage

log = logging.getLogger("homeport")

#: Spend is looked at this often: for alerts, and for tiers that are earned.
SPEND_SECONDS = 30.0


class Health(NamedTuple):
    """rows_waiting: in memory, for the database. spilled: bytes of those that wait on disk. slots: of the journal that
    are taken. up: store -> it answered last time."""

    rows_waiting: int
    spilled: int
    slots: int
    up: Mapping[str, bool]


class Books:
    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError. Connects to nothing yet; the journal is taken."""
        self._usage_url = settings.usage_url
        self.database = Database(settings.state_url)
        self.usage_database = self.database if settings.database_url else self._usage_database()
        self.rows = UsageRows(self.usage_database)
        self.newest = UsageNewest(self.usage_database)
        self.usage = Usage(UsageSums(self.usage_database), VectorStoreUsage(self.database))
        self.prices = Prices.load({name: msgspec.structs.asdict(price) for name, price in settings.prices.items()})
        tiers = Tiers(_overrides(settings))
        if settings.limits.tier not in tiers.names:
            raise SettingsError(f"limits.tier: there is no tier {settings.limits.tier!r}: {', '.join(tiers.names)}.")
        self.tiers = tiers
        organization = settings.server.organization
        self.accounts = Accounts(
            self.database,
            organization=organization,
            tier=_first_tier(settings),
            last_used=lambda: self._log.take_last_used(),
            max_age=settings.server.keys_max_age_seconds,
            screening=_screening(settings.moderation),
        )
        self._graduation = Graduation(self.accounts, tiers, self.rows) if settings.limits.graduate else None
        mail = Mail(settings.alerts.smtp_url, settings.alerts.sender) if settings.alerts.smtp_url else None
        self._alerting = Alerting(self.database, self.rows, mail, organization=organization)
        self.changes = Changes(self.database, self._changed)
        self.idempotency = Idempotency(self.database)
        self.sessions = Sessions(self.database, seconds=settings.dashboard.session_hours * 3600)
        policy: Literal["closed", "local"] = "closed" if settings.limits.without_redis == "refuse" else "local"
        self._journal = Journal(settings.data / "journal")
        self.shared = shared.connect(settings.redis_url, on_failure=policy, replica=self._journal.name)
        self.limits = Limits(
            self.shared,
            tiers,
            spent=self._spent,
            written=self._written,
            strict=settings.limits.strict,
            lines_count=settings.batches.count_against_rate_limits,
        )
        self.budgets = Budgets(self.prices)
        self.training_bills = TrainingBills(self.prices, self.limits, self.rows)
        self._spills = settings.data / "spill"
        self._log = UsageLog(self._usage_database, self._journal, Spill(self._spills, self._journal.name))
        self.ledger = Ledger(self._log, self._journal, self.prices)
        self._refusals: dict[str, Callable[[], str | None]] = {
            "database": self._without_keys,
            "ledger": self._without_ledger,
        }
        if policy == "closed":
            self._refusals["redis"] = self._without_redis
        self._has_redis = settings.redis_url is not None

    def _usage_database(self) -> Database:
        return Database(self._usage_url, synchronous="NORMAL")

    async def open(
        self, preset: str | None, admin: str | None = None, *, refuse_without_key: str | None = None
    ) -> str | None:
        """preset, admin: keys that the operator chose. Returns a newly made first key.

        Raises SettingsError, Unavailable.
        """
        await self.upgrade()
        made = await bootstrap.prepare(self.changes, Presets(preset, admin), refuse_without_key=refuse_without_key)
        await self.join()
        return made

    async def upgrade(self) -> None:
        """The tables are there, in their newest form. Raises SettingsError, Unavailable."""
        await migrate(self.database, "state")
        await migrate(self.usage_database, "usage")

    async def join(self) -> None:
        """As one of several processes, of which another has opened: no table is touched, and no key is made.

        What a killed one left is taken over, whoever it was. Raises Unavailable.
        """
        await self.accounts.load()
        await self.shared.start()
        await self._recover()
        if self._graduation is not None:
            await self._graduation.look()
        self._log.start()

    async def _recover(self) -> None:
        """What a killed process left becomes rows, and its money is counted anew from them."""
        killed = self._journal.killed
        spent: set[str] = set()
        spilled = 0
        for name in killed:  # before the journal's: of a request that is in both, the spill knows what it really took
            spill = Spill(self._spills, name)
            if spill.holds:
                log.warning("the records that waited on disk go into the database first: this may take minutes")
            while rows := spill.oldest(BATCH_ROWS):
                await self.rows.write(rows)
                spill.taken(len(rows))
                spilled += len(rows)
                spent |= counters(rows)
            spill.close()
        left = self.ledger.recover()
        await self.rows.write(left)
        if spilled:
            log.warning("%d requests that had waited on disk for the database are in the ledger now", spilled)
        if left:
            log.warning("%d requests of a process that was killed are in the ledger now", len(left))
        if killed:
            await self.shared.forget(spent | counters(left), killed)
        self._journal.forget_left()

    async def _changed(self) -> None:
        """What was changed through this process holds for its next request."""
        with suppress(Unavailable):  # the change is made; it is seen once the database is back
            await self.accounts.load()

    def refusing(self) -> dict[str, str]:
        """What every request is refused for just now, and why: each part by the policy that it serves by.

        That the database is away is none of it, for a while: known keys go on, and their rows wait on this machine.
        """
        told = ((name, refusal()) for name, refusal in self._refusals.items())
        return {name: why for name, why in told if why is not None}

    def health(self) -> Health:
        up = {"database": self.accounts.reachable, "ledger": self._log.reachable}
        if self._has_redis:
            up["redis"] = not self.shared.away
        return Health(self._log.waiting, self._log.bytes_on_disk, self._journal.taken, up)

    def _without_keys(self) -> str | None:
        try:
            self.accounts.current()
        except Unavailable as error:
            return error.message
        return None

    def _without_ledger(self) -> str | None:
        return "Requests cannot be recorded: the journal is full of rows that wait." if self._journal.full else None

    def _without_redis(self) -> str | None:
        return "Redis is away: limits cannot be checked." if self.shared.away else None

    async def find(self, request_id: str) -> UsageRow | None:
        """A row of the ledger, in the database or on its way there. Raises Unavailable: it may wait on disk."""
        on_disk = self._log.on_disk
        found = self._log.find(request_id) or await self.rows.find(request_id)
        if found is None and on_disk:
            raise Unavailable("Some records have yet to be written to the database. Try again soon.")
        return found

    def fullness(self, router: Router) -> Fullness:
        """Of the models that it serves."""

        async def waiting(project: str) -> Sequence[Waiting]:
            async with self.database.read() as connection:
                return [Waiting(*one) for one in await batch_states.waiting(connection, project)]

        return Fullness(
            self.limits,
            keys=lambda: self.accounts.current().by_id,
            models=lambda: [listed.id for listed in router.listed()],
            waiting=waiting,
        )

    async def spent(self, scope: str, subject: str, interval: str) -> int:
        """Nanodollars, up to now. Raises Unavailable."""
        await self._written()
        return await self._spent(Budget(scope, subject, interval, 0).counter(clock.now()))

    async def _written(self) -> None:
        """What has ended here is in the ledger. Raises Unavailable."""
        if not await self._log.settled(seconds=2.0):
            raise Unavailable("Budgets cannot be checked at the moment. Try again soon.", code="limits_unavailable")

    async def _spent(self, counter: str) -> int:
        return await spent_on(self.rows, counter)

    async def watch(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.accounts.watch())
            group.create_task(_now_and_then(self._alerting.tell))
            if self._graduation is not None:
                group.create_task(_now_and_then(self._graduation.look))

    async def close(self) -> None:
        ended = await asyncio.to_thread(self._log.close)
        try:
            await self.accounts.write_last_used()
        except HomeportError:
            log.error("the database cannot be reached: when keys were used last is not written")
        await self.shared.close()
        await self.rows.close()
        await self.usage_database.close()
        await self.database.close()
        if ended:
            self._journal.shut(keep=self._log.on_disk)
        else:
            log.error("the database hangs: its last records are in the journal, and written at the next start")


async def _now_and_then(look: Callable[[], Awaitable[None]]) -> None:
    """Until cancelled. That a database is away is said by those who follow the changes and write the rows."""
    while True:
        with suppress(Unavailable):
            await look()
        await clock.sleep(SPEND_SECONDS)


def _first_tier(settings: Settings) -> str:
    """Raises SettingsError."""
    if not settings.limits.graduate:
        return settings.limits.tier
    if settings.limits.tier != HOME:
        raise SettingsError("limits.tier and limits.graduate: who graduates begins at `trial`. Leave one of them out.")
    return LADDER[0]


def _overrides(settings: Settings) -> Mapping[str, Mapping[str, Mapping[str, int]]]:
    """tier -> family -> limit -> number, of what the settings say."""
    return {
        tier: {
            family: {name: value for name, value in msgspec.structs.asdict(limits).items() if value is not None}
            for family, limits in families.items()
        }
        for tier, families in settings.tiers.items()
    }


def _screening(settings: Moderation) -> Screening:
    return Screening(settings.model, settings.input, settings.output, settings.threshold)


class TiersShown:
    """The tiers as the Admin API tells them: of every model that is served here, and of the tier's own families."""

    def __init__(self, tiers: Tiers, default: Callable[[], str], router: Router) -> None:
        """default: of projects that have no tier, by now."""
        self._tiers = tiers
        self._default = default
        self._router = router

    @property
    def names(self) -> Sequence[str]:
        return self._tiers.names

    @property
    def default(self) -> str:
        return self._default()

    def families(self, tier: str | None) -> Iterable[str]:
        return {*self._tiers.families(tier or self._default()), *self._served()} - {DEFAULT}

    def family(self, model: str) -> str | None:
        name = pool(model)
        return name if self._router.wildcards or name in self._served() else None

    def limits(self, tier: str | None, family: str) -> Mapping[str, Any]:
        limits = self._tiers.limits(tier or self._default(), family)
        return {name: value for name in NAMES if (value := getattr(limits, name)) is not None}

    def _served(self) -> set[str]:
        return {pool(listed.id) for listed in self._router.listed()}
