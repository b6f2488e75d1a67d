"""Rows of usage on disk: in order, once, and whole or not at all, whatever is killed, torn, full or away."""

import asyncio
import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from homeport.store import usage as usage_log
from homeport.store.database import Database
from homeport.store.journal import SLOT, Journal, JournalFull
from homeport.store.spill import Spill, SpillFull
from homeport.store.usage import UsageLog
from homeport.store.usage_row import UsageRow
from homeport.store.usage_rows import UsageRows
from homeport.store.usage_tables import usage
from tests.fake_upstream import until
from tests.store import made_usage
from tests.store.conftest import Store, check_hours
from tests.store.made_usage import row

ROOT = Path(__file__).parents[2]
PATIENCE = 90.0


def rows(first: int, count: int) -> list[UsageRow]:
    return [row(number) for number in range(first, first + count)]


def drained(spill: Spill, at_once: int = 7) -> list[UsageRow]:
    """Everything, in the order in which it comes."""
    found: list[UsageRow] = []
    while batch := spill.oldest(at_once):
        found += batch
        spill.taken(len(batch))
    return found


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_what_came_first_goes_first_and_leaves_nothing_behind(tmp_path: Path) -> None:
    spill = Spill(tmp_path, "me", segment=2000)
    assert (spill.holds, files(tmp_path)) == (False, [])
    for start in range(0, 100, 10):
        spill.append(made_usage.rows(100)[start : start + 10])
    assert (spill.holds, len(files(tmp_path)) > 3) == (True, True)
    assert drained(spill) == made_usage.rows(100)
    assert (spill.holds, files(tmp_path)) == (False, [])
    spill.close()
    assert list(tmp_path.iterdir()) == []


def test_rows_stay_until_they_are_taken_and_a_segment_until_all_of_it_is(tmp_path: Path) -> None:
    spill = Spill(tmp_path, "me")
    number = spill.append(rows(0, 10))
    assert spill.oldest(4) == spill.oldest(4) == rows(0, 4)
    assert spill.taken(4) is None
    spill.close()
    spill = Spill(tmp_path, "me")
    assert spill.oldest(100) == rows(0, 10), "who comes next knows of whole segments alone"
    assert spill.taken(9) is None
    assert spill.taken(1) == number
    assert files(tmp_path) == []


def test_what_comes_while_the_oldest_go_is_not_lost(tmp_path: Path) -> None:
    spill = Spill(tmp_path, "me")
    spill.append(rows(0, 3))
    found = list(spill.oldest(2))
    spill.append(rows(3, 3))
    spill.taken(2)
    assert found + drained(spill) == rows(0, 6)


def test_a_torn_end_is_no_row_and_holds_up_nothing(tmp_path: Path) -> None:
    """At every byte of the last record, and with each of its bytes wrong."""
    spill = Spill(tmp_path, "me")
    spill.append(rows(0, 2))
    (path,) = (tmp_path / "me").iterdir()
    whole = path.stat().st_size
    spill.append(rows(2, 1))
    spill.close()
    data = path.read_bytes()
    torn = [data[:length] for length in range(whole, len(data))]
    torn += [data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :] for at in range(whole, len(data))]
    torn += [data[:whole] + bytes(4096), data[:whole] + b"\xff" * 4096]
    for one in torn:
        path.write_bytes(one)
        heir = Spill(tmp_path, "me")
        assert drained(heir) == rows(0, 2)
        assert files(tmp_path) == []


def test_behind_a_torn_end_comes_a_new_segment(tmp_path: Path) -> None:
    spill = Spill(tmp_path, "me")
    spill.append(rows(0, 3))
    spill.close()
    path = tmp_path / "me" / "00000001"
    path.write_bytes(path.read_bytes()[:-1])
    heir = Spill(tmp_path, "me")
    heir.append(rows(9, 1))
    assert files(tmp_path) == ["me/00000001", "me/00000002"]
    assert drained(heir) == [*rows(0, 2), *rows(9, 1)]
    assert files(tmp_path) == []


def test_what_was_safe_and_cannot_be_read_is_kept_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spill = Spill(tmp_path, "me", segment=1)
    for start in range(0, 9, 3):
        spill.append(rows(start, 3))
    spill.close()
    first = tmp_path / "me" / "00000001"
    data = first.read_bytes()
    first.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    heir = Spill(tmp_path, "me")
    assert drained(heir) == rows(0, 2) + rows(3, 6)
    assert files(tmp_path) == ["me/00000001.damaged"]
    assert "cannot be read" in caplog.text
    again = Spill(tmp_path, "me")
    assert not again.holds
    again.append(rows(9, 1))
    assert drained(again) == rows(9, 1)


def test_a_segment_that_somebody_took_away_holds_up_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spill = Spill(tmp_path, "me", segment=1)
    spill.append(rows(0, 1))
    spill.append(rows(1, 1))
    (tmp_path / "me" / "00000001").unlink()
    assert drained(spill) == rows(1, 1)
    assert "cannot be read" in caplog.text


def test_it_is_full_at_last_and_takes_rows_again_when_some_have_gone(tmp_path: Path) -> None:
    spill = Spill(tmp_path, "me", most=10_000, segment=2000)
    came = 0
    with suppress(SpillFull):
        while came < 1000:
            spill.append(rows(came, 1))
            came += 1
    assert 9_000 < sum(path.stat().st_size for path in (tmp_path / "me").iterdir()) <= 10_000
    with pytest.raises(SpillFull):
        Spill(tmp_path, "another", most=10_000).append(rows(0, 1))
    found = list(spill.oldest(1000))
    spill.taken(len(found))
    spill.append(rows(came, 1))
    assert found + drained(spill) == rows(0, came + 1)


@pytest.mark.parametrize("fails", ["write", "fsync"])
def test_a_disk_that_fails_takes_a_batch_whole_or_not_at_all(
    tmp_path: Path, fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spill = Spill(tmp_path, "me")
    spill.append(rows(0, 3))
    half: Any = os.write

    def write(file: int, data: bytes) -> int:
        if len(data) < 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        written: int = half(file, data[: len(data) // 2])
        return written

    def fsync(file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, fails, write if fails == "write" else fsync)
        for _ in range(3):
            with pytest.raises(SpillFull):
                spill.append(rows(3, 3))
        with pytest.raises(SpillFull):
            Spill(tmp_path, "another").append(rows(0, 1))
    spill.append(rows(3, 3))
    assert files(tmp_path) == ["me/00000001"]
    assert drained(spill) == rows(0, 6)


def test_an_odd_row_holds_up_nothing(tmp_path: Path) -> None:
    spill = Spill(tmp_path, "me")
    spill.append([row(1), row(2, ran="gpt\ud83d"), row(3, input_tokens=10**40), row(4)])
    found = drained(spill)
    assert [one.request_id for one in found] == [row(number).request_id for number in (1, 2, 3, 4)]
    assert (found[1].ran, found[0], found[3]) == ("gpt?", row(1), row(4))


KILLED = """
import sys
from pathlib import Path
from homeport.store.spill import Spill
from tests.store.made_usage import row
spill = Spill(Path(sys.argv[1]), "me", segment=20_000)
for number in range(0, 10**9, 5):
    spill.append([row(place) for place in range(number, number + 5)])
    sys.stdout.buffer.write(b"%d\\n" % (number + 5))
    sys.stdout.flush()
"""


@pytest.mark.parametrize("after", [1, 17, 60])
def test_a_killed_process_leaves_all_that_it_has_been_told_is_safe(tmp_path: Path, after: int) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert child.stdout is not None
    for _ in range(after):
        child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    said = child.communicate()[0].split()
    found = drained(Spill(tmp_path, "me"))
    assert len(found) >= max(after * 5, int(said[-1]) if said else 0)
    assert found == rows(0, len(found))


# With the journal, the log and a database.


@contextmanager
def away(store: Store) -> Iterator[None]:
    """Nothing can be written."""
    store.execute(sa.text("ALTER TABLE usage_costs RENAME TO elsewhere"))
    try:
        yield
    finally:
        store.execute(sa.text("ALTER TABLE elsewhere RENAME TO usage_costs"))


class Held:
    """As a grant: it must be told once, and after its row is in the database."""

    def __init__(self, account: str) -> None:
        self.account = account
        self.count = 1
        self.told = 0

    def written(self) -> None:
        self.told += self.count

    def join(self, held: dict[Any, Any]) -> None:
        first = held.setdefault(self.account, self)
        if first is not self:
            first.count += 1
            self.count = 0


class House:
    """A log with its journal and its spill, putting from a loop of its own."""

    def __init__(self, folder: Path, url: str) -> None:
        self.journal = Journal(folder / "journal")
        self.spill = Spill(folder / "spill", self.journal.name, segment=20_000)
        self.log = UsageLog(lambda: Database(url, synchronous="NORMAL"), self.journal, self.spill)
        self.held: list[Held] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._in_loop(self.log.start)

    def _in_loop(self, function: Callable[[], None]) -> None:
        async def call() -> None:
            function()

        asyncio.run_coroutine_threadsafe(call(), self._loop).result(PATIENCE)

    def put(self, rows: Sequence[UsageRow]) -> None:
        def put() -> None:
            for one in rows:
                slot = self.journal.open(b"open")
                self.journal.close(slot, one.request_id.encode())
                self.held.append(Held(one.key_id))
                self.log.put(slot, one, self.held[-1])

        self._in_loop(put)

    def takes(self, one: UsageRow) -> bool:
        try:
            self.put([one])
        except JournalFull:
            return False
        return True

    def settled(self, seconds: float = PATIENCE) -> bool:
        return asyncio.run_coroutine_threadsafe(self.log.settled(seconds), self._loop).result()

    def close(self) -> None:
        self.log.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.journal.shut(keep=self.log.on_disk)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory for ten rows."""
    monkeypatch.setattr(usage_log, "MOST_WAITING", 10)
    monkeypatch.setattr(usage_log, "BATCH_ROWS", 25)
    monkeypatch.setattr(usage_log, "AGAIN_SECONDS", 0.05)


def url_of(store: Store) -> str:
    return store.database.url.set(drivername="sqlite" if store.database.sqlite else "postgresql").render_as_string(
        hide_password=False
    )


def slots(folder: Path) -> int:
    """Of the one journal that are not free."""
    (path,) = (folder / "journal").iterdir()
    return sum(1 for state in path.read_bytes()[::SLOT] if state)


def test_a_database_that_hangs_is_left_behind_with_its_journal(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_log, "CLOSING_SECONDS", 0.05)
    monkeypatch.setattr(usage_log, "ENDING_SECONDS", 0.05)
    hangs, goes_on = threading.Event(), threading.Event()

    async def hang(*_: Any) -> None:
        hangs.set()
        await asyncio.to_thread(goes_on.wait, PATIENCE)

    monkeypatch.setattr(UsageRows, "write", hang)
    house = House(tmp_path, url_of(store))
    house.put(made_usage.rows(3))
    assert hangs.wait(PATIENCE)
    try:
        assert not house.log.close()
        assert slots(tmp_path) == 3
    finally:
        goes_on.set()
    house.log._thread.join(PATIENCE)
    assert slots(tmp_path) == 0, "the thread went on with the journal"
    house.close()


@pytest.mark.usefixtures("small")
def test_rows_wait_on_disk_and_are_written_once_and_in_order_when_the_database_is_back(
    store: Store, tmp_path: Path
) -> None:
    wanted = made_usage.rows(600)
    house = House(tmp_path, url_of(store))
    with away(store):
        house.put(wanted[:300])
        assert until(lambda: slots(tmp_path) <= 25 + 10, PATIENCE), "one batch and what memory has room for"
        assert (house.log.on_disk, house.settled(0.2)) == (True, False)
        house.put(wanted[300:])
        assert sum(one.told for one in house.held) == 0, "what was spent is held until the database has it"
    assert (house.settled(), house.log.on_disk) == (True, False)
    house.close()
    check_hours(store, wanted)
    written = sorted(store.stored(usage), key=lambda one: one.seq)
    assert [one.request_id for one in written] == [one.request_id for one in wanted]
    assert sum(one.told for one in house.held) == 600
    assert sum(one.told > 0 for one in house.held) < 300, "many are told as one"
    assert files(tmp_path) == []


@pytest.mark.usefixtures("small")
def test_when_the_disk_is_full_too_nothing_more_is_taken_in_and_nothing_is_lost(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("homeport.store.spill.MOST", 50_000)
    monkeypatch.setattr("homeport.store.journal.MOST", 128)
    monkeypatch.setattr("homeport.store.journal.STEP", 64)
    wanted: list[UsageRow] = []
    house = House(tmp_path, url_of(store))
    with away(store):
        for one in made_usage.rows(1000):
            if not until(lambda one=one: house.takes(one), 1.0):  # type: ignore[misc]
                break
            wanted.append(one)
    assert 128 + 30 < len(wanted) < 1000
    assert house.settled()
    house.close()
    check_hours(store, wanted)
    assert files(tmp_path) == []


def test_what_a_killed_process_had_written_and_not_removed_counts_once(store: Store, tmp_path: Path) -> None:
    wanted = made_usage.rows(300)
    spill = Spill(tmp_path / "spill", "me", segment=10_000)
    for start in range(0, 300, 20):
        spill.append(wanted[start : start + 20])
    spill.close()
    shutil.copytree(tmp_path / "spill", tmp_path / "before")
    dead = Spill(tmp_path / "spill", "me")
    for _ in range(9):
        batch = dead.oldest(15)
        store.write(*batch)
        dead.taken(len(batch))
    shutil.rmtree(tmp_path / "spill")
    (tmp_path / "before").rename(tmp_path / "spill")
    heir = Spill(tmp_path / "spill", "me")
    while batch := heir.oldest(40):
        store.write(*batch)
        heir.taken(len(batch))
    check_hours(store, wanted)
