"""Spend alerts are told, once a month each: in the log, and by e-mail where the settings name a server for it.

    untold -> claimed by one replica -> told for this month
           <- the e-mail could not be sent, or whoever was sending it is gone for CLAIM_SECONDS

`told_for` holds which: the month (`2026-11`), or the month and when the claim ends (`2026-11 until 1764063600`). It is
written by statements that name what was there before, so of all replicas one tells. A replica that is killed between
sending and saying so has told in vain: the next one tells again.
"""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from homeport import clock
from homeport.control.mail import Mail, NotSent
from homeport.store.database import Database
from homeport.store.tables import projects, spend_alerts
from homeport.store.usage_rows import UsageRows

log = logging.getLogger("homeport.alerts")

PICO_PER_CENT = 10**10
#: Longer than an e-mail takes.
CLAIM_SECONDS = 300
_UNTIL = " until "
_SELECT = sa.select(spend_alerts, projects.c.name.label("project")).select_from(
    spend_alerts.outerjoin(projects, spend_alerts.c.project_id == projects.c.id)
)


class Alerting:
    def __init__(self, database: Database, rows: UsageRows, mail: Mail | None, *, organization: str) -> None:
        """mail: None where alerts are told in the log alone. organization: its name."""
        self._database = database
        self._rows = rows
        self._mail = mail
        self._organization = organization
        #: Alert -> why its e-mail was not sent last time, so that the same is not said every time.
        self._failures: dict[str, str] = {}

    async def tell(self) -> None:
        """Every alert whose threshold was reached this month (UTC) and that nobody has told. Raises Unavailable."""
        now = clock.now()
        began = datetime.fromtimestamp(now, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        month = f"{began:%Y-%m}"
        spent: dict[str | None, int] = {}
        for alert in await self._untold(month, now):
            whose = alert.project_id
            if whose not in spent:
                spent[whose] = await self._rows.spent(began.timestamp(), project_id=whose)
            if spent[whose] >= max(alert.threshold_cents * PICO_PER_CENT, 1):  # nothing spent is nothing to tell
                await self._tell(alert, month, self._words(alert, month, spent[whose]))

    async def _untold(self, month: str, now: float) -> "Sequence[sa.Row[Any]]":
        async with self._database.read() as connection:
            rows = (await connection.execute(_SELECT.order_by(spend_alerts.c.seq))).all()
        return [row for row in rows if _is_untold(row.told_for, month, now)]

    async def _tell(self, alert: "sa.Row[Any]", month: str, words: str) -> None:
        if self._mail is None:
            if await self._set(alert, alert.told_for, month):
                log.warning("spend alert %s: %s", alert.id, words)
            return
        claim = f"{month}{_UNTIL}{int(clock.now()) + CLAIM_SECONDS}"
        if not await self._set(alert, alert.told_for, claim):
            return
        try:
            missed = await self._send(self._mail, alert, words)
        except NotSent as error:
            if self._failures.get(alert.id) != str(error):
                log.error("spend alert %s: %s (no e-mail yet: %s; it is tried again)", alert.id, words, error)
            self._failures[alert.id] = str(error)
            await self._set(alert, claim, alert.told_for)
            return
        self._failures.pop(alert.id, None)
        await self._set(alert, claim, month)
        log.warning("spend alert %s: %s", alert.id, words)
        if missed:
            log.warning("spend alert %s: %d of its recipients could not be sent to", alert.id, missed)

    async def _send(self, mail: Mail, alert: "sa.Row[Any]", words: str) -> int:
        channel = alert.notification_channel
        prefix = channel.get("subject_prefix") or ""
        text = (
            f"{words[0].upper()}{words[1:]} (UTC).\n\n"
            f"You get this once a month, for the spend alert {alert.id}. An alert stops nothing; a spend limit does.\n"
        )
        return await mail.send(channel["recipients"], f"{prefix} Spend alert: {words}".strip(), text)

    def _words(self, alert: "sa.Row[Any]", month: str, pico: int) -> str:
        whose = f"organization {self._organization}" if alert.project_id is None else f"project {alert.project}"
        return f"{whose} has spent {_dollars(pico // PICO_PER_CENT)} of {_dollars(alert.threshold_cents)} in {month}"

    async def _set(self, alert: "sa.Row[Any]", before: str | None, after: str | None) -> bool:
        """False: another replica was first, or the alert was changed or deleted."""
        table = spend_alerts.c
        as_it_was = (table.told_for.is_not_distinct_from(before), table.threshold_cents == alert.threshold_cents)
        statement = sa.update(spend_alerts).where(table.id == alert.id, *as_it_was).values(told_for=after)
        async with self._database.write() as connection:
            return (await connection.execute(statement)).rowcount == 1


def _is_untold(told_for: str | None, month: str, now: float) -> bool:
    told, _, until = (told_for or "").partition(_UNTIL)
    return told != month or (until != "" and int(until) <= now)


def _dollars(cents: int) -> str:
    return f"${cents // 100}.{cents % 100:02d}"
