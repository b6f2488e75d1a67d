"""Projects without a tier of their own rise by what was paid and since when, and never fall."""

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa

from homeport.books import Books
from homeport.errors import SettingsError
from homeport.gateway.accounts import Accounts
from homeport.gateway.graduation import DAY, Graduation
from homeport.gateway.tiers import LADDER, Tiers
from homeport.settings import Limits, Server, Settings
from homeport.store.database import Database
from homeport.store.tables import keys, metadata, projects, revision
from homeport.store.usage_rows import UsageRows
from tests import clocks
from tests.store import made_usage

DOLLAR = 10**12
#: Days after the first payment, dollars paid that day, the tier from then on.
STORY = [
    (0, "0", "trial"),
    (0, "4.999999999999", "trial"),
    (0, "0.000000000001", "1"),
    (1, "100", "1"),  # enough for tier 3, too early for tier 2
    (7.1, "0", "3"),
    (7.1, "145", "3"),
    (14.1, "0", "4"),
    (15, "750", "4"),
    (30.1, "0", "5"),
    (90, "0", "5"),
]


def test_the_way_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [float(made_usage.START)]
    clocks.own(monkeypatch, "gateway.graduation", now=lambda: now[0])

    async def whole() -> None:
        database = Database(f"sqlite:///{tmp_path / 'all.db'}")
        rows = UsageRows(database)
        try:
            await rows.create()
            await _two_projects(database)
            accounts = Accounts(database, organization="home", tier=LADDER[0], last_used=dict)
            graduation = Graduation(accounts, Tiers(), rows)
            await accounts.load()
            paid = 0
            for place, (days, dollars, tier) in enumerate(STORY):
                now[0] = made_usage.START + days * DAY
                pico = int(dollars.replace(".", "").ljust(12 + len(dollars.partition(".")[0]), "0"))
                paid += pico
                await rows.write([made_usage.row(place, started_at=now[0], cost_pico=pico, price_lines=None)])
                before = accounts.snapshot
                await graduation.look()
                snapshot = accounts.snapshot
                assert snapshot.by_id["key_plain"].tier == snapshot.keyless.tier == tier, (days, paid / DOLLAR)
                assert snapshot.by_id["key_own"].tier == "2"
                assert (snapshot is before) is (snapshot.tier == before.tier), "principals change with their tier alone"
        finally:
            await rows.close()
            await database.close()

    asyncio.run(whole())


async def _two_projects(database: Database) -> None:
    async with database.write() as connection:
        await connection.run_sync(metadata.create_all)
        await connection.execute(revision.insert().values(id=1, value=0))
        for name, tier in (("plain", None), ("own", "2")):
            await connection.execute(sa.insert(projects).values(id=name, name=name, created_at=1, tier=tier))
            values = {"kind": "project", "name": "k", "sha256": name.encode(), "redacted": "", "created_at": 1}
            await connection.execute(sa.insert(keys).values(id=f"key_{name}", project_id=name, **values))


def test_a_tier_in_the_settings_and_graduation_are_two_answers_to_one_question(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"limits\.tier and limits\.graduate"):
        Books(Settings(server=Server(data=str(tmp_path)), limits=Limits(tier="2", graduate=True)))
