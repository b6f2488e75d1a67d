"""Lines of the log: whatever is in an exception stays out of them."""

import asyncio
import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from homeport import logs


class Person(msgspec.Struct, forbid_unknown_fields=True):
    age: int


def fail() -> None:
    try:
        msgspec.json.decode(b'{"SECRET-FIELD": 1}', type=Person)
    except msgspec.ValidationError as error:
        raise ValueError("SECRET-MESSAGE") from error


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """As it was, afterwards, and the hooks with it."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    hooks = threading.excepthook, sys.unraisablehook
    yield logger
    threading.excepthook, sys.unraisablehook = hooks
    logging.captureWarnings(False)
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.mark.parametrize("form", ["text", "json"])
def test_of_an_exception_a_line_has_the_type_and_the_place(root: logging.Logger, form: Any) -> None:
    stream = io.StringIO()
    logs.set_up("info", form, process="worker 2", stream=stream)
    try:
        fail()
    except ValueError:
        logging.getLogger("any").exception("it failed: %s", "for a reason")
    (line,) = stream.getvalue().splitlines()
    assert "SECRET" not in line
    assert "ValueError at " in line
    assert "fail < " in line
    assert "after ValidationError at " in line
    assert "it failed: for a reason" in line
    assert "worker 2" in line
    if form == "json":
        told = json.loads(line)
        assert (told["process"], told["level"]) == ("worker 2", "error")


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_nobody_waited_for_is_told_without_what_it_says(root: logging.Logger, form: Any) -> None:
    stream = io.StringIO()
    logs.set_up("info", form, stream=stream)

    async def forget() -> None:
        asyncio.get_running_loop().set_exception_handler(logs.unhandled)
        asyncio.get_running_loop().call_soon(fail)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(forget())
    (line,) = stream.getvalue().splitlines()
    assert "SECRET" not in line
    assert "ValueError at " in line


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_ends_a_thread_is_told_without_what_it_says(root: logging.Logger, form: Any) -> None:
    stream = io.StringIO()
    logs.set_up("info", form, stream=stream)
    thread = threading.Thread(target=fail, name="worker")
    thread.start()
    thread.join()
    (line,) = stream.getvalue().splitlines()
    assert "SECRET" not in line
    assert "worker has ended" in line
    assert "ValueError at " in line


def test_a_group_of_exceptions_is_told_one_by_one() -> None:
    told = logs.trail(ExceptionGroup("SECRET", [ValueError("SECRET"), KeyError("SECRET")]))
    assert told == "ExceptionGroup [ValueError; KeyError]"


def test_a_record_is_one_line_of_text() -> None:
    record = logging.makeLogRecord(
        {"name": "x", "levelname": "INFO", "msg": "two\nlines \x1b[31m", "fields": {"a": "b c"}}
    )
    line = logs.Text().format(record)
    assert line.endswith(r'INFO x: two\nlines \x1b[31m a="b c"')
