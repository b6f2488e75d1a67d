"""A stream that is moderated while it comes.

held       frames with text in them wait until there is enough to judge: a sentence of 80 characters or more, or 240
           characters, or the end of a choice
judged     with the 200 characters before, which may be what makes it harmful
released   as they came, byte for byte, when nothing is flagged
closed     a choice that is: nothing more of it is sent but its end, with finish_reason `content_filter`. With the
           last choice the stream is over, and the backend stops
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from homeport.backends.capabilities import Call, Frame
from homeport.gateway import filtered
from homeport.gateway.filtered import CONTENT_FILTER, Categories
from homeport.wire import sse

SENTENCE = 80
MOST = 240
BEFORE = 200
_ENDS = (".", "!", "?", "\n", "。", "！", "？")

Judge = Callable[[Sequence[str]], Awaitable[Sequence[Categories]]]
#: index of a choice, and which of its texts.
Place = tuple[int, str]


@dataclass(slots=True)
class _Text:
    """before: the end of what was judged; new: what was not."""

    before: str = ""
    new: str = ""

    @property
    def is_due(self) -> bool:
        return len(self.new) >= MOST or (len(self.new) >= SENTENCE and self.new.rstrip(" \"'").endswith(_ENDS))


@dataclass(slots=True)
class _Held:
    """A frame of one event. chunk: what the event says; None where that is nothing that is known."""

    frame: Frame
    chunk: dict[str, Any] | None


class FilteredStream:
    """over: nothing more is wanted of the backend."""

    def __init__(self, call: Call, choices: int, judge: Judge, dropped: Callable[[bytes], None]) -> None:
        """choices: of the whole answer. dropped: told of events that nobody will see: they were made, and are
        counted."""
        self._call = call
        self._choices = choices
        self._judge = judge
        self._dropped = dropped
        self._held: list[_Held] = []
        self._texts: dict[Place, _Text] = {}
        self._closed: set[int] = set()
        self.over = False

    async def take(self, frame: Frame) -> list[Frame]:
        """What may be sent now. Raises HomeportError: it could not be judged."""
        passed: list[Frame] = []
        for one in _apart(frame):
            chunk = _chunk(one.data)
            self._held.append(_Held(one, chunk))
            ended = False
            for choice in _choices(chunk):
                if choice["index"] not in self._closed:
                    self._read(choice)
                    ended = ended or choice.get("finish_reason") is not None
            waiting = [text for text in self._texts.values() if text.new]
            if ended or not waiting or any(text.is_due for text in waiting):
                passed += await self._release()
            if self.over:
                break
        return passed

    async def end(self) -> list[Frame]:
        """The stream has ended: what is left of it. As take."""
        return await self._release()

    def _read(self, choice: dict[str, Any]) -> None:
        index = choice["index"]
        found = filtered.pieces(choice["delta"]) if isinstance(choice.get("delta"), dict) else ()
        for name, piece in [*found, ("text", choice.get("text"))]:
            if isinstance(piece, str) and piece:
                self._texts.setdefault((index, name), _Text()).new += piece

    async def _release(self) -> list[Frame]:
        waiting = [(place, text) for place, text in self._texts.items() if text.new]
        judged = await self._judge([text.before + text.new for _, text in waiting]) if waiting else ()
        flagged: dict[int, Categories] = {}
        for ((index, _), text), categories in zip(waiting, judged, strict=True):
            if categories:
                flagged[index] = flagged.get(index, frozenset()) | categories
            text.before, text.new = (text.before + text.new)[-BEFORE:], ""
        self._closed.update(flagged)
        passed = [self._passed(held) for held in self._held]
        self._texts = {place: text for place, text in self._texts.items() if place[0] not in self._closed}
        if flagged:
            template = next(held.chunk for held in self._held if held.chunk and held.chunk.get("choices"))
            ends = b"".join([self._end(template, index, categories) for index, categories in sorted(flagged.items())])
            passed.append(Frame(ends))
            self.over = len(self._closed) >= self._choices
        self._held = []
        return passed

    def _passed(self, held: _Held) -> Frame:
        """The frame itself, or one with fewer choices in it: others may hold the same one."""
        chunk, choices = held.chunk, _choices(held.chunk)
        left = [choice for choice in choices if choice["index"] not in self._closed]
        if chunk is None or not choices or (len(left) == len(choices) and not self._call.shows_filters):
            return held.frame
        if len(left) < len(choices):
            self._dropped(held.frame.data)
        if self._call.shows_filters:
            for choice in left:
                choice["content_filter_results"] = filtered.azure_results(frozenset())
        kept = left or chunk.get("usage")
        data = sse.event(msgspec.json.encode({**chunk, "choices": left})) if kept else b""
        return msgspec.structs.replace(held.frame, data=data)

    def _end(self, template: dict[str, Any], index: int, categories: Categories) -> bytes:
        """The last event of a choice. template: any chunk of the stream that has choices."""
        choice: dict[str, Any] = {"index": index, "logprobs": None, "finish_reason": CONTENT_FILTER}
        if self._call.shows_filters:
            choice["content_filter_results"] = filtered.azure_results(categories)
        if self._call.endpoint == "completions":
            choice["text"] = ""
        else:
            choice["delta"] = {}
        chunk = {name: value for name, value in template.items() if name not in ("obfuscation", "usage")}
        return sse.event(msgspec.json.encode({**chunk, "choices": [choice]}))


def _apart(frame: Frame) -> list[Frame]:
    """A frame for each event: how many come together is chance, and what is judged together must not be."""
    events = [event + b"\n\n" for event in frame.data.split(b"\n\n") if event]
    if len(events) < 2:
        return [frame]
    first, *between, last = events
    return [
        msgspec.structs.replace(frame, data=first, usage=None),
        *map(Frame, between),
        Frame(last, usage=frame.usage),
    ]


def _chunk(event: bytes) -> dict[str, Any] | None:
    data = b"\n".join([line[5:] for line in event.split(b"\n") if line.startswith(b"data:")])
    try:
        chunk = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return None
    return chunk if isinstance(chunk, dict) else None


def _choices(chunk: dict[str, Any] | None) -> list[dict[str, Any]]:
    choices = chunk.get("choices") if chunk is not None else None
    return [one for one in choices if isinstance(one, dict) and "index" in one] if isinstance(choices, list) else []
