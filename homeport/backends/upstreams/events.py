"""The events of an upstream's stream: passed on as they come, read only where the ledger wants something.

Source: the event stream of the HTML standard, 9.2; OpenAI's `CreateChatCompletionStreamResponse`.
"""

from typing import Any, TypeVar

import msgspec

from homeport.backends.capabilities import Frame
from homeport.backends.upstreams import failures
from homeport.backends.upstreams.relay import Choice, Counts, is_text
from homeport.errors import HomeportError

LARGEST_EVENT = 16 * 2**20
_DONE = (b"data: [DONE]", b"data:[DONE]")
_NO_USAGE = (b',"usage":null', b', "usage": null')
#: How an event ends that has none. Of a name that stands there twice the last one holds, so it has none.
_NO_COUNTS = b',"usage":null}\n\n'
_UNCOUNTED = len(_NO_COUNTS)

T = TypeVar("T")


class _Event(msgspec.Struct):
    choices: list[Choice] | None = None
    model: str | None = None
    service_tier: str | None = None
    usage: Counts | None = None
    error: Any = None


_event = msgspec.json.Decoder(_Event)


#: Frames of the end of a stream, in which its finish reason is.
_KEPT = 4


class Events:
    """Whole events go on, a torn one waits for its rest, `[DONE]` or an error ends the stream.

    largest: bytes of an event. hide_usage: the client did not ask for the counts; they are read and not passed on.
    over: nothing more is wanted of the stream. How it ended is told by end().
    """

    largest = LARGEST_EVENT

    def __init__(self, upstream: str, *, hide_usage: bool) -> None:
        self._upstream = upstream
        self._hide = hide_usage
        self._rest = bytearray()
        self._torn_return = False
        self._last: list[bytes] = []  # a deque takes 0.7 kB
        self._first = True
        self._done = False
        self._error: HomeportError | None = None
        self.over = False

    def feed(self, chunk: bytes) -> Frame | None:
        """What can be passed on now. Raises UpstreamFailed for what is no event stream."""
        if b"\r" in chunk or self._torn_return:
            chunk = self._without_returns(chunk)
        events = chunk if not self._rest and chunk[-2:] == b"\n\n" else self._whole_events(chunk)
        one = events[:7] == b"data: {" and events.find(b"\n") == len(events) - 2  # of one line: the usual
        if not one:
            if b"[DONE]" in events:
                events = self._until_done(events)
            if events[:1] in (b":", b"\n") or b"\n:" in events or b"\n\n\n" in events:
                events = self._cleaned(events)
            if b"data:" not in events:
                return None
        if not events.isascii() and not is_text(events):
            events = self._until_torn(events)
        if b'"error"' in events:
            events = self._until_error(events)
        if not events:
            return None
        frame = Frame(events)
        if self._first:
            self._first = False
            first = self._begin(events)
            frame.model, frame.service_tier = first.model, first.service_tier
        if one and self._hide and events[-_UNCOUNTED:] == _NO_COUNTS:  # the usual, from those that are asked for it
            frame.data = events = events[:-_UNCOUNTED] + b"}\n\n"
        elif b'"usage"' in events:
            self._take_usage(frame)
            events = frame.data
        if events:
            last = self._last
            last.append(events)
            if len(last) > _KEPT:
                del last[0]
        return frame

    def end(self) -> None:
        """No more will come. Raises UpstreamRefused for an error event, UpstreamFailed unless the answer was whole and
        text."""
        if self._error is not None:
            raise self._error
        if not self._done and not self._rest.startswith(_DONE) and not any(map(self._finishes, self._last)):
            raise failures.broken_off(self._upstream)
        if self._first:
            raise failures.malformed(self._upstream)

    def _finishes(self, events: bytes) -> bool:
        """The answer ends well with one of them."""
        return any(
            choice.finish_reason
            for event, _ in each(events)
            if (read := read_event(event, _event)) is not None
            for choice in read.choices or ()
        )

    def _cleaned(self, events: bytes) -> bytes:
        """Without comments and blank lines too many."""
        kept = []
        for event, _ in each(events):
            lines = [line for line in event.split(b"\n") if line and not line.startswith(b":")]
            if lines:
                kept.append(b"\n".join(lines) + b"\n\n")
        return b"".join(kept)

    def _without_returns(self, chunk: bytes) -> bytes:
        """Lines may end with CR LF or CR as well; a CR at the end of a chunk waits for its LF."""
        if self._torn_return:
            chunk = b"\r" + chunk
            self._torn_return = False
        if chunk.endswith(b"\r"):
            self._torn_return = True
            chunk = chunk[:-1]
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _whole_events(self, chunk: bytes) -> bytes:
        searched = max(0, len(self._rest) - 1)
        self._rest += chunk
        end = self._rest.rfind(b"\n\n", searched) + 2
        if end == 1:
            if len(self._rest) > self.largest:
                raise failures.malformed(self._upstream)
            return b""
        events = bytes(self._rest[:end])
        del self._rest[:end]
        return events

    def _until_done(self, events: bytes) -> bytes:
        for event, place in each(events):
            if any(line.startswith(_DONE) for line in event.split(b"\n")):
                self._done = self.over = True
                return events[:place]
        return events

    def _until_torn(self, events: bytes) -> bytes:
        for event, place in each(events):
            if not is_text(event):
                self._error, self.over = failures.malformed(self._upstream), True
                return events[:place]
        return events

    def _until_error(self, events: bytes) -> bytes:
        """What came before an error is passed on; the error is told at the end."""
        for event, place in each(events):
            read = read_event(event, _event) if b'"error"' in event else None
            if read is not None and read.error is not None and not read.choices:
                self._error, self.over = failures.in_stream(read.error), True
                return events[:place]
        return events

    def _take_usage(self, frame: Frame) -> None:
        if self._hide:
            for spelling in _NO_USAGE:
                frame.data = frame.data.replace(spelling, b"")
                if b'"usage"' not in frame.data:
                    return
        kept: list[bytes] = []
        for event, _ in each(frame.data):
            if b'"usage"' in event and (read := read_event(event, _event)) is not None and read.usage is not None:
                frame.usage = read.usage.counted()
                if self._hide and not read.choices:
                    continue
            kept.append(event)
        frame.data = b"".join(kept)

    def _begin(self, events: bytes) -> _Event:
        read = next(read_event(event, _event) for event, _ in each(events) if b"data:" in event)
        if read is None:
            raise failures.malformed(self._upstream)
        return read


def each(events: bytes) -> list[tuple[bytes, int]]:
    """Every event with its blank line, and where it begins."""
    found: list[tuple[bytes, int]] = []
    place = 0
    while place < len(events):
        end = events.find(b"\n\n", place) + 2
        if end == 1:
            end = len(events)  # a blank line too many
        found.append((events[place:end], place))
        place = end
    return found


def read_event(event: bytes, decoder: "msgspec.json.Decoder[T]") -> T | None:
    """The JSON of an event's data; None when it is none."""
    for data in (event[6:], data_of(event)):  # one line, as everybody sends it, or several fields
        try:
            return decoder.decode(data)
        except (msgspec.DecodeError, RecursionError):
            pass
    return None


def data_of(event: bytes) -> bytes:
    return b"\n".join(line[5:] for line in event.split(b"\n") if line.startswith(b"data:"))
