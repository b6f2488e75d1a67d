"""A short text that a regular expression matches: literals, classes, groups, choices (the first), counts (the least).

What lies beyond (look-around, back-references) is refused, and every answer is tried against the expression itself.
"""

import re

_CLASSES = {"d": "0", "w": "a", "s": " ", "D": "a", "W": " ", "S": "a", "t": "\t", "n": "\n", "r": "\r"}
_COUNT = re.compile(r"\{(\d+)(?:,\d*)?\}")


class NoExample(Exception):
    pass


def example(pattern: str, least: int = 0) -> str:
    """A text of at least so many characters. Raises NoExample."""
    try:
        expression = re.compile(pattern)
    except re.error as exc:
        raise NoExample(str(exc)) from exc
    for more in range(2):
        for grow in (0, least):
            reader = _Reader(pattern, grow, more)
            text = reader.choice()
            if reader.at < len(pattern):
                raise NoExample(f"unexpected {pattern[reader.at]!r}")
            for candidate in (text, text.ljust(least, "x"), text.ljust(least, text[-1:] or "x")):
                if len(candidate) >= least and expression.search(candidate):
                    return candidate
    raise NoExample("no short text matches it")


class _Reader:
    """Recursive descent. grow: the least that an unbounded count repeats; more: how often `*` and `?` do."""

    def __init__(self, pattern: str, grow: int, more: int) -> None:
        self._pattern = pattern
        self._grow = grow
        self._more = more
        self.at = 0

    def choice(self) -> str:
        first = self._sequence()
        while self._peek() == "|":
            self.at += 1
            self._sequence()
        return first

    def _sequence(self) -> str:
        parts: list[str] = []
        while (char := self._peek()) and char not in "|)":
            if char in "^$":
                self.at += 1
                continue
            atom = self._atom()
            parts.append(atom * self._count())
        return "".join(parts)

    def _atom(self) -> str:
        char = self._take()
        if char == "(":
            if self._pattern.startswith("?:", self.at):
                self.at += 2
            elif self._peek() == "?":
                raise NoExample("look-around and named groups are not understood")
            inner = self.choice()
            if self._take() != ")":
                raise NoExample("a group is not closed")
            return inner
        if char == "[":
            return self._class()
        if char == "\\":
            return self._escape()
        return "a" if char == "." else char

    def _escape(self) -> str:
        char = self._take()
        if char in "bBAZ":
            return ""
        if char.isdigit():
            raise NoExample("back-references are not understood")
        if char.isalpha() and char not in _CLASSES:
            raise NoExample(f"the escape \\{char} is not understood")
        return _CLASSES.get(char, char)

    def _class(self) -> str:
        start = self.at
        negated = self._peek() == "^"
        if negated:
            self.at += 1
        first = self._member()
        while self._peek() != "]":
            self._member()
        self.at += 1
        if not negated:
            return first
        members = re.compile(self._pattern[start - 1 : self.at])
        return next(c for c in map(chr, (*range(97, 123), *range(32, 0x3000))) if members.match(c))

    def _member(self) -> str:
        char = self._take()
        return self._escape() if char == "\\" else char

    def _count(self) -> int:
        char = self._peek()
        count = 1
        if char and char in "*?+":
            self.at += 1
            count = 1 if char == "+" else self._more
            count = max(count, self._grow) if char != "?" else count
        elif counted := _COUNT.match(self._pattern, self.at):
            self.at = counted.end()
            count = int(counted[1])
            if counted[0].endswith(",}"):
                count = max(count, self._grow)
        else:
            return 1
        if self._peek() in ("?", "+"):  # lazy and possessive counts
            self.at += 1
        if count > 10_000:
            raise NoExample("it wants too many repetitions")
        return count

    def _peek(self) -> str:
        return self._pattern[self.at : self.at + 1]

    def _take(self) -> str:
        if not (char := self._peek()):
            raise NoExample("it ends too early")
        self.at += 1
        return char
