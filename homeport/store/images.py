"""Pictures that were made, under names that nobody guesses, until they expire. Their bytes are in store/blobs.py.

made -> there -> expired, or its project archived     at once nobody sees it; its bytes go within a minute, unless
                                                      something else refers to them
"""

import re
from collections.abc import AsyncGenerator, Sequence
from typing import Final, Literal, NamedTuple

import sqlalchemy as sa

from homeport import clock, ids
from homeport.store.blobs import Blobs
from homeport.store.staged import Staged
from homeport.store.tables import images, projects

#: Media type -> how the name in an address ends.
ENDINGS: Final = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
MediaType = Literal["image/png", "image/jpeg", "image/webp"]
_NAME = re.compile(r"[A-Za-z0-9]{43}")
#: Rows that are taken away in one transaction.
_SOME = 500


class Made(NamedTuple):
    """A picture that is not kept yet."""

    staged: Staged
    media_type: MediaType


class Picture(NamedTuple):
    """One that is. seconds: that it will be there."""

    digest: str
    media_type: str
    bytes: int
    seconds: int


class Images:
    def __init__(self, blobs: Blobs, *, seconds: int) -> None:
        """seconds: that a picture is there."""
        self.blobs: Final = blobs
        self._seconds = seconds

    async def keep(self, project: str, made: Sequence[Made], *, more_seconds: int = 0) -> list[str]:
        """What their addresses end with, in their order. Raises StorageFull, Unavailable."""
        now = int(clock.now())
        names = [ids.image() for _ in made]
        rows = [
            {
                "name": name,
                "project_id": project,
                "digest": one.staged.digest,
                "media_type": one.media_type,
                "bytes": one.staged.bytes,
                "created_at": now,
                "expires_at": now + self._seconds + more_seconds,
            }
            for name, one in zip(names, made, strict=True)
        ]
        async with self.blobs.keep(*[one.staged for one in made]) as connection:
            await connection.execute(images.insert(), rows)
        return [f"{name}.{ENDINGS[one.media_type]}" for name, one in zip(names, made, strict=True)]

    async def find(self, ending: str) -> Picture | None:
        """ending: of an address. None: there is none, or not any more. Raises Unavailable."""
        name, _, kind = ending.rpartition(".")
        if not _NAME.fullmatch(name):
            return None  # whatever it is, no database is asked for it
        now = int(clock.now())
        query = (
            sa.select(images)
            .join(projects, projects.c.id == images.c.project_id)
            .where(images.c.name == name, images.c.expires_at > now, projects.c.archived_at.is_(None))
        )
        async with self.blobs.database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None or ENDINGS.get(row.media_type) != kind:
            return None
        return Picture(row.digest, row.media_type, row.bytes, row.expires_at - now)

    def read(self, picture: Picture) -> AsyncGenerator[bytes, None]:
        """Raises ContentMissing, Unavailable."""
        return self.blobs.read(picture.digest)

    async def expire(self) -> None:
        """Take away what nobody can see any more. Raises Unavailable."""
        while digests := await self._expire_some():
            await self.blobs.release(digests)

    async def _expire_some(self) -> Sequence[str]:
        archived = sa.select(projects.c.id).where(projects.c.archived_at.is_not(None))
        over = sa.or_(images.c.expires_at <= int(clock.now()), images.c.project_id.in_(archived))
        async with self.blobs.database.read() as connection:
            found = (await connection.scalars(sa.select(images.c.name).where(over).limit(_SOME))).all()
        if not found:
            return []
        async with self.blobs.database.write() as connection:
            gone = sa.delete(images).where(images.c.name.in_(found)).returning(images.c.digest)
            return (await connection.scalars(gone)).all()
