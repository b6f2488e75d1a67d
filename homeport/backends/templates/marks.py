"""Whose text is it? A client's words must never become a control token, though a template's words must.

Where a client's text could hold one, it is fenced before rendering: an opening and a closing private-use character
around the string, taken out again where the rendered text is split. A template that cuts inside a fence (it splits at
`</think>`, say) leaves the fences unbalanced; then the second way is taken: each character that can begin a control
token is replaced by a private-use character of its own, and stands alone as a segment. That cannot come apart, at the
price of a slightly different tokenisation.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from homeport.errors import InvalidRequest

BEGINNINGS = "<[>"  # of every control token we know: <|im_start|> <s> <｜User｜> [INST] [gMASK] >>TITLE<<
_PRIVATE = range(0xE000, 0xF8FF)


class Segment(NamedTuple):
    """special: a control token's text in it becomes that token; else it stays plain characters."""

    text: str
    special: bool


Wrap = Callable[[str], str]


def beginnings(control_tokens: Iterable[str]) -> frozenset[str]:
    return frozenset(BEGINNINGS) | {token[0] for token in control_tokens if token}


def plain(text: str) -> str:
    return text


class Fences:
    """Strings that hold a suspicious character are put between two characters that no string of this request has."""

    def __init__(self, suspicious: frozenset[str], free: list[str]) -> None:
        self._suspicious = suspicious
        self._open, self._close = free[:2]

    def wrap(self, text: str) -> str:
        return f"{self._open}{text}{self._close}" if not self._suspicious.isdisjoint(text) else text

    def split(self, rendered: str) -> list[Segment] | None:
        """None when the template has torn a fence."""
        segments: list[Segment] = []
        head, *fenced = rendered.split(self._open)
        if self._close in head:
            return None
        segments.append(Segment(head, True))
        for piece in fenced:
            inside, closed, outside = piece.partition(self._close)
            if not closed or self._close in outside:
                return None
            segments += (Segment(inside, False), Segment(outside, True))
        return [s for s in segments if s.text]


class Veils:
    """Each suspicious character is replaced by one that no string of this request has."""

    def __init__(self, suspicious: frozenset[str], free: list[str]) -> None:
        self._veil = dict(zip(sorted(suspicious), free, strict=False))
        self._lift = {veil: char for char, veil in self._veil.items()}
        self._table = str.maketrans(self._veil)

    def wrap(self, text: str) -> str:
        return text.translate(self._table)

    def split(self, rendered: str) -> list[Segment]:
        segments: list[Segment] = []
        start = 0
        for at, char in enumerate(rendered):
            if char in self._lift:
                segments += (Segment(rendered[start:at], True), Segment(self._lift[char], False))
                start = at + 1
        segments.append(Segment(rendered[start:], True))
        return [s for s in segments if s.text]


def free_characters(strings: Iterable[str], count: int) -> list[str]:
    """Private-use characters that stand in none of the strings."""
    used = set().union(*map(set, strings))
    free: list[str] = []
    for code in (*_PRIVATE, *range(0xF0000, 0xFFFFE)):
        if chr(code) not in used:
            free.append(chr(code))
            if len(free) == count:
                return free
    raise InvalidRequest("The messages have every private-use character of Unicode. Leave one out.", param="messages")
