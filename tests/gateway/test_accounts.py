"""How long a snapshot of keys and limits holds."""

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa

from homeport import clock
from homeport.errors import DatabaseUnavailable, Unavailable
from homeport.gateway.accounts import Accounts
from homeport.gateway.keyring import Keyring
from homeport.store.database import Database
from homeport.store.tables import metadata, revision
from tests import clocks

AGE = 60.0


def test_a_snapshot_holds_for_a_while_after_the_last_look_and_again_after_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [clock.monotonic()]  # ahead, for a server that looks at it is none the worse
    clocks.own(monkeypatch, "gateway.accounts", monotonic=lambda: now[0])

    async def execute(database: Database, *statements: str) -> None:
        async with database.write() as connection:
            for statement in statements:
                await connection.execute(sa.text(statement))

    async def whole() -> None:
        database = Database(f"sqlite:///{tmp_path / 'state.db'}")
        accounts = Accounts(database, organization="home", tier="home", last_used=dict, max_age=AGE)
        keyring = Keyring(accounts.current)
        try:
            with pytest.raises(DatabaseUnavailable):
                accounts.current()  # nobody has looked yet
            async with database.write() as connection:
                await connection.run_sync(metadata.create_all)
                await connection.execute(revision.insert().values(id=1, value=0))
            await accounts.load()
            now[0] += AGE
            assert accounts.current() is accounts.snapshot
            await execute(database, "ALTER TABLE revision RENAME TO elsewhere")
            with pytest.raises(Unavailable):
                await accounts.load()
            now[0] += 0.1
            for look_up in (accounts.current, lambda: keyring.by_id("key_1"), lambda: keyring.principal(b"sk-1")):
                with pytest.raises(DatabaseUnavailable):
                    look_up()
            await execute(database, "ALTER TABLE elsewhere RENAME TO revision")
            await accounts.load()
            now[0] += AGE
            assert accounts.current() is accounts.snapshot, "though nothing has changed since the first look"
        finally:
            await database.close()

    asyncio.run(whole())
