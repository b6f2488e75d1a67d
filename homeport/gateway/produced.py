"""The text of an answer out of its frames: what is counted when nobody else has counted it."""

import re

import msgspec

#: A string of JSON behind one of the names under which OpenAI's objects carry what a model has written.
_TEXT = re.compile(rb'"(?:content|text|refusal|arguments|reasoning_content)": ?"((?:[^"\\]|\\.)+)"')
#: Bytes of an answer that are kept to be counted; of a longer one its beginning tells how many bytes make a token.
MOST = 64 * 1024
#: Bytes of frames that are looked through together.
_AT_ONCE = 4096


class Produced:
    """False while nothing was produced."""

    __slots__ = ("_all", "_frames", "_kept", "_parts", "_waiting")

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._waiting = 0
        self._parts: list[bytes] = []
        self._kept = 0
        self._all = 0

    def __bool__(self) -> bool:
        self._look()
        return self._all > 0

    def take(self, data: bytes) -> None:
        self._frames.append(data)
        self._waiting += len(data)
        if self._waiting > _AT_ONCE:
            self._look()

    def _look(self) -> None:
        """Through the frames that wait: seldom, as most answers are counted by their backend."""
        data = b"".join(self._frames)
        self._frames, self._waiting = [], 0
        for text in _TEXT.findall(data):
            self._all += len(text)
            if self._kept < MOST:
                self._parts.append(text)
                self._kept += len(text)

    @property
    def text(self) -> str:
        """What was kept: strings of JSON, put together, as text."""
        self._look()
        raw = b"".join(self._parts)
        try:
            return msgspec.json.decode(b'"' + raw + b'"', type=str)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return raw.decode("utf-8", "replace")

    @property
    def times(self) -> float:
        """How many times as long as that the answer was."""
        self._look()
        return self._all / self._kept if self._kept else 1.0
