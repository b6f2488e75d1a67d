"""What an engine takes of this process's memory."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from homeport import process
from homeport.backends.engines.memory import Memory

SIZE = 64 * 2**20


def touched() -> bytearray:
    """All of it is resident."""
    return bytearray(b"x") * SIZE


def test_it_is_what_the_process_grew_by() -> None:
    memory = Memory()
    kept = memory.taken_by(touched)
    assert memory.bytes is not None
    assert len(kept) * 0.95 < memory.bytes < len(kept) * 1.5


def test_two_at_once_are_charged_for_their_own() -> None:
    large, small = Memory(), Memory()
    begun = threading.Event()

    def load() -> bytearray:
        begun.set()
        return touched()

    with ThreadPoolExecutor(2) as pool:
        loading = pool.submit(large.taken_by, load)
        begun.wait(30)
        pool.submit(small.taken_by, bytearray).result(30)
        assert len(loading.result(30)) == SIZE
    assert large.bytes is not None
    assert small.bytes is not None
    assert small.bytes < SIZE // 4 < SIZE * 0.95 < large.bytes


def test_one_that_cannot_be_loaded_is_no_danger_to_the_next() -> None:
    memory = Memory()

    def fail() -> None:
        raise ValueError("no model")

    with pytest.raises(ValueError, match="no model"):
        memory.taken_by(fail)
    assert memory.bytes is None
    assert memory.taken_by(lambda: 1) == 1


def test_of_a_process_that_is_not_there_nothing_is_known() -> None:
    assert process.resident(2**22 + 1) is None
