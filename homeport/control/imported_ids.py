"""Ids of what is imported: those that it had, where they are ids and free.

Another is made of the project and of the old id: so whoever imports the same again finds what is there, and nothing is
there twice.
"""

import hashlib
import re
from collections.abc import Collection, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
#: Ids that are asked for at once.
_SOME = 500


def good(name: str | None) -> str | None:
    """It, if it may stay."""
    return name if name is not None and _ID.fullmatch(name) else None


def made(prefix: str, project: str, old: str) -> str:
    return prefix + hashlib.sha256(f"{project} {old}".encode()).hexdigest()[:24]


async def whose(
    connection: AsyncConnection, id: "sa.Column[Any]", owner: "sa.Column[Any]", wanted: Collection[str]
) -> dict[str, Any]:
    """Of the ids those that rows have already, and whose these are."""
    found: dict[str, Any] = {}
    for some in blocks(wanted):
        rows = await connection.execute(sa.select(id, owner).where(id.in_(some)))
        found.update({row[0]: row[1] for row in rows})
    return found


def blocks(wanted: Collection[str]) -> Iterator[list[str]]:
    several = list(wanted)
    return (several[at : at + _SOME] for at in range(0, len(several), _SOME))
