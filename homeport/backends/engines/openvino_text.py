"""Text and tokens of a model that OpenVINO runs, and the text of an answer as it grows.

OpenVINO's own tokenizer does the work (it is made from the GGUF). Two of its ways are mended here: it keeps only the
last 8192 tokens of a text without a word, and it knows no plain text: `<|im_start|>` always becomes the control token.
"""

import codecs
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from homeport.backends.engines.openvino_worker import forbid_telemetry
from homeport.backends.text import ENDINGS

#: What gguf_header must keep for this.
TOKEN_TYPES = "tokenizer.ggml.token_type"
_CONTROL = 3
#: Tokens that OpenVINO makes of one text at most.
_LONGEST = 8192
#: Texts in one call.
_BATCH = 256
_BETWEEN_WORDS = re.compile(r"(?<=[^\W\d_]) (?=[^\W\d_])")


class Vocabulary:
    """tokens: what each id writes, as bytes (part of a character, perhaps). ends: ids that end an answer."""

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        forbid_telemetry()
        import openvino_genai

        self._tokenizer: Any = openvino_genai.Tokenizer(str(path))
        by_text: dict[bytes, int] = self._tokenizer.get_vocab()
        self.tokens = [b""] * (max(by_text.values()) + 1)
        for text, token in by_text.items():
            self.tokens[token] = text
        types: Sequence[int] = header.get(TOKEN_TYPES) or ()
        self.control = frozenset(token for token, kind in enumerate(types) if kind == _CONTROL)
        texts = sorted((self.tokens[token].decode() for token in self.control), key=len, reverse=True)
        self._control_texts = re.compile("|".join(map(re.escape, texts))) if texts else None
        self.ends = self._ends(header)

    def ids(self, text: str, *, special: bool) -> list[int]:
        parts = [text] if special else list(self._plain(text))
        found: list[int] = []
        for first in range(0, len(parts), _BATCH):
            batch = parts[first : first + _BATCH]
            encoded = self._tokenizer.encode(batch, add_special_tokens=False)
            for part, row, mask in zip(batch, encoded.input_ids.data, encoded.attention_mask.data, strict=True):
                tokens: list[int] = row[mask == 1].tolist()
                found += tokens if len(tokens) < _LONGEST else self._long(part)
        return found

    def text(self, tokens: Sequence[int]) -> str:
        """Control tokens are written out."""
        return b"".join([self.tokens[token] for token in tokens]).decode("utf-8", "replace")

    def spoken(self, token: int) -> bytes:
        """What the token adds to an answer: a control token nothing."""
        return b"" if token in self.control else self.tokens[token]

    def _plain(self, text: str) -> Iterator[str]:
        """Parts that hold no control token's text: cut inside of it, where its marks end and its word begins."""
        start = 0
        while self._control_texts and (found := self._control_texts.search(text, start)):
            marks = re.match(r"[^\w]+", found[0])
            cut = found.start() + (marks.end() if marks and marks.end() < len(found[0]) else 1)
            yield text[start:cut]
            start = cut
        yield text[start:]

    def _long(self, text: str) -> list[int]:
        """In halves, between two words where there are any."""
        middle = len(text) // 2
        between = _BETWEEN_WORDS.search(text, middle)
        cut = between.start() if between else middle
        return self.ids(text[:cut], special=True) + self.ids(text[cut:], special=True)

    def _ends(self, header: Mapping[str, Any]) -> list[int]:
        named = {header.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")}
        known = {token for token in self.control if self.tokens[token].decode() in ENDINGS}
        return sorted(known | {int(token) for token in named if token is not None})


class GrowingText:
    """Bytes in, whole characters out; what may be the beginning of a stop text waits."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False

    def add(self, data: bytes) -> str:
        """What can be said now. Sets `stopped` when a stop text came, which is not said."""
        self._held += self._decoder.decode(data)
        found = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        self.stopped = bool(found)
        return self._say(min(found) if found else len(self._held) - self._waiting())

    def rest(self) -> str:
        """At the end: what waited. A torn character is dropped."""
        return self._say(len(self._held))

    def _say(self, length: int) -> str:
        said, self._held = self._held[:length], self._held[length:]
        return said

    def _waiting(self) -> int:
        longest = 0
        for stop in self._stops:
            for length in range(min(len(stop) - 1, len(self._held)), longest, -1):
                if self._held.endswith(stop[:length]):
                    longest = length
                    break
        return longest
