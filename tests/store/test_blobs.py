"""Bytes and the rows that refer to them: one suite over where the bytes are, and over both databases."""

import asyncio
import errno
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import IO, Any

import msgspec
import pytest
import sqlalchemy as sa

from homeport import clock
from homeport.errors import ContentMissing, SettingsError, StorageFull, Unavailable
from homeport.settings import Files, Settings
from homeport.store import blobs as module
from homeport.store import s3, staged, tables
from homeport.store.blobs import Bucket
from homeport.store.database import Database
from homeport.store.folder import Folder
from tests import clocks
from tests.store.fake_s3 import FakeS3, fake_s3
from tests.store.filed import House, digest_of, house, whole
from tests.store.servers import PostgresServer

#: Where the bytes are and where the rows: each of both, the folder and S3 with both databases.
TOGETHER = (
    *(("folder", "sqlite"), ("folder", "postgresql"), ("s3", "sqlite"), ("s3", "postgresql")),
    *(("copying_folder", "sqlite"), ("memory", "postgresql"), ("local", "sqlite")),
)
ROOT = Path(__file__).parents[2]
_numbers = count()


@pytest.fixture
def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that gives a file one name."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "not permitted")

    monkeypatch.setattr(os, "link", refuse)


@pytest.fixture
def s3_server() -> Iterator[FakeS3]:
    with fake_s3() as server:
        yield server


@pytest.fixture(params=TOGETHER, ids="-".join)
def together(request: pytest.FixtureRequest) -> tuple[str, str]:
    pair: tuple[str, str] = request.param
    return pair


@pytest.fixture
def bucket(request: pytest.FixtureRequest, together: tuple[str, str], tmp_path: Path) -> Bucket:
    kind, _ = together
    if kind == "copying_folder":
        request.getfixturevalue("no_links")
    if kind.endswith("folder"):
        return Folder(tmp_path / "blobs")
    from obstore.store import LocalStore, MemoryStore

    if kind == "s3":
        return s3.ObjectStore.of(msgspec.convert(request.getfixturevalue("s3_server").settings, Files))
    if kind == "memory":
        return s3.ObjectStore(MemoryStore(), "a/prefix", name="memory")
    (tmp_path / "local").mkdir()
    return s3.ObjectStore(LocalStore(tmp_path / "local"), name="local")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return database(request, request.param, tmp_path)


def database(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> str:
    """A new one's URL."""
    if kind == "sqlite":
        return f"sqlite:///{tmp_path / 'state.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.create(f"blobs_{next(_numbers)}")


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'state.db'}"


def of(bucket: Bucket, tmp_path: Path) -> Path:
    return bucket.staging if isinstance(bucket, Folder) else tmp_path / "staging"


@pytest.fixture
def run(
    request: pytest.FixtureRequest, together: tuple[str, str], bucket: Bucket, tmp_path: Path
) -> Callable[[Callable[[House], Awaitable[None]]], None]:
    url = database(request, together[1], tmp_path)

    def run(work: Callable[[House], Awaitable[None]]) -> None:
        async def all_of_it() -> None:
            async with house(url, bucket, of(bucket, tmp_path)) as made:
                await work(made)

        asyncio.run(all_of_it())

    return run


Run = Callable[[Callable[[House], Awaitable[None]]], None]


def left_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_what_is_kept_is_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any size: none, a piece and a bit, several parts of an object store."""
    monkeypatch.setattr(s3, "PART", 5 * 2**20)

    async def work(house: House) -> None:
        for size in (0, 1, 2**20 + 7, 12 * 2**20 + 5):
            data = random.Random(size).randbytes(size)
            async with house.blobs.staged(md5=True) as one:
                for at in range(0, size, 70_000):
                    await one.write(data[at : at + 70_000])
                assert (one.bytes, one.digest) == (size, digest_of(data))
                assert one.md5 == hashlib.md5(data, usedforsecurity=False).hexdigest()
                async with house.blobs.keep(one) as connection:
                    await house.refer(connection, one.digest)
            digest = digest_of(data)
            pieces = [piece async for piece in house.blobs.read(digest)]
            assert b"".join(pieces) == data
            assert all(0 < len(piece) <= 2**18 for piece in pieces)
            assert (await house.rows())[digest] == size
            assert digest in await house.there()

    run(work)


def test_a_part_of_it_is_read(run: Run) -> None:
    data = random.Random(1).randbytes(2**18 + 1000)

    async def work(house: House) -> None:
        await house.add(data)
        digest = digest_of(data)
        for begin, end in ((0, 1), (5, 5), (100, 2**18 + 10), (2**18 - 1, None), (2**18 + 1000, None), (3, 2**30)):
            assert await whole(house.blobs, digest, begin, end) == data[begin:end]

    run(work)


def test_the_same_bytes_are_there_once(run: Run) -> None:
    async def work(house: House) -> None:
        first, second = await asyncio.gather(house.add(b"same"), house.add(b"same"))
        assert await house.there() == {digest_of(b"same")}
        await house.remove(first)
        assert await whole(house.blobs, digest_of(b"same")) == b"same"
        await house.remove(second)
        assert await house.there() == set()
        assert await house.rows() == {}

    run(work)


def test_several_are_kept_in_one_transaction_or_none(run: Run, bucket: Bucket, tmp_path: Path) -> None:
    async def work(house: House) -> None:
        async def keep_and_fail() -> None:
            async with house.blobs.staged() as one, house.blobs.staged() as other:
                await one.write(b"output")
                await other.write(b"errors")
                async with house.blobs.keep(one, other) as connection:
                    await house.refer(connection, one.digest)
                    raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await keep_and_fail()
        assert await house.rows() == {}
        assert left_in(of(bucket, tmp_path)) == []

    run(work)


def test_what_is_not_there_is_said_so(run: Run) -> None:
    async def work(house: House) -> None:
        with pytest.raises(ContentMissing):
            await whole(house.blobs, digest_of(b"nothing"))
        await house.blobs.bucket.delete(digest_of(b"nothing"))
        assert not await house.blobs.bucket.has(digest_of(b"nothing"))

    run(work)


def test_what_is_staged_and_not_kept_leaves_nothing(run: Run, bucket: Bucket, tmp_path: Path) -> None:
    async def work(house: House) -> None:
        async with house.blobs.staged() as one:
            await one.write(b"x" * 3_000_000)
            assert len(left_in(of(bucket, tmp_path))) == 1
        assert left_in(of(bucket, tmp_path)) == []
        assert await house.there() == set()

    run(work)


def test_a_writer_that_is_cancelled_leaves_nothing(run: Run, bucket: Bucket, tmp_path: Path) -> None:
    async def work(house: House) -> None:
        async def write(seconds: float) -> None:
            async with asyncio.timeout(seconds), house.blobs.staged() as one:
                while True:
                    await one.write(b"x" * 300_000)

        for seconds in (0.0, 0.001, 0.01, 0.03):
            with pytest.raises(TimeoutError):
                await write(seconds)
        assert left_in(of(bucket, tmp_path)) == []

    run(work)


def test_rows_and_bytes_agree_while_many_come_and_go(run: Run) -> None:
    """The same few contents, added and removed by several at once, and swept meanwhile: no row is ever without bytes,
    and at the end nothing is left."""
    contents = [b"a", b"b" * 1000]

    async def work(house: House) -> None:
        async def come_and_go(seed: int) -> None:
            chance = random.Random(seed)
            for _ in range(15):
                data = chance.choice(contents)
                id = await house.add(data)
                assert await whole(house.blobs, digest_of(data)) == data
                await house.remove(id)

        async def sweep() -> None:
            while True:
                await house.blobs.sweep()
                await asyncio.sleep(0.001)

        sweeper = asyncio.ensure_future(sweep())
        await asyncio.gather(*(come_and_go(seed) for seed in range(4)))
        sweeper.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sweeper
        assert await house.rows() == {}
        assert await house.there() == set()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "OLD", -1.0)  # whatever has no row is old
        run(work)


def test_bytes_that_are_collected_between_put_and_the_lock_are_put_again(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(house: House) -> None:
        bucket = house.blobs.bucket
        put, puts = bucket.put, []

        async def put_and_lose(file: Path, digest: str) -> None:
            await put(file, digest)
            puts.append(digest)
            if len(puts) < 3:
                await bucket.delete(digest)

        monkeypatch.setattr(bucket, "put", put_and_lose)
        await house.add(b"wanted")
        assert len(puts) == 3
        assert await whole(house.blobs, digest_of(b"wanted")) == b"wanted"

    run(work)


def test_a_transaction_that_refers_meanwhile_saves_the_bytes(run: Run) -> None:
    """Whoever collects waits for the row, and then sees that somebody refers to it again."""

    async def work(house: House) -> None:
        first = await house.add(b"again")
        async with house.blobs.staged() as one:
            await one.write(b"again")
            async with house.blobs.keep(one) as connection:
                removing = asyncio.ensure_future(house.remove(first))
                await asyncio.sleep(0.1)
                await house.refer(connection, one.digest)
            await removing
        assert await whole(house.blobs, digest_of(b"again")) == b"again"
        assert await house.there() == {*await house.rows()} == {digest_of(b"again")}

    run(work)


def test_sweeping_takes_what_nobody_refers_to_and_leaves_the_rest(
    run: Run, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(house: House) -> None:
        kept = await house.add(b"kept")
        orphan = tmp_path / "orphan"
        orphan.write_bytes(b"bytes without a row")
        await bucket.put(orphan, digest_of(orphan.read_bytes()))
        async with house.blobs.database.write() as connection:
            row = {"digest": digest_of(b"row of nobody"), "bytes": 1, "created_at": 0}
            await connection.execute(sa.insert(tables.blobs).values(row))
        (of(bucket, tmp_path) / "left").write_bytes(b"half of an upl")
        await house.blobs.sweep()
        assert len(await house.there()) == 2, "what is young may be on its way"
        assert {*await house.rows()} == {digest_of(b"kept")}
        assert len(left_in(of(bucket, tmp_path))) == 1
        now = clock.now() + 2 * staged.OLD
        clocks.own(monkeypatch, "store.blobs", "store.staged", now=lambda: now)
        async with house.blobs.staged() as one:
            await one.write(b"y" * staged.PIECE)
            await house.blobs.sweep()
            assert left_in(of(bucket, tmp_path)) == [one.path], "of one who lives"
        assert await house.there() == {*await house.rows()} == {digest_of(b"kept")}
        await house.remove(kept)
        assert await house.there() == set()

    run(work)


def test_what_cannot_be_deleted_now_is_deleted_later(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(house: House) -> None:
        id = await house.add(b"data")

        async def refuse(digest: str) -> None:
            raise Unavailable("away")

        with monkeypatch.context() as patched:
            patched.setattr(house.blobs.bucket, "delete", refuse)
            await house.remove(id)
        assert "not yet off the disk" in caplog.text
        assert await house.there() == {*await house.rows()} == {digest_of(b"data")}
        await house.blobs.sweep()
        assert await house.there() == {*await house.rows()} == set()

    run(work)


def test_every_reference_counts() -> None:
    """Whatever table gets a foreign key to a blob keeps it from being collected."""
    text = str(module.unwanted())
    for column in ("files.digest", "upload_parts.digest", "batches.digest"):
        assert column in text


class TestFolder:
    def test_it_is_its_owners_and_no_name_of_a_client_is_in_it(self, sqlite_url: str, tmp_path: Path) -> None:
        folder = Folder(tmp_path / "blobs")

        async def work() -> None:
            async with house(sqlite_url, folder, folder.staging) as made:
                await made.add(b"data")

        asyncio.run(work())
        digest = digest_of(b"data")
        assert left_in(tmp_path / "blobs") == [tmp_path / "blobs" / digest[:2] / digest[2:4] / digest]
        assert (tmp_path / "blobs").stat().st_mode & 0o777 == 0o700
        assert left_in(tmp_path / "blobs")[0].stat().st_mode & 0o777 == 0o600

    @pytest.mark.parametrize("where", ["writing", "naming", "copying"])
    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
    def test_a_full_disk_is_said_and_leaves_nothing(
        self, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, number: int
    ) -> None:
        folder = Folder(tmp_path / "blobs")

        def fail(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        async def work() -> None:
            async with house(sqlite_url, folder, folder.staging) as made:
                with monkeypatch.context() as patched:
                    if where == "writing":
                        write = os.write
                        patched.setattr(
                            os, "write", lambda file, data: fail() if len(data) > 2**19 else write(file, data[:1000])
                        )
                    elif where == "naming":
                        patched.setattr(os, "link", fail)
                    else:
                        patched.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(errno.EXDEV, "links")))
                        patched.setattr(shutil, "copyfile", fail)
                    with pytest.raises(StorageFull):
                        await made.add(b"x" * 2**20)
                assert left_in(tmp_path / "blobs") == []
                assert await made.rows() == {}
                await made.add(b"there is room again")

        asyncio.run(work())

    def test_a_limit_of_the_operating_system_is_a_full_disk(self, tmp_path: Path) -> None:
        """Not pretended: the process may write no file longer than a megabyte."""
        program = (
            "import asyncio, resource, signal, sys\n"
            "from pathlib import Path\n"
            "from homeport.errors import StorageFull\n"
            "from homeport.store.staged import Staged\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1000000, 1000000))\n"
            "async def main():\n"
            "    one = Staged(Path(sys.argv[1]))\n"
            "    try:\n"
            "        await one.write(bytes(2000000))\n"
            "    except StorageFull as error:\n"
            "        print(error.status, error.code)\n"
            "    await one.drop()\n"
            "asyncio.run(main())\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, cwd=ROOT
        )
        assert done.stdout == "507 insufficient_storage\n"
        assert [*tmp_path.iterdir()] == []

    def test_a_disk_that_fails_is_unavailable(self, sqlite_url: str, tmp_path: Path) -> None:
        """And what it is told is not what the operating system said."""
        folder = Folder(tmp_path / "blobs")

        async def work() -> None:
            async with house(sqlite_url, folder, folder.staging) as made:
                (tmp_path / "blobs" / "staging").rmdir()
                with pytest.raises(Unavailable) as refused:
                    await made.add(b"data")
                assert str(tmp_path) not in refused.value.message

        asyncio.run(work())

    def test_what_is_deleted_while_it_is_read_is_read_to_its_end(self, sqlite_url: str, tmp_path: Path) -> None:
        folder = Folder(tmp_path / "blobs")
        data = random.Random(2).randbytes(2**20)

        async def work() -> None:
            async with house(sqlite_url, folder, folder.staging) as made:
                id = await made.add(data)
                reading = made.blobs.read(digest_of(data))
                pieces = [await anext(reading)]
                await made.remove(id)
                assert await made.there() == set()
                pieces += [piece async for piece in reading]
                assert b"".join(pieces) == data

        asyncio.run(work())


#: For each number that it is told, a process that keeps a file, removes another, and is killed just before that step.
KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.store.filed import house
from homeport.store import folder
def dying(function, left=[0]):
    def wrapped(*arguments, **named):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return wrapped
async def main():
    where = folder.Folder(Path(sys.argv[2]))
    async with house(sys.argv[1], where, where.staging) as made:
        print(await made.add(b"new"), flush=True)
        await made.remove("file-old")
        print("removed", flush=True)
for line in sys.stdin:
    if (child := os.fork()) == 0:
        left = [int(line)]
        for name in ("open", "write", "fsync", "link", "unlink", "mkdir", "rmdir"):
            setattr(os, name, dying(getattr(os, name), left))
        asyncio.run(main())
        os._exit(0)
    print("status", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_a_process_that_is_killed_anywhere_loses_nothing_and_leaves_nothing(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it said it kept is there; what it said it removed is not; bytes and rows agree once it was swept."""
    folder = Folder(tmp_path / "blobs")
    later = clock.now() + 2 * staged.OLD
    values = {"purpose": "batch", "bytes": 0, "created_at": 0, "status": "uploaded", "filename": "x"}

    async def prepare() -> None:
        async with house(url, folder, folder.staging) as made:
            async with made.blobs.staged() as one:
                await one.write(b"old")
                async with made.blobs.keep(one) as connection:
                    await connection.execute(sa.delete(tables.files))
                    row = {"id": "file-old", "project_id": "proj_1", "digest": one.digest, **values}
                    await connection.execute(sa.insert(tables.files).values(row))
            await made.blobs.release([digest_of(b"new")])

    async def check(said: list[str]) -> None:
        async with house(url, folder, folder.staging) as made:
            with monkeypatch.context() as patched:
                clocks.own(patched, "store.blobs", "store.staged", now=lambda: later)
                await made.blobs.sweep()
            async with made.blobs.database.read() as connection:
                query = sa.select(tables.files.c.id, tables.files.c.digest)
                files = {row.id: row.digest for row in await connection.execute(query)}
            assert await made.there() == {*await made.rows()} == {*files.values()}
            for digest in files.values():
                await whole(made.blobs, digest)
            assert {*said} - {"removed"} <= {*files}
            assert "removed" not in said or "file-old" not in files
        assert left_in(folder.staging) == []

    def life(step: int, orders: IO[str], answers: IO[str]) -> int:
        asyncio.run(prepare())
        orders.write(f"{step}\n")
        orders.flush()
        said: list[str] = []
        while not (line := answers.readline()).startswith("status"):
            assert line
            said.append(line.strip())
        asyncio.run(check(said))
        return int(line.split()[1])

    with subprocess.Popen(
        [sys.executable, "-c", KILLED, url, str(tmp_path / "blobs")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        every = 1 if url.startswith("sqlite") else 3
        endings = [life(step, process.stdin, process.stdout) for step in range(0, 33, every)]
        process.stdin.close()
    killed = endings.count(-signal.SIGKILL)
    assert killed > 15 // every
    assert endings == [-signal.SIGKILL] * killed + [0] * (len(endings) - killed), "the last ones run to their end"
    assert 0 in endings


class TestObjectStore:
    def of(self, server: FakeS3, **settings: Any) -> s3.ObjectStore:
        return s3.ObjectStore.of(msgspec.convert({**server.settings, **settings}, Files))

    def test_large_ones_come_in_parts(
        self, sqlite_url: str, tmp_path: Path, s3_server: FakeS3, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(s3, "PART", 5 * 2**20)
        data = random.Random(3).randbytes(12 * 2**20)

        async def work() -> None:
            async with house(sqlite_url, self.of(s3_server), tmp_path / "staging") as made:
                await made.add(data)
                await made.add(data)
                assert await whole(made.blobs, digest_of(data)) == data

        asyncio.run(work())
        assert {*s3_server.objects} == {f"some/prefix/{digest_of(data)}"}
        assert sum("partNumber" in request for request in s3_server.requests) == 3, "and once"
        assert s3_server.parts == {}

    def test_a_wrong_key_is_said_and_not_shown(
        self, sqlite_url: str, tmp_path: Path, s3_server: FakeS3, caplog: pytest.LogCaptureFixture
    ) -> None:
        bucket = self.of(s3_server, s3_secret_access_key="another/secret")

        async def work() -> None:
            async with house(sqlite_url, bucket, tmp_path / "staging") as made:
                with pytest.raises(Unavailable) as refused:
                    await made.add(b"data")
                assert await made.rows() == {}
                for told in (refused.value.message, caplog.text):
                    assert "secret" not in told
                    assert digest_of(b"data") not in told
                assert "403 Forbidden" in caplog.text

        asyncio.run(work())

    @pytest.mark.parametrize(("status", "wanted"), [(507, StorageFull), (500, Unavailable), (400, Unavailable)])
    def test_a_store_that_refuses(
        self,
        sqlite_url: str,
        tmp_path: Path,
        s3_server: FakeS3,
        status: int,
        wanted: type[Exception],
    ) -> None:
        s3_server.answer = lambda method, path: status if method == "PUT" else None

        async def work() -> None:
            async with house(sqlite_url, self.of(s3_server), tmp_path / "staging") as made:
                with pytest.raises(wanted):
                    await made.add(b"data")
                assert await made.rows() == {}
                assert left_in(tmp_path / "staging") == []
                s3_server.answer = lambda method, path: None
                await made.add(b"data")
                assert await made.there() == {digest_of(b"data")}

        asyncio.run(work())

    def test_a_store_that_hangs_holds_up_nobody_for_long(
        self, sqlite_url: str, tmp_path: Path, s3_server: FakeS3, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Least of all who waits for the database, whose lock is held while it is asked."""
        monkeypatch.setattr(s3, "_SHORT", 0.1)

        async def work() -> None:
            async with house(sqlite_url, self.of(s3_server), tmp_path / "staging") as made:
                id = await made.add(b"data")
                s3_server.hang = threading.Event()
                with pytest.raises(Unavailable):
                    await made.add(b"more")
                await made.remove(id)
                s3_server.hang.set()
                s3_server.hang = None
                await made.blobs.sweep()
                assert await made.there() == {*await made.rows()} == set()

        asyncio.run(work())

    def test_a_store_that_is_not_there(self, sqlite_url: str, tmp_path: Path, s3_server: FakeS3) -> None:
        bucket = self.of(s3_server, s3_endpoint="http://127.0.0.1:9")

        async def work() -> None:
            async with house(sqlite_url, bucket, tmp_path / "staging") as made:
                with pytest.raises(Unavailable):
                    await made.add(b"data")

        asyncio.run(work())

    @pytest.mark.parametrize("store", ["https://x/y", "s3:///prefix", "bucket", "s3://bucket/a?b"])
    def test_an_address_that_is_none(self, s3_server: FakeS3, store: str) -> None:
        with pytest.raises(SettingsError, match="s3://BUCKET/PREFIX"):
            self.of(s3_server, store=store)

    def test_half_a_key(self, s3_server: FakeS3) -> None:
        with pytest.raises(SettingsError, match="s3_secret_access_key"):
            self.of(s3_server, s3_secret_access_key=None)

    def test_a_missing_extra_is_named(self, s3_server: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == "obstore"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "obstore", None)
        with pytest.raises(SettingsError, match=r"pip install 'homeport\[s3\]'"):
            self.of(s3_server)


def test_the_settings_choose(tmp_path: Path, s3_server: FakeS3) -> None:
    def chosen(**files: Any) -> str:
        settings = msgspec.convert({"server": {"data": str(tmp_path)}, "files": files}, Settings)
        database = Database(settings.state_url)
        asyncio.run(database.close())
        return str(module.chosen(settings, database).bucket)

    assert chosen() == str(tmp_path / "blobs")
    assert chosen(folder=str(tmp_path / "elsewhere")) == str(tmp_path / "elsewhere")
    assert chosen(**s3_server.settings) == "s3://homeport-test/some/prefix"
