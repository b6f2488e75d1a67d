"""Data of every form that a released Homeport has written is brought up to date by this one, and nothing is lost.

tests/data/forms/STATE-USAGE holds one home of each pair of forms: rows as SQL (SQLite's), what a killed process left in
its journal and its spill, and the keys. How a release adds its own: docs/backup.md.
"""

import asyncio
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from homeport import backup, doctor, restore
from homeport.settings import Settings
from homeport.store import copies, migrations, tables, usage_tables
from homeport.store.database import Database
from tests.server import KEY, running
from tests.store.servers import PostgresServer, postgres_server

FORMS = sorted((Path(__file__).parents[1] / "data" / "forms").iterdir())
HISTORIES = {"state": tables.metadata, "usage": usage_tables.metadata}
_numbers = count()

Rows = dict[str, list[dict[str, Any]]]


@dataclass
class Old:
    """A data folder, and where it has it a database, as that Homeport left them. rows: of all tables, by column."""

    form: Path
    data: Path
    database_url: str | None
    rows: Rows

    @property
    def table(self) -> dict[str, Any]:
        """Settings."""
        return {"database_url": self.database_url} if self.database_url else {}

    @property
    def settings(self) -> Settings:
        return msgspec.convert({"server": {"data": str(self.data)}, **self.table}, Settings)

    @property
    def keys(self) -> dict[str, str]:
        return tomllib.loads((self.form / "keys.toml").read_text("utf-8"))

    def url(self, history: str) -> str:
        return self.database_url or f"sqlite:///{self.data / history}.db"


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=FORMS, ids=lambda form: form.name)
def old(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> Old:
    form: Path = request.param
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    url = None
    if kind == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.create(f"upgrade_{next(_numbers)}")
    old = Old(form, data, url, {})
    for history, number in zip(HISTORIES, form.name.split("-"), strict=True):
        asyncio.run(made(old.url(history), history, number, (form / f"{history}.sql").read_text("utf-8")))
        old.rows |= asyncio.run(rows(old.url(history), history))
    for left in ("journal", "spill"):
        place = data / left / "abcdefghijklmnop"
        if left == "spill":
            place /= "00000001"
        place.parent.mkdir(parents=True)
        place.write_bytes((form / left).read_bytes())
    return old


async def made(url: str, history: str, number: str, text: str) -> None:
    """Tables of that form, with rows."""
    database = Database(url)
    async with database.write() as connection:
        await migrations.make(connection, history, number)
        for statement in re.sub(r"^--.*$", "", text, flags=re.MULTILINE).split(";\n"):
            if statement.strip():
                ours = statement if database.sqlite else re.sub(r"X'([0-9a-f]*)'", r"'\\x\1'", statement)
                await connection.exec_driver_sql(ours)
        if not database.sqlite:
            for table in (await copies.there(connection, history)).tables.values():
                if "seq" in table.c:
                    last = sa.select(sa.func.max(table.c.seq)).scalar_subquery()
                    owned = sa.func.pg_get_serial_sequence(table.name, "seq")
                    await connection.execute(sa.select(sa.func.setval(owned, sa.func.coalesce(last, 1))))
    await database.close()


async def rows(url: str, history: str) -> Rows:
    """As they are in the tables that are there."""
    database = Database(url)
    found: Rows = {}
    async with database.read() as connection:
        for table in copies.copied(await copies.there(connection, history)):
            query = sa.select(table).order_by(*table.primary_key.columns)
            found[str(table.name)] = [dict(row._mapping) for row in await connection.execute(query)]
    await database.close()
    return found


def now(old: Old) -> Rows:
    """What is there by now, in the columns that there were."""
    found: Rows = {}
    for history in HISTORIES:
        found |= asyncio.run(rows(old.url(history), history))
    return {
        name: [{column: row[column] for column in before[0]} for row in found[name]] if before else []
        for name, before in old.rows.items()
    }


def check_form(old: Old) -> None:
    """The tables are what a new home has."""

    async def differences(history: str) -> list[Any]:
        database = Database(old.url(history))

        def compare(connection: sa.Connection) -> list[Any]:
            context = MigrationContext.configure(connection, opts={"version_table": f"{history}_version"})
            return list(compare_metadata(context, HISTORIES[history]))

        async with database.read() as connection:
            found = await connection.run_sync(compare)
        await database.close()
        names = {table for metadata in HISTORIES.values() for table in metadata.tables}
        mine = HISTORIES[history].tables.keys()
        # On PostgreSQL the other history is in the same database.
        return [one for one in found if not (one[0] == "remove_table" and one[1].name in names - mine)]

    for history in HISTORIES:
        assert [one for one in asyncio.run(differences(history)) if one[0] in ("add_table", "add_column")] == []


def test_it_goes_on_as_if_nothing_had_happened(old: Old) -> None:
    with running(old.data, old.table) as server:
        keys = old.keys
        asked: Any = [{"role": "user", "content": "hello"}]
        for name in ("project", "owner"):
            with openai.OpenAI(base_url=server.base_url, api_key=keys[name]) as client:
                assert client.chat.completions.create(model="echo", messages=asked).choices[0].message.content
        with (
            openai.OpenAI(base_url=server.base_url, api_key=keys["refused"]) as client,
            pytest.raises(openai.AuthenticationError),
        ):
            client.models.list()
        with openai.OpenAI(base_url=server.base_url, api_key="none", admin_api_key=keys["admin"]) as client:
            organization = client.admin.organization
            shown = [project.id for project in organization.projects.list(include_archived=True)]
            assert {row["id"] for row in old.rows["projects"]} == {*shown}
            assert {user.email for user in organization.users.list()} == {row["email"] for row in old.rows["users"]}
            buckets = organization.usage.completions(start_time=1763942400, end_time=1764028800).data
            results: list[Any] = [result for bucket in buckets for result in bucket.results]
            assert sum(result.num_model_requests for result in results) == 5  # with what the killed process left
    check_form(old)
    after = now(old)
    for name, before in old.rows.items():
        if name in ("keys", "revision", "usage_hours"):
            continue  # which change as they are used
        ours = [row for row in after[name] if row in before]
        assert ours == before, name
    # Keys are as they were, but for when they were used; the one of this test is new.
    for row, was in zip(after["keys"], old.rows["keys"], strict=False):
        assert {**row, "last_used_at": None} == {**was, "last_used_at": None}
    assert len(after["keys"]) == len(old.rows["keys"]) + 1
    requests = {row["request_id"] for row in after["usage"]}
    assert sum(row["requests"] for row in after["usage_hours"]) == len(requests)
    assert {f"req_019ab5a1c0000000000000000000000{number}" for number in range(1, 7)} <= requests


def test_new_rows_come_after_the_old_ones(old: Old) -> None:
    with (
        running(old.data, old.table) as server,
        openai.OpenAI(base_url=server.base_url, api_key="none", admin_api_key=KEY) as client,
    ):
        client.admin.organization.projects.create(name="new")
    largest = max(row["seq"] for row in old.rows["audit_logs"])
    after = now(old)["audit_logs"]
    assert len(after) > len(old.rows["audit_logs"])
    assert all(row["seq"] > largest for row in after[len(old.rows["audit_logs"]) :])


def test_it_can_be_backed_up_before_and_restored_after(old: Old, tmp_path: Path) -> None:
    """The form that was backed up is brought up to date where it is restored."""
    made = backup.make(old.settings, tmp_path / "backup.tar")
    assert "-".join(made.forms.values()) == old.form.name
    other = Old(old.form, tmp_path / "other", None, old.rows)
    restore.put_back(other.settings, tmp_path / "backup.tar")
    assert now(other) == old.rows
    check_form(other)
    told = [one for one in doctor.examine(other.settings, deep=True) if not one.ok and not one.optional]
    assert all(one.what.startswith(("model ", "engine ")) for one in told), told


def test_every_form_that_was_released_is_here() -> None:
    """Those of the first release at least, and a folder's name is two forms that there were."""
    assert FORMS[0].name == "0001-0001"
    for form in FORMS:
        state, usage = form.name.split("-")
        assert state <= migrations.HEADS["state"]
        assert usage <= migrations.HEADS["usage"]
