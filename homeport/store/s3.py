"""The bytes of files in an object store that speaks S3 (Amazon's, MinIO, Ceph, Garage, ...): the extra `homeport[s3]`.

An object is the SHA-256 of its bytes, below the prefix. It appears whole or not at all, which is what S3 promises of a
PUT, and of several parts once they are completed. (Parts of an upload that was killed stay in the store, unseen, until
its own rule for them takes them away: docs/files.md.)
"""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from homeport.errors import ContentMissing, SettingsError, StorageFull, Unavailable
from homeport.settings import Files

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Store

log = logging.getLogger("homeport")

#: Bytes of a part of a large object, and of what is read at once: a request each, which ends however slow a client is.
PART = 8 * 2**20
#: Parts on their way at once.
_PARTS = 4
#: Bytes that are given on at once.
PIECE = 2**18
#: Seconds for a question that somebody asks who holds a lock of the database, and for a part over a slow line.
_SHORT = 5.0
_LONG = timedelta(minutes=5)
#: What stores answer that are full: MinIO's, Ceph's, and the status of all.
_FULL = re.compile(r"StorageFull|QuotaExceeded|507 Insufficient")
_STATUS = re.compile(r"status code: (\d+ [A-Za-z ]+)")


class ObjectStore:
    """A Bucket (store/blobs.py)."""

    def __init__(self, store: "Store", prefix: str = "", *, name: str) -> None:
        """prefix: before each object's name. name: for people."""
        import obstore
        from obstore import exceptions

        self._obstore = obstore
        self._error = exceptions.BaseError
        #: The client raises Python's own, whatever its documentation says.
        self._not_there = (exceptions.NotFoundError, FileNotFoundError)
        self._store = store
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._name = name

    @classmethod
    def of(cls, settings: Files) -> "ObjectStore":
        """Raises SettingsError: the URL is none, or the extra is not installed."""
        url = urlsplit(settings.store or "")
        if url.scheme != "s3" or not url.netloc or url.query or url.fragment:
            raise SettingsError(f"files.store: {settings.store!r} is no address of a bucket. Write s3://BUCKET/PREFIX.")
        if (settings.s3_access_key_id is None) != (settings.s3_secret_access_key is None):
            raise SettingsError("files.s3_access_key_id and files.s3_secret_access_key: set both, or none of them.")
        try:
            from obstore.exceptions import BaseError
            from obstore.store import S3Store
        except ModuleNotFoundError:
            raise SettingsError("files.store needs an extra: pip install 'homeport[s3]'.") from None
        config: dict[str, Any] = {
            "endpoint": settings.s3_endpoint,
            "region": settings.s3_region,
            "access_key_id": settings.s3_access_key_id,
            "secret_access_key": settings.s3_secret_access_key,
        }
        try:
            store = S3Store(
                url.netloc,
                client_options={
                    "allow_http": (settings.s3_endpoint or "").startswith("http://"),
                    "connect_timeout": timedelta(seconds=5),
                    "timeout": _LONG,
                },
                retry_config={
                    "max_retries": 3,
                    "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=2), "base": 2},
                    "retry_timeout": timedelta(seconds=30),
                },
                **{name: value for name, value in config.items() if value is not None},
            )
        except BaseError:
            raise SettingsError(
                "files.store: a client for it cannot be made. Look at s3_endpoint and s3_region."
            ) from None
        return cls(store, url.path, name=f"s3://{url.netloc}{url.path}")

    def __str__(self) -> str:
        return self._name

    async def start(self) -> None:
        """Whether it is there shows with the first file: what needs no files goes on without it."""

    async def close(self) -> None:
        """The client has nothing to be closed."""

    async def put(self, file: Path, digest: str) -> None:
        if await self.has(digest):
            return
        with self._reached():
            await self._obstore.put_async(
                self._store, self._prefix + digest, file, chunk_size=PART, max_concurrency=_PARTS
            )

    async def has(self, digest: str) -> bool:
        return await self._size(digest) is not None

    async def read(self, digest: str, begin: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        size = await self._size(digest)
        if size is None:
            raise ContentMissing
        end = size if end is None else min(end, size)
        for at in range(begin, end, PART):
            with self._reached():
                part = await self._obstore.get_range_async(
                    self._store, self._prefix + digest, start=at, end=min(at + PART, end)
                )
            view = memoryview(part)
            for piece in range(0, len(view), PIECE):
                yield bytes(view[piece : piece + PIECE])

    async def delete(self, digest: str) -> None:
        with self._reached():
            try:
                async with asyncio.timeout(_SHORT):
                    await self._obstore.delete_async(self._store, self._prefix + digest)
            except self._not_there:
                pass

    async def digests(self) -> AsyncGenerator[tuple[str, float], None]:
        with self._reached():
            async for page in self._obstore.list(self._store, self._prefix or None):
                for one in page:
                    yield one["path"].removeprefix(self._prefix), one["last_modified"].timestamp()

    async def _size(self, digest: str) -> int | None:
        """Bytes; None: it is not there."""
        with self._reached():
            try:
                async with asyncio.timeout(_SHORT):
                    return (await self._obstore.head_async(self._store, self._prefix + digest))["size"]
            except self._not_there:
                return None

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """The client's words hold addresses and the store's whole answer: none of them goes further than its kind."""
        try:
            yield
        except self._not_there:
            raise ContentMissing from None
        except (self._error, TimeoutError) as error:
            log.error("files cannot be kept in %s: %s", self, _kind(error))
            if _FULL.search(str(error)):
                raise StorageFull("The object store of this server takes no more files.") from None
            raise Unavailable("This server's object store cannot be reached. Try again in a moment.") from None


def _kind(error: Exception) -> str:
    """`PermissionDeniedError: 403 Forbidden`; nothing else of what was answered."""
    status = _STATUS.search(str(error))
    return f"{type(error).__name__}: {status[1].strip() if status else 'no answer'}"
