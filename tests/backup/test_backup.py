"""What is backed up comes back, from either database to either; what is cut or damaged says so."""

import asyncio
import random
import shutil
import signal
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
import sqlalchemy as sa

from homeport import app, backup, cli, clock, doctor, keys, restore
from homeport.errors import SettingsError
from homeport.store import blobs, copies, holds, restoring, staged, tables
from tests import clocks
from tests.backup.conftest import New
from tests.backup.dying import Run, processes
from tests.backup.houses import CONTENTS, Data, digest, is_whole
from tests.server import running
from tests.store.fake_s3 import fake_s3
from tests.store.filed import House

KINDS = ("sqlite", "postgresql")


@pytest.fixture(params=KINDS)
def data(request: pytest.FixtureRequest, new: New) -> Data:
    """With some of everything."""
    return new(request.param, full=True)


@pytest.fixture
def filled(new: New) -> Data:
    """SQLite's, with some of everything."""
    return new("sqlite", full=True)


@pytest.fixture(scope="module")
def dying() -> Iterator[Run]:
    with processes() as run:
        yield run


def findings(data: Data) -> list[str]:
    """What the doctor has to say of the stored things."""
    found = doctor.examine(data.settings, deep=True)
    machine = ("engine ", "model ")
    return [one.what for one in found if not one.ok and not one.optional and not one.what.startswith(machine)]


@pytest.mark.parametrize("kind", KINDS)
def test_everything_comes_back(data: Data, new: New, tmp_path: Path, kind: str) -> None:
    """And numbers go on where they were: a row that was deleted before had the largest, and no other row gets it."""
    alike = (kind == "sqlite") == (data.database_url is None)
    target = tmp_path / ("backup" if alike else "backup.tar")
    made = backup.make(data.settings, target)
    assert made.damaged == []
    other = new(kind)
    restore.put_back(other.settings, target)
    assert other.rows() == data.rows()
    assert other.contents() == data.contents()
    assert sorted(other.contents().values()) == sorted(CONTENTS)
    assert other.shown() == b"drawn"
    assert findings(other) == []
    if kind == "sqlite":
        assert is_whole(other.data / "state.db")
        assert is_whole(other.data / "usage.db")

    async def next_number(house: House) -> int:
        await house.add(b"new")
        async with house.blobs.database.read() as connection:
            return int((await connection.execute(sa.select(sa.func.max(tables.files.c.seq)))).scalar_one())

    # PostgreSQL counts what it has given, SQLite what it has seen.
    assert other.run(next_number) > (5000 if data.database_url is None else 3)


def test_keys_work_after_it_and_no_key_is_in_it(filled: Data, new: New, tmp_path: Path) -> None:
    key = filled.key
    backup.make(filled.settings, tmp_path / "backup")
    other = new("sqlite")
    restore.put_back(other.settings, tmp_path / "backup")
    with running(other.data) as server, openai.OpenAI(base_url=server.base_url, api_key=key) as client:
        asked: Any = [{"role": "user", "content": "hello"}]
        assert client.chat.completions.create(model="echo", messages=asked).choices[0].message.content
    written = [path for path in (tmp_path / "backup").rglob("*") if path.is_file()]
    assert len(written) > 10
    for path in written:
        assert key.encode() not in path.read_bytes()
        assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "backup").stat().st_mode & 0o777 == 0o700


def test_a_tar_file_is_one_for_everybody(filled: Data, tmp_path: Path) -> None:
    backup.make(filled.settings, tmp_path / "backup.tar")
    assert (tmp_path / "backup.tar").stat().st_mode & 0o777 == 0o600
    with tarfile.open(tmp_path / "backup.tar") as tar:
        assert tar.getnames()[-1] == "manifest.json"
        assert {info.mode for info in tar} == {0o600}
        for data in CONTENTS:
            name = f"blobs/{digest(data)[:2]}/{digest(data)[2:4]}/{digest(data)}"
            file = tar.extractfile(name)
            assert file is not None
            assert file.read() == data


def test_large_tables_come_in_parts(data: Data, new: New, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "PART", 100_000)
    made = backup.make(data.settings, tmp_path / "backup")
    assert next(len(table.parts) for table in made.tables if table.name == "usage") > 2
    other = new("sqlite")
    restore.put_back(other.settings, tmp_path / "backup")
    assert other.rows() == data.rows()


def test_an_object_store_is_in_it(new: New, tmp_path: Path) -> None:
    with fake_s3() as store:
        data = new("sqlite")
        data.files = store.settings
        data.fill()
        backup.make(data.settings, tmp_path / "backup")
        before = dict(store.objects)
        store.objects.clear()
        other = new("sqlite")
        restore.put_back(other.settings, tmp_path / "backup")
        assert other.contents() == {**other.contents()}
        assert sorted(other.contents().values()) == sorted(CONTENTS)
        again = new("sqlite")
        again.files = store.settings
        restore.put_back(again.settings, tmp_path / "backup")
        assert {name: bytes for name, (bytes, _) in store.objects.items()} == {
            name: bytes for name, (bytes, _) in before.items()
        }
        assert findings(again) == []


def test_models_come_along_where_that_is_wished(filled: Data, new: New, tmp_path: Path) -> None:
    model = filled.data / "models" / "mine" / "weights.gguf"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"GGUF" * 1000)
    backup.make(filled.settings, tmp_path / "without")
    made = backup.make(filled.settings, tmp_path / "with", models=True)
    assert not (tmp_path / "without" / "models").exists()
    assert list(made.models) == ["mine/weights.gguf"]
    other = new("sqlite")
    restore.put_back(other.settings, tmp_path / "with")
    assert (other.data / "models" / "mine" / "weights.gguf").read_bytes() == b"GGUF" * 1000


class TestWhileServing:
    @pytest.mark.parametrize("kind", KINDS)
    def test_files_that_come_and_go(self, new: New, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Others add and delete files all the time, and sweep: each backup is of one moment, with every byte."""
        data = new(kind, full=True)
        monkeypatch.setattr(blobs, "OLD", -1.0)
        config = data.arguments(tmp_path / "homeport.toml")

        async def work(house: House) -> int:
            ended = asyncio.Event()
            changes = 0

            async def come_and_go(seed: int) -> None:
                nonlocal changes
                chance = random.Random(seed)
                mine: list[str] = []
                while not ended.is_set():
                    if len(mine) > 5 or (mine and chance.random() < 0.5):
                        await house.remove(mine.pop(chance.randrange(len(mine))))
                    else:
                        mine.append(await house.add(b"%d" % chance.randrange(40) * 10_000))
                    changes += 1

            async def sweep() -> None:
                while not ended.is_set():
                    await house.blobs.sweep()
                    await asyncio.sleep(0.01)

            async with asyncio.TaskGroup() as group:
                for seed in range(3):
                    group.create_task(come_and_go(seed))
                group.create_task(sweep())
                for number in range(2):
                    process = await asyncio.create_subprocess_exec(
                        sys.executable, "-m", "homeport", "backup", str(tmp_path / f"backup-{number}"), *config
                    )
                    assert await process.wait() == 0
                ended.set()
            return changes

        assert data.run(work) > 50
        for number in range(2):
            other = new("sqlite")
            restore.put_back(other.settings, tmp_path / f"backup-{number}")
            assert findings(other) == []
            assert set(other.contents().values()) >= set(CONTENTS)
        assert data.rows()["files"]

    def test_nothing_is_collected_meanwhile_and_all_of_it_later(
        self, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def work(house: House) -> None:
            async def there() -> bool:
                return await house.blobs.bucket.has(digest(b"short-lived"))

            file = await house.add(b"short-lived")
            async with holds.holding(house.blobs.database):
                await house.remove(file)
                await house.blobs.sweep()
                assert await there()
            await house.blobs.sweep()
            assert not await there()

        data.run(work)

    def test_a_backup_that_was_killed_holds_nothing_up_for_long(
        self, data: Data, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def work(house: House) -> None:
            hold = holds.Hold(house.blobs.database)
            await hold.begin()
            await house.remove(await house.add(b"short-lived"))
            await house.blobs.sweep()
            assert await house.blobs.bucket.has(digest(b"short-lived"))
            later = clock.now() + holds.LEASE_SECONDS + 1
            clocks.own(monkeypatch, "store.holds", "store.blobs", "store.staged", now=lambda: later)
            await house.blobs.sweep()
            assert not await house.blobs.bucket.has(digest(b"short-lived"))
            monotonic = clock.monotonic() + holds.LEASE_SECONDS
            clocks.own(monkeypatch, "store.holds", now=lambda: later, monotonic=lambda: monotonic)
            with pytest.raises(SettingsError, match="Make it anew"):
                await hold.beat()

        data.run(work)

    def test_a_long_one_holds_on(self, data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
        async def work(house: House) -> None:
            async with holds.holding(house.blobs.database) as hold:
                ahead = 0
                now, monotonic = clock.now(), clock.monotonic()
                clocks.own(monkeypatch, "store.holds", now=lambda: now + ahead, monotonic=lambda: monotonic + ahead)
                for _ in range(4):
                    ahead += 300
                    await hold.beat()
                await house.remove(await house.add(b"short-lived"))
                assert await house.blobs.bucket.has(digest(b"short-lived"))

        data.run(work)


class TestCut:
    def test_a_backup_that_was_killed_is_none(self, filled: Data, new: New, tmp_path: Path, dying: Run) -> None:
        """And the next one to the same place is not held up by what it left."""
        config = filled.arguments(tmp_path / "homeport.toml")
        for target in (tmp_path / "backup.tar", tmp_path / "backup"):
            endings = []
            for step in range(0, 120, 1 if target.suffix else 7):
                endings.append(dying(step, ["backup", target, *config]))
                if target.exists():
                    break  # it has its name last, and is whole
                assert endings[-1] == -signal.SIGKILL
            assert len(endings) > 4
            other = new("sqlite")
            restore.put_back(other.settings, target)
            assert other.contents() == filled.contents()

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_restore_that_was_killed_says_so(
        self, filled: Data, new: New, tmp_path: Path, dying: Run, kind: str
    ) -> None:
        """Wherever it was: either nothing has begun, or nobody serves it, and it can be begun again."""
        backup.make(filled.settings, tmp_path / "backup")
        wanted = filled.rows()
        endings, cut = [], 0
        for step in range(0, 200, 15 if kind == "sqlite" else 25):
            other = new(kind)
            config = other.arguments(tmp_path / "homeport.toml")
            endings.append(dying(step, ["restore", tmp_path / "backup", *config]))
            if endings[-1] == 0:
                break
            if restoring.is_cut(other.data):
                cut += 1
                with pytest.raises(SettingsError, match="Run `homeport restore` again"):
                    app.build(other.settings)
                with pytest.raises(SettingsError, match="Run `homeport restore` again"):
                    keys.create(other.settings, "too early")
                assert any("has not come to its end" in what for what in findings(other))
            else:
                assert not (other.data / "state.db").exists()
            restore.put_back(other.settings, tmp_path / "backup")
            assert other.rows() == wanted
            assert findings(other) == []
        assert endings.count(-signal.SIGKILL) == len(endings) - 1
        assert endings[-1] == 0
        assert cut > 1

    def test_a_full_disk(self, filled: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Not pretended: files may not grow beyond 100 kB."""
        config = filled.arguments(tmp_path / "homeport.toml")
        program = (
            "import resource, signal, sys\n"
            "from homeport.cli import main\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))\n"
            "main(sys.argv[1:])\n"
        )

        async def make(target: Path) -> tuple[int | None, bytes]:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", program, "backup", str(target), *config), stderr=asyncio.subprocess.PIPE
            )
            _, said = await process.communicate()
            return process.returncode, said

        for target in (tmp_path / "backup", tmp_path / "backup.tar"):
            status, said = asyncio.run(make(target))
            assert status == 2
            assert b"cannot be written" in said
            assert b"File too large" in said
            assert [*tmp_path.glob("backup*")] == []


class TestRefused:
    def test_a_place_where_something_is(self, filled: Data, tmp_path: Path) -> None:
        (tmp_path / "backup").mkdir()
        backup.make(filled.settings, tmp_path / "backup")
        for target in ("backup", "homeport.tar"):
            (tmp_path / "homeport.tar").write_bytes(b"")
            with pytest.raises(SettingsError, match="is there already"):
                backup.make(filled.settings, tmp_path / target)

    @pytest.mark.parametrize("kind", KINDS)
    def test_nothing_to_back_up(self, new: New, tmp_path: Path, kind: str) -> None:
        with pytest.raises(SettingsError, match="nothing to back up"):
            backup.make(new(kind).settings, tmp_path / "backup")
        assert [*tmp_path.glob("*")] == []

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_target_with_a_state_unless_forced(self, filled: Data, new: New, tmp_path: Path, kind: str) -> None:
        backup.make(filled.settings, tmp_path / "backup")
        other = new(kind, full=True)
        other.run(lambda house: house.add(b"and one more"))
        before = other.rows()
        with pytest.raises(SettingsError, match="--force"):
            restore.put_back(other.settings, tmp_path / "backup")
        assert other.rows() == before
        assert not restoring.is_cut(other.data)
        restore.put_back(other.settings, tmp_path / "backup", force=True)
        assert other.rows() == filled.rows()
        assert findings(other) == []

    def test_a_homeport_that_runs(self, filled: Data, new: New, tmp_path: Path) -> None:
        backup.make(filled.settings, tmp_path / "backup")
        other = new("sqlite")
        with running(other.data), pytest.raises(SettingsError, match="Stop it first"):
            restore.put_back(other.settings, tmp_path / "backup", force=True)

    def test_somebody_who_is_connected(self, filled: Data, new: New, tmp_path: Path) -> None:
        backup.make(filled.settings, tmp_path / "backup")
        other = new("postgresql")
        elsewhere = Data(tmp_path / "elsewhere", other.database_url)
        with running(elsewhere.data, elsewhere.table), pytest.raises(SettingsError, match="Stop every Homeport"):
            restore.put_back(other.settings, tmp_path / "backup", force=True)
        assert not restoring.is_cut(other.data)

    @pytest.mark.parametrize("what", ["blob", "rows", "gone", "cut tar", "no manifest", "no backup"])
    def test_a_damaged_backup_before_anything_is_written(
        self, filled: Data, new: New, tmp_path: Path, what: str
    ) -> None:
        target = tmp_path / ("backup.tar" if what == "cut tar" else "backup")
        backup.make(filled.settings, target)
        if what == "blob":
            file = next(path for path in target.glob("blobs/*/*/*") if path.stat().st_size)
            file.write_bytes(b"x" + file.read_bytes()[1:])
        elif what == "rows":
            file = target / "state" / "keys-00001.msgpack"
            file.write_bytes(file.read_bytes()[:-1])
        elif what == "gone":
            next(target.glob("blobs/*/*/*")).unlink()
        elif what == "cut tar":
            target.write_bytes(target.read_bytes()[:-12_000])
        elif what == "no manifest":
            (target / "manifest.json").unlink()
        else:
            shutil.rmtree(target)
        other = new("sqlite")
        with pytest.raises(SettingsError, match=r"damaged|cut|no backup"):
            restore.put_back(other.settings, target)
        assert not other.data.exists()

    @pytest.mark.parametrize("change", [{"format": 2}, {"forms": {"state": "9999"}}])
    def test_one_of_a_newer_homeport(self, filled: Data, new: New, tmp_path: Path, change: dict[str, Any]) -> None:
        backup.make(filled.settings, tmp_path / "backup")
        manifest = tmp_path / "backup" / "manifest.json"
        manifest.write_bytes(msgspec.json.encode({**msgspec.json.decode(manifest.read_bytes()), **change}))
        with pytest.raises(SettingsError, match="newer Homeport"):
            restore.put_back(new("sqlite").settings, tmp_path / "backup")

    def test_rows_that_the_other_database_cannot_hold(self, filled: Data, new: New, tmp_path: Path) -> None:
        """PostgreSQL has no text with a zero in it. Nothing of its state has changed."""

        async def name_it(house: House) -> None:
            async with house.blobs.database.write() as connection:
                await connection.execute(sa.update(tables.files).values(filename="secret\0name"))

        filled.run(name_it)
        backup.make(filled.settings, tmp_path / "backup")
        other = new("postgresql", full=True)
        before = other.rows()
        with pytest.raises(SettingsError, match="does not take the rows of files") as refused:
            restore.put_back(other.settings, tmp_path / "backup", force=True)
        assert "secret" not in str(refused.value)
        assert other.rows() == before
        assert restoring.is_cut(other.data)

    def test_a_model_of_a_name_that_leads_elsewhere(self, filled: Data, new: New, tmp_path: Path) -> None:
        (filled.data / "models").mkdir()
        (filled.data / "models" / "x").write_bytes(b"x")
        backup.make(filled.settings, tmp_path / "backup", models=True)
        manifest = tmp_path / "backup" / "manifest.json"
        (tmp_path / "backup" / "escaped").write_bytes(b"x")
        manifest.write_bytes(manifest.read_bytes().replace(b'"x": {', b'"../escaped": {'))
        other = new("sqlite")
        with pytest.raises(SettingsError, match="no name of a model"):
            restore.put_back(other.settings, tmp_path / "backup")
        assert not (other.data / "escaped").exists()


def job(subject: str) -> dict[str, Any]:
    """One that runs, or did: its worker has not been heard of for long."""
    some = {"id": "job_1", "owner": "gone", "lane": "batch", "kind": "batch", "status": "running", "priority": 0}
    return {**some, "subject": subject, "run_at": 0.0, "fence": 1, "attempt": 1, "cancel_requested": False}


@pytest.mark.parametrize("kind", KINDS)
def test_jobs_that_ran_then_wait_for_a_worker_of_now(filled: Data, new: New, tmp_path: Path, kind: str) -> None:
    async def add(house: House) -> None:
        async with house.blobs.database.write() as connection:
            await connection.execute(sa.insert(tables.jobs).values(job("something")))

    filled.run(add)
    backup.make(filled.settings, tmp_path / "backup")
    other = new(kind)
    restore.put_back(other.settings, tmp_path / "backup")

    async def states(house: House) -> list[tuple[str, str | None]]:
        async with house.blobs.database.read() as connection:
            return [(row.status, row.owner) for row in await connection.execute(sa.select(tables.jobs))]

    assert other.run(states) == [("queued", None)]
    assert findings(other) == []


@pytest.mark.parametrize("target", ["backup", "backup.tar"])
def test_files_that_were_damaged_already_are_named_and_the_rest_is_in_it(
    filled: Data, new: New, tmp_path: Path, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shorter, gone = digest(CONTENTS[2]), digest(b"one")
    folder = filled.data / "blobs"
    (folder / shorter[:2] / shorter[2:4] / shorter).write_bytes(CONTENTS[2][:-300_000])
    (folder / gone[:2] / gone[2:4] / gone).unlink()
    with pytest.raises(SystemExit) as ended:
        cli.main(["backup", str(tmp_path / target), "--data", str(filled.data)])
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert shorter in said
    assert gone in said
    other = new("sqlite")
    restore.put_back(other.settings, tmp_path / target)
    assert other.rows() == filled.rows()
    assert any("2 without their bytes" in what for what in findings(other))


class TestDoctor:
    def test_nothing(self, data: Data) -> None:
        assert findings(data) == []

    def test_bytes_that_are_gone(self, data: Data) -> None:
        async def lose(house: House) -> str:
            file = await house.add(b"lost")
            await house.blobs.bucket.delete(digest(b"lost"))
            return file

        file = data.run(lose)
        assert [what for what in findings(data) if file in what and "1 without their bytes" in what]

    def test_bytes_that_are_others(self, filled: Data) -> None:
        of = digest(b"one")
        (filled.data / "blobs" / of[:2] / of[2:4] / of).write_bytes(b"two")
        assert not any("damaged" in one.what for one in doctor.examine(filled.settings) if not one.ok)
        assert any("1 damaged" in what for what in findings(filled))

    def test_bytes_of_nobody(self, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        async def add(house: House) -> None:
            (tmp_path / "orphan").write_bytes(b"orphan")
            await house.blobs.bucket.put(tmp_path / "orphan", digest(b"orphan"))

        data.run(add)
        assert not any("refers to" in one.what for one in doctor.examine(data.settings)), "it may be on its way"
        later = clock.now() + 2 * staged.OLD
        clocks.own(monkeypatch, "store.health", now=lambda: later)
        assert any("1 contents that no file refers to" in one.what for one in doctor.examine(data.settings))

    def test_jobs_and_batches_that_nobody_works_on(self, data: Data) -> None:
        async def add(house: House) -> None:
            async with house.blobs.database.write() as connection:
                whole = {column.name: 0 for column in tables.batches.columns if not column.nullable}
                texts = {"endpoint": "/v1/embeddings", "completion_window": "24h", "key_id": "k", "input_file_id": "f"}
                for id, status in (
                    ("batch_idle", "in_progress"),
                    ("batch_done", "completed"),
                    ("batch_on", "validating"),
                ):
                    row = {**whole, **texts, "id": id, "status": status, "project_id": house.project}
                    row.pop("seq")
                    await connection.execute(sa.insert(tables.batches).values(row))
                await connection.execute(sa.insert(tables.jobs).values(job("batch_on")))

        data.run(add)
        told = findings(data)
        assert any("batch_idle" in what for what in told)
        assert not any("batch_done" in what or "batch_on" in what for what in told)
        assert any("1 jobs" in what for what in told)

    def test_a_row_that_refers_to_nothing(self, filled: Data) -> None:
        import sqlite3

        with sqlite3.connect(filled.data / "state.db") as connection:
            connection.execute("DELETE FROM projects")
        connection.close()
        assert any("refers to one of projects" in what for what in findings(filled))
