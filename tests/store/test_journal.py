"""The journal across deaths: what a process leaves is found by the next one, once, whole or not at all."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from homeport.store.journal import LARGEST_CLOSING, LARGEST_OPENING, MOST, STEP, Journal, JournalFull, Left


def reopened(folder: Path) -> list[Left]:
    journal = Journal(folder)
    left = sorted(journal.left)
    journal.shut()
    return left


def test_what_is_open_or_waits_is_found_again_and_what_was_freed_is_not(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    slots = [journal.open(b"open %d" % number) for number in range(4)]
    journal.close(slots[1], b"row 1")
    journal.close(slots[2], b"row 2")
    journal.free([slots[2]])
    journal.shut()
    assert reopened(tmp_path) == [Left(False, b"open 0"), Left(False, b"open 3"), Left(True, b"row 1")]


def test_what_was_left_stays_until_it_is_forgotten(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.open(b"a")
    journal.shut()
    assert reopened(tmp_path) == [Left(False, b"a")]
    journal = Journal(tmp_path)
    journal.forget_left()
    journal.open(b"b")
    journal.shut()
    assert reopened(tmp_path) == [Left(False, b"b")]


def test_a_slot_is_used_again_without_a_trace_of_what_stood_there(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    slot = journal.open(b"x" * LARGEST_OPENING)
    journal.close(slot, b"y" * LARGEST_CLOSING)
    journal.free([slot])
    assert journal.open(b"short") == slot
    journal.shut()
    assert reopened(tmp_path) == [Left(False, b"short")]


def test_a_name_that_somebody_else_needs_is_found_though_no_slot_is_taken(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.shut(keep=True)
    heir = Journal(tmp_path)
    assert (heir.killed, heir.left) == ([journal.name], [])
    heir.forget_left()
    heir.shut()
    assert list(tmp_path.iterdir()) == []


def test_it_grows_with_what_is_open(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    slots = [journal.open(b"%d" % number) for number in range(STEP + 10)]
    assert len(set(slots)) == STEP + 10
    journal.shut()
    assert len(reopened(tmp_path)) == STEP + 10


def test_it_is_full_at_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homeport.store.journal.MOST", STEP)
    assert MOST > STEP
    journal = Journal(tmp_path)
    for _ in range(STEP):
        slot = journal.open(b"x")
    with pytest.raises(JournalFull):
        journal.open(b"x")
    journal.free([slot])
    journal.open(b"y")
    journal.shut()


def test_two_processes_have_a_file_each_and_a_killed_one_is_taken_over(tmp_path: Path) -> None:
    code = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from homeport.store.journal import Journal
journal = Journal(Path({str(tmp_path)!r}))
journal.close(journal.open(b"theirs, open"), b"theirs, closed")
journal.open(b"theirs")
print(len(journal.left), flush=True)
time.sleep(60)
"""
    mine = Journal(tmp_path)
    mine.open(b"mine")
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "0\n", "what a living process has open is its own"
    os.kill(other.pid, signal.SIGKILL)
    other.communicate()
    mine.shut()
    heir = Journal(tmp_path)
    assert sorted(heir.left) == [Left(False, b"mine"), Left(False, b"theirs"), Left(True, b"theirs, closed")]
    assert mine.name in heir.killed
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*heir.killed, heir.name])
    heir.forget_left()
    assert [path.name for path in tmp_path.iterdir()] == [heir.name]
    heir.shut()
    assert list(tmp_path.iterdir()) == []


def test_who_starts_beside_others_takes_nothing_away_that_is_used(tmp_path: Path) -> None:
    """Files come and go while others look for them: each has its own, and what is left is there once."""
    journals: list[Journal] = []
    left: list[Left] = []

    def live(number: int) -> None:
        journal = Journal(tmp_path)
        left.extend(journal.left)
        journal.forget_left()
        journal.open(b"%d" % number)
        journals.append(journal)

    for burst in range(5):
        threads = [threading.Thread(target=live, args=(burst * 8 + number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        while journals:
            journals.pop().shut()
    assert len({left.record for left in [*left, *reopened(tmp_path)]}) == 40
    assert len(left) == 32
