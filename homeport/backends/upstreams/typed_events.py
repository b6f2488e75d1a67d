"""Streams whose events have a type: of what is heard, spoken and drawn. Those of a chat have none (events.py)."""

from typing import Any

import msgspec

from homeport.backends.capabilities import Frame, Usage
from homeport.backends.upstreams import failures
from homeport.backends.upstreams.events import Events, each, read_event


class _Error(msgspec.Struct):
    type: str | None = None
    message: Any = None
    code: Any = None
    param: Any = None


_error = msgspec.json.Decoder(_Error)


class TypedEvents(Events):
    """What is known before stands on the first frame: a client that leaves is charged for it."""

    def __init__(self, upstream: str, known: Usage | None) -> None:
        super().__init__(upstream, hide_usage=False)
        self._known = known
        self._told = known is None

    def feed(self, chunk: bytes) -> Frame | None:
        frame = super().feed(chunk)
        if frame is not None and not self._told:
            self._told = True
            frame.usage = frame.usage or self._known
        return frame

    def _until_error(self, events: bytes) -> bytes:
        """An error event may be the error itself."""
        for event, place in each(events):
            read = read_event(event, _error) if b'"error"' in event else None
            if read is not None and read.type == "error" and read.message is not None:
                error = {"message": read.message, "code": read.code, "param": read.param}
                self._error, self.over = failures.in_stream(error), True
                return events[:place]
        return super()._until_error(events)
