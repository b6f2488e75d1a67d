"""Spend alerts are told once a month, by one replica of all, and are never lost when the mail is."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from homeport.control.alerting import CLAIM_SECONDS, Alerting
from homeport.control.changes import Actor, Changes
from homeport.control.mail import Mail
from homeport.control.projects import Projects
from homeport.control.spend_alerts import SpendAlerts
from homeport.store.database import Database
from homeport.store.tables import spend_alerts
from homeport.store.usage_rows import UsageRows
from homeport.wire.admin.projects import ProjectCreateRequest
from homeport.wire.admin.spend import SpendAlertNotificationChannel, SpendAlertRequest
from tests import clocks
from tests.control.databases import prepare
from tests.fake_smtp import FakeSmtp, fake_smtp
from tests.store import made_usage

ACTOR = Actor(key_id="key_1")
MARCH = datetime(2026, 3, 15, tzinfo=UTC).timestamp()
APRIL = datetime(2026, 4, 1, tzinfo=UTC).timestamp()
DOLLAR = 10**12


class House:
    """A database with a project, and what has been spent."""

    def __init__(self, database: Database, changes: Changes) -> None:
        self.database = database
        self.rows = UsageRows(database)
        self.alerts = SpendAlerts(changes, organization="org-home")
        self.projects = Projects(changes, ())
        self.blue = ""
        self.spent = 0

    async def build(self) -> None:
        await self.rows.create()
        self.blue = (await self.projects.create(ACTOR, ProjectCreateRequest(name="Blue"))).id

    def alerting(self, mail: Mail | None = None) -> Alerting:
        return Alerting(self.database, self.rows, mail, organization="home")

    async def spend(self, dollars: float, project: str, at: float = MARCH) -> None:
        self.spent += 1
        row = made_usage.row(
            self.spent, started_at=at, project_id=project, cost_pico=int(dollars * DOLLAR), price_lines=None
        )
        await self.rows.write([row])

    async def alert(self, cents: int, project: str | None, prefix: str | None = None) -> str:
        return (await self.alerts.create(ACTOR, project, _asked(cents, prefix))).id

    async def told_for(self, alert: str) -> Any:
        async with self.database.read() as connection:
            return await connection.scalar(sa.select(spend_alerts.c.told_for).where(spend_alerts.c.id == alert))


def _asked(cents: int, prefix: str | None = None) -> SpendAlertRequest:
    channel = SpendAlertNotificationChannel("email", ["ann@example.com", "bob@example.com"], prefix)
    return SpendAlertRequest(threshold_amount=cents, currency="USD", interval="month", notification_channel=channel)


class Hour:
    """The clock, where a test puts it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = MARCH + 60
        clocks.own(monkeypatch, "control.alerting", now=lambda: self.now)


@pytest.fixture
def hour(monkeypatch: pytest.MonkeyPatch) -> Hour:
    return Hour(monkeypatch)


def run(database: Database, test: Callable[[House], Awaitable[None]]) -> None:
    async def whole() -> None:
        house = House(database, await prepare(database))
        try:
            await house.build()
            await test(house)
        finally:
            await house.rows.close()
            await database.close()

    asyncio.run(whole())


def told(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    """What was said since this was asked last."""
    said = [record.getMessage() for record in caplog.records if record.levelno == level]
    caplog.clear()
    return said


def test_it_is_told_once_a_month(database: Database, hour: Hour, caplog: pytest.LogCaptureFixture) -> None:
    async def test(house: House) -> None:
        of_blue, of_all = await house.alert(1000, house.blue), await house.alert(2000, None)
        alerting = house.alerting()
        await house.spend(9.9999, house.blue)
        await house.spend(10.0, "proj_red", at=MARCH - 20 * 86_400)  # in February
        await alerting.tell()
        assert told(caplog) == []
        await house.spend(2.3456, house.blue)
        await alerting.tell()
        await alerting.tell()
        assert told(caplog) == [f"spend alert {of_blue}: project Blue has spent $12.34 of $10.00 in 2026-03"]
        await house.spend(7.7, "proj_red")
        await asyncio.gather(*(house.alerting().tell() for _ in range(4)))
        assert told(caplog) == [f"spend alert {of_all}: organization home has spent $20.04 of $20.00 in 2026-03"]
        assert await house.told_for(of_all) == "2026-03"
        hour.now = APRIL + 5
        await alerting.tell()
        assert told(caplog) == []
        await house.spend(10.0, house.blue, at=APRIL)
        await alerting.tell()
        assert told(caplog) == [f"spend alert {of_blue}: project Blue has spent $10.00 of $10.00 in 2026-04"]

    run(database, test)


def test_nothing_spent_is_nothing_to_tell(database: Database, hour: Hour, caplog: pytest.LogCaptureFixture) -> None:
    async def test(house: House) -> None:
        alert = await house.alert(0, house.blue)
        await house.alerting().tell()
        assert told(caplog) == []
        await house.spend(0.001, house.blue)
        await house.alerting().tell()
        assert told(caplog) == [f"spend alert {alert}: project Blue has spent $0.00 of $0.00 in 2026-03"]

    run(database, test)


def test_another_threshold_is_told_again(database: Database, hour: Hour, caplog: pytest.LogCaptureFixture) -> None:
    async def test(house: House) -> None:
        alert = await house.alert(100, house.blue)
        await house.spend(3, house.blue)
        await house.alerting().tell()
        await house.alerts.modify(ACTOR, house.blue, alert, _asked(200))
        await house.alerting().tell()
        assert [words.partition(" of ")[2] for words in told(caplog)] == ["$1.00 in 2026-03", "$2.00 in 2026-03"]

    run(database, test)


def mail_to(server: FakeSmtp) -> Mail:
    return Mail(server.url("robot:sk-secret@"), "alerts@home.example")


def test_the_e_mail(database: Database, hour: Hour, caplog: pytest.LogCaptureFixture) -> None:
    async def test(house: House) -> None:
        alert = await house.alert(1000, house.blue, prefix="[budget]")
        await house.spend(12.34, house.blue)
        with fake_smtp() as server:
            await asyncio.gather(*(house.alerting(mail_to(server)).tell() for _ in range(3)))
        (letter,) = server.letters
        assert letter.recipients == ["ann@example.com", "bob@example.com"]
        assert letter.message["Subject"].strip() == (
            "[budget] Spend alert: project Blue has spent $12.34 of $10.00 in 2026-03"
        )
        assert alert in letter.message.get_content()
        assert told(caplog) == [f"spend alert {alert}: project Blue has spent $12.34 of $10.00 in 2026-03"]

    run(database, test)


def test_an_e_mail_that_was_not_sent_is_tried_again(
    database: Database, hour: Hour, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(house: House) -> None:
        alert = await house.alert(100, house.blue)
        await house.spend(1, house.blue)
        with fake_smtp() as server:
            alerting = house.alerting(mail_to(server))
            server.refuse["MAIL"] = "451 not now, ann@example.com"
            await alerting.tell()
            await alerting.tell()
            assert server.visits == 2
            assert await house.told_for(alert) is None
            assert caplog.text.count("the server said 451") == 1
            assert told(caplog) == []
            server.refuse.clear()
            server.unknown = {"ann@example.com"}
            await alerting.tell()
            await alerting.tell()
        assert [letter.recipients for letter in server.letters] == [["bob@example.com"]]
        assert await house.told_for(alert) == "2026-03"
        assert "@example.com" not in caplog.text
        assert "sk-secret" not in caplog.text
        assert told(caplog)[1] == f"spend alert {alert}: 1 of its recipients could not be sent to"

    run(database, test)


def test_whoever_was_sending_it_was_killed(database: Database, hour: Hour) -> None:
    async def test(house: House) -> None:
        alert = await house.alert(100, house.blue)
        await house.spend(1, house.blue)
        async with database.write() as connection:
            claim = f"2026-03 until {int(hour.now) + CLAIM_SECONDS}"
            await connection.execute(sa.update(spend_alerts).values(told_for=claim))
        with fake_smtp() as server:
            alerting = house.alerting(mail_to(server))
            await alerting.tell()
            assert server.letters == []
            hour.now += CLAIM_SECONDS
            await alerting.tell()
        assert len(server.letters) == 1
        assert await house.told_for(alert) == "2026-03"

    run(database, test)


def test_an_alert_that_is_changed_while_it_is_told(database: Database, hour: Hour) -> None:
    async def test(house: House) -> None:
        alert = await house.alert(100, house.blue)
        await house.spend(5, house.blue)
        with fake_smtp() as server:
            alerting = house.alerting(mail_to(server))
            send = alerting._send

            async def slow(*given: Any) -> int:
                await house.alerts.modify(ACTOR, house.blue, alert, _asked(500))
                return await send(*given)

            alerting._send = slow  # type: ignore[assignment, method-assign]
            await alerting.tell()
            assert await house.told_for(alert) is None
            await house.alerting(mail_to(server)).tell()
        assert [letter.message["Subject"].partition(" of ")[2] for letter in server.letters] == [
            "$1.00 in 2026-03",
            "$5.00 in 2026-03",
        ]

    run(database, test)
