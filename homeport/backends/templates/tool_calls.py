"""A model's text, as it arrives, becomes content and tool calls. Nothing is lost: what proves to be no call is content.

    start --mark--> call --name, key--> arguments --value ends--> after --end, separator--> start
      |               |                                             |
      +-> text        +-- no call after all: text                   +-- anything else: text

White space between text and calls is layout and is left out.
"""

import json
import re
from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from homeport.backends.templates.formats import ToolFormat


class Text(NamedTuple):
    text: str


class CallBegan(NamedTuple):
    name: str


class Arguments(NamedTuple):
    """Some more of the JSON text of the call that began last, as the model wrote it."""

    text: str


Event = Text | CallBegan | Arguments
Admits = Callable[[str, dict[str, object]], bool]

_HEAD = re.compile(r'\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)')


class _State(Enum):
    START = auto()  # nothing but white space since the beginning or since a call
    TEXT = auto()
    CALL = auto()
    ARGUMENTS = auto()
    TAIL = auto()  # behind the arguments, inside the call's object
    AFTER = auto()


class ToolCallParser:
    """Feed it text, take events; finish() once at the end.

    admits: may this tool be called with these arguments? What may not is text. certain: a grammar guarantees it, so
    arguments flow on as they come; else a call is held back until it is complete and proves to be one.
    limit: after so many calls everything is text (None: no limit).
    """

    def __init__(self, form: ToolFormat, admits: Admits, *, certain: bool = False, limit: int | None = None) -> None:
        self._form = form
        self._admits = admits
        self._certain = certain
        self._limit = limit
        self._state = _State.START
        self._held = ""
        self._raw = ""  # of the call being read, as it came: what it degrades to
        self._value = _Value()
        self.calls = 0

    def feed(self, text: str) -> list[Event]:
        self._held += text
        events: list[Event] = []
        while self._step(events):
            pass
        return events

    def finish(self) -> list[Event]:
        """What was held back. A call whose arguments were cut short stays as far as it came."""
        rest = self._held
        if self._state is _State.CALL:
            rest = self._raw + rest
        elif self._state is _State.TAIL or (self._state is _State.AFTER and self._is_layout(rest)):
            rest = ""
        elif self._state is _State.START and self.calls and not rest.strip():
            rest = ""
        self._held = self._raw = ""
        return [Text(rest)] if rest else []

    def _step(self, events: list[Event]) -> bool:
        """One move of the machine; False when it needs more text."""
        match self._state:
            case _State.START | _State.TEXT:
                return self._read_text(events)
            case _State.CALL:
                return self._read_call(events)
            case _State.ARGUMENTS:
                return self._read_arguments(events)
            case _State.TAIL:
                return self._read_tail()
            case _State.AFTER:
                return self._read_after()

    def _read_text(self, events: list[Event]) -> bool:
        held, form = self._held, self._form
        if not held:
            return False
        if self.calls == self._limit:
            self._say(held, events)
            return False
        if self._state is _State.START and form.bare and held.lstrip().startswith("{"):
            self._state, self._raw = _State.CALL, ""
            return True
        found = [(at, mark) for mark in form.marks if (at := held.find(mark)) >= 0]
        if found:
            at, mark = min(found)
            before = held[:at].rstrip()
            if before:
                self._say(before, events)
            self._raw, self._held = held[len(before) : at] + mark, held[at + len(mark) :]
            self._state = _State.CALL
            return True
        keep = max((_overlap(held, mark) for mark in form.marks), default=0)
        sure = held[: len(held) - keep].rstrip()
        if sure:
            rest = held[len(sure) :]
            self._say(sure, events)
            self._held = rest
        return False

    def _say(self, text: str, events: list[Event]) -> None:
        events.append(Text(text))
        self._held = ""
        self._state = _State.TEXT

    def _read_call(self, events: list[Event]) -> bool:
        text = self._held.lstrip()
        if self._form.listed and text.startswith(("[", ",")):
            text = text[1:].lstrip()
        if not text:
            return False
        if not text.startswith("{"):
            return self._no_call(events)
        if self._certain and (head := _HEAD.match(text)):
            self._begin(json.loads(head[1]), events)
            self._held, self._value, self._state = text[head.end() :], _Value(), _State.ARGUMENTS
            return True
        before = len(self._held) - len(text)
        end = self._value.end(self._held, before)
        if end is None:
            return False
        call = _call(self._held[before:end])
        if call is None or not self._admits(call.name, call.arguments):
            return self._no_call(events)
        self._begin(call.name, events)
        events.append(Arguments(call.text))
        self._held, self._state = self._held[end:], _State.AFTER
        return True

    def _begin(self, name: str, events: list[Event]) -> None:
        self.calls += 1
        self._raw = ""
        self._value = _Value()
        events.append(CallBegan(name))

    def _no_call(self, events: list[Event]) -> bool:
        """Only the mark (or the bare brace) is known to be text; a true call may stand behind it."""
        raw, self._raw, self._value = self._raw, "", _Value()
        if raw:
            rest = self._held
            self._say(raw, events)
            self._held = rest
        else:
            self._state = _State.TEXT
        return True

    def _read_arguments(self, events: list[Event]) -> bool:
        end = self._value.end(self._held, 0)
        fragment = self._held if end is None else self._held[:end]
        if fragment:
            events.append(Arguments(fragment))
        self._held = self._held[len(fragment) :]
        if end is None:
            self._value.forget()
            return False
        self._value, self._state = _Value(), _State.TAIL
        return True

    def _read_tail(self) -> bool:
        """To the end of the call's object: a grammar puts nothing but its brace there."""
        brace = self._held.find("}")
        if brace < 0:
            return False
        self._held, self._state = self._held[brace + 1 :], _State.AFTER
        return True

    def _read_after(self) -> bool:
        text, form = self._held.lstrip(), self._form
        if not text:
            return False
        if form.listed and text[0] == ",":
            self._state, self._raw = _State.CALL, ""
            return True
        if form.listed and text[0] == "]":
            self._held, self._state = text[1:], _State.START
            return True
        if form.bare and text[0] == ";":
            self._held, self._state = text[1:], _State.START
            return True
        if form.end and text.startswith(form.end):
            self._held, self._state = text[len(form.end) :], _State.START
            return True
        if form.end and form.end.startswith(text):
            return False
        self._state = _State.START
        return True

    def _is_layout(self, text: str) -> bool:
        return self._form.end.startswith(text.strip()) or text.strip() in ("]", ";")


class _Call(NamedTuple):
    name: str
    arguments: dict[str, object]
    text: str  # the arguments as the model wrote them


def _call(text: str) -> _Call | None:
    """A complete call; None when it is something else."""
    try:
        call = json.loads(text)
        arguments = call.get("arguments", call.get("parameters", {}))
        written = json.dumps(arguments, ensure_ascii=False)
        if isinstance(arguments, str):  # some models write the arguments' JSON as a string
            arguments, written = json.loads(arguments), arguments
    except (ValueError, RecursionError):
        return None
    name = call.get("name")
    if not isinstance(name, str) or not isinstance(arguments, dict):
        return None
    if head := _HEAD.match(text):
        written = text[head.end() : _Value().end(text, head.end())]
    return _Call(name, arguments, written)


class _Value:
    """Finds where a JSON object ends, though its text comes in pieces."""

    __slots__ = ("_at", "_depth", "_escaped", "_string")

    def __init__(self) -> None:
        self._at = 0
        self._depth = 0
        self._string = False
        self._escaped = False

    def forget(self) -> None:
        """What was read so far is gone from the buffer."""
        self._at = 0

    def end(self, text: str, start: int) -> int | None:
        for at in range(max(start, self._at), len(text)):
            char = text[at]
            if self._string:
                if self._escaped:
                    self._escaped = False
                elif char == "\\":
                    self._escaped = True
                elif char == '"':
                    self._string = False
            elif char == '"':
                self._string = True
            elif char in "{[":
                self._depth += 1
            elif char in "}]":
                self._depth -= 1
                if self._depth == 0:
                    return at + 1
        self._at = len(text)
        return None


def _overlap(text: str, mark: str) -> int:
    """How many characters at the end of the text could be the beginning of the mark."""
    return next((n for n in range(min(len(text), len(mark) - 1), 0, -1) if text.endswith(mark[:n])), 0)
