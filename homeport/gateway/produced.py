"""The text of an answer out of its frames: what is counted when nobody else has counted it."""

import re

import msgspec

#: A string of JSON behind one of the names under which OpenAI's objects carry what a model has written.
_TEXT = re.compile(rb'"(?:content|text|refusal|arguments|reasoning_content)": ?"((?:[^"\\]|\\.)+)"')
#: Bytes of an answer that are kept to be counted; of a longer one its beginning tells how many bytes make a token.
MOST = 64 * 1024


class Produced:
    """False while nothing was produced."""

    __slots__ = ("_all", "_kept", "_parts")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._kept = 0
        self._all = 0

    def __bool__(self) -> bool:
        return self._all > 0

    def take(self, data: bytes) -> None:
        for text in _TEXT.findall(data):
            self._all += len(text)
            if self._kept < MOST:
                self._parts.append(text)
                self._kept += len(text)

    @property
    def text(self) -> str:
        """What was kept: strings of JSON, put together, as text."""
        raw = b"".join(self._parts)
        try:
            return msgspec.json.decode(b'"' + raw + b'"', type=str)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return raw.decode("utf-8", "replace")

    @property
    def times(self) -> float:
        """How many times as long as that the answer was."""
        return self._all / self._kept if self._kept else 1.0
