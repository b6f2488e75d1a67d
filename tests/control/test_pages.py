"""Pages of a list against a list of Python's: every window there is."""

import asyncio
from itertools import product

import pytest
import sqlalchemy as sa

from homeport.control import pages
from homeport.control.pages import Window
from homeport.errors import InvalidRequest
from homeport.store.database import Database
from homeport.store.tables import projects
from tests.control.databases import prepare

NAMES = [f"proj_{number}" for number in range(5)]
PLACES = (None, *NAMES)
WINDOWS = [Window(*told) for told in product((0, 1, 2, 5, 9), PLACES, PLACES, (False, True))]


def expected(window: Window) -> tuple[list[str], bool]:
    rows = NAMES[::-1] if window.descending else NAMES
    first = rows.index(window.after) + 1 if window.after else 0
    last = rows.index(window.before) if window.before else len(rows)
    rows = rows[first:last]
    kept = rows[-window.limit :] if window.backwards else rows[: window.limit]
    return (kept if window.limit else []), len(rows) > window.limit


def test_every_window(database: Database) -> None:
    async def whole() -> None:
        await prepare(database)
        async with database.write() as connection:
            await connection.execute(projects.insert(), [{"id": name, "name": "x", "created_at": 1} for name in NAMES])
        async with database.read() as connection:
            for window in WINDOWS:
                found = await pages.page(connection, sa.select(projects), window, seq=projects.c.seq, id=projects.c.id)
                assert ([row.id for row in found.rows], found.has_more) == expected(window), window
        await database.close()

    asyncio.run(whole())


def test_every_window_of_a_list_that_was_put_together() -> None:
    for window in WINDOWS:
        assert pages.among(NAMES, window) == expected(window), window


@pytest.mark.parametrize("window", [Window(after="proj_9"), Window(before="proj_9")])
def test_no_such_place_in_it(window: Window) -> None:
    with pytest.raises(InvalidRequest, match="there is no 'proj_9' in this list"):
        pages.among(NAMES, window)
