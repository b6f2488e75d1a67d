"""Lines of the log: words for people, or JSON for machines. One record is one line.

Nothing that a client or an upstream said gets into them by accident: what exceptions say may quote their input, so a
line has an exception's type and places, and nothing else. A record's `fields` (`extra={"fields": {...}}`) are what it
is about; they are shown in both forms.
"""

import asyncio
import logging
import re
import sys
import threading
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import msgspec

Form = Literal["text", "json"]

#: Libraries that tell more than is wanted.
_CHATTY = ("uvicorn", "alembic")
#: Calls that are named of an exception.
_FRAMES = 8
_PLAIN = re.compile(r"[\w.:/@+\-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def set_up(level: str, form: Form, *, process: str = "", stream: TextIO | None = None) -> None:
    """Of the whole process, once. process: its name, where there are several. stream: stderr by default."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Json(process) if form == "json" else Text(process))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    threading.excepthook = _of_thread
    sys.unraisablehook = _unraisable


class Text(logging.Formatter):
    """`TIME LEVEL NAME: MESSAGE field=value ...`"""

    def __init__(self, process: str = "") -> None:
        super().__init__(f"%(asctime)s %(levelname)s {process and f'[{process}] '}%(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        record.message = record.getMessage()
        record.asctime = self.formatTime(record)
        line = self.formatMessage(record)
        if record.exc_info is not None and record.exc_info[1] is not None:
            line += f": {trail(record.exc_info[1])}"
        for name, value in _fields(record).items():
            if value is not None:
                line += f" {name}={_word(value)}"
        return _CONTROL.sub(_escaped, line)


class Json(logging.Formatter):
    """`{"time", "level", "logger", "message", "error", ...}` with the fields beside them."""

    def __init__(self, process: str = "") -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if self._process:
            line["process"] = self._process
        if record.exc_info is not None and record.exc_info[1] is not None:
            line["error"] = trail(record.exc_info[1])
        return msgspec.json.encode(line | dict(_fields(record)), enc_hook=str).decode()


def trail(error: BaseException) -> str:
    """Of what type it is, where it was raised, and of what it came: without what it says."""
    frames = traceback.extract_tb(error.__traceback__)
    places = " < ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames[-_FRAMES:]))
    told = f"{type(error).__name__} at {places}" if places else type(error).__name__
    if isinstance(error, BaseExceptionGroup):
        told += f" [{'; '.join(trail(one) for one in error.exceptions)}]"
    cause = error.__cause__ if error.__cause__ is not None or error.__suppress_context__ else error.__context__
    return f"{told}, after {trail(cause)}" if cause is not None else told


def unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """asyncio's exception handler. Its own shows the exception, and with it what it says."""
    error = context.get("exception")
    message = str(context.get("message") or "Unhandled exception in the event loop").partition("\n")[0]
    logging.getLogger("homeport.loop").error("%s", message, exc_info=error)


def _of_thread(ended: threading.ExceptHookArgs) -> None:
    name = ended.thread.name if ended.thread is not None else "a thread"
    logging.getLogger("homeport.threads").error("%s has ended", name, exc_info=ended.exc_value)


def _unraisable(ignored: "sys.UnraisableHookArgs") -> None:
    logging.getLogger("homeport").error("an exception was ignored", exc_info=ignored.exc_value)


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = getattr(record, "fields", {})
    return fields


def _word(value: Any) -> str:
    """As it stands, or in quotes where it would not be one word."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    return text if _PLAIN.fullmatch(text) else msgspec.json.encode(text).decode()


def _escaped(found: "re.Match[str]") -> str:
    return found[0].encode("unicode_escape").decode()
