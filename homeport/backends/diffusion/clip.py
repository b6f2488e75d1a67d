"""The tokens of a prompt, as CLIP's text encoders read it: pairs of bytes that were often together are one token.

Source: `tokenizer/vocab.json` and `merges.txt` as transformers writes them; what it calls CLIPTokenizer.
"""

import heapq
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

#: Of a whole word's last piece.
_END = "</w>"
_ENDINGS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
#: Files of 49,408 tokens have 1 MB; no tokenizer of such models is much larger.
_LARGEST = 64 * 2**20
_BEGIN_OF_TEXT, _END_OF_TEXT = "<|startoftext|>", "<|endoftext|>"
#: With the text's two ends.
_LENGTH = 77
#: What tokenizer_config.json calls them.
_NAMED = (("first", "bos_token"), ("last", "eos_token"), ("padding", "pad_token"), ("unknown", "unk_token"))


class ClipTokenizer:
    """length: tokens that the model reads, no more and no less. first, last: what is at the text's ends. padding: what
    follows them."""

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        merges: Mapping[tuple[str, str], int],
        *,
        first: str = _BEGIN_OF_TEXT,
        last: str = _END_OF_TEXT,
        padding: str = _END_OF_TEXT,
        unknown: str = _END_OF_TEXT,
        length: int = _LENGTH,
    ) -> None:
        """merges: pair -> its rank. Raises ValueError: one of the tokens is not in the vocabulary."""
        if missing := [one for one in (first, last, padding, unknown) if one not in vocabulary]:
            raise ValueError(f"its vocabulary has no {missing[0]!r}")
        self.length = length
        self._vocabulary = vocabulary
        self._merges = merges
        self._first, self._last, self._padding = vocabulary[first], vocabulary[last], vocabulary[padding]
        self._unknown = vocabulary[unknown]

    @classmethod
    def read(cls, folder: Path) -> "ClipTokenizer":
        """Of a folder `tokenizer`. Raises ValueError, OSError."""
        vocabulary = _json(folder / "vocab.json", dict[str, int])
        lines = _text(folder / "merges.txt").splitlines()
        pairs = [tuple(line.split(" ")) for line in lines if line.strip() and not line.startswith("#version")]
        if bad := [pair for pair in pairs if len(pair) != 2]:
            raise ValueError(f"{folder / 'merges.txt'} has a line that is no pair: {' '.join(bad[0])[:40]!r}")
        merges = {(first, second): rank for rank, (first, second) in enumerate(pairs)}
        config: dict[str, Any] = {}
        for name in ("special_tokens_map.json", "tokenizer_config.json"):
            if (folder / name).is_file():
                config |= _json(folder / name, dict[str, Any])
        named = {ours: _special(config[theirs]) for ours, theirs in _NAMED if config.get(theirs) is not None}
        length = config.get("model_max_length")
        if isinstance(length, int) and 2 < length <= 1024:  # what has none has an enormous one there
            named["length"] = length
        try:
            return cls(vocabulary, merges, **named)
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from None

    @property
    def room(self) -> int:
        """Tokens of a prompt."""
        return self.length - 2

    def ids(self, text: str) -> list[int]:
        """Of any length, without what is at its ends. Names of control tokens are plain text; so is `!`, by which
        SDXL's second tokenizer pads: transformers takes one in a prompt for padding, whoever taught it did not.
        """
        found: list[int] = []
        for word in _words(unicodedata.normalize("NFC", text).lower()):
            pieces = [_CHARACTERS[byte] for byte in word.encode()]
            pieces[-1] += _END
            found += [self._vocabulary.get(piece, self._unknown) for piece in self._merged(pieces)]
        return found

    def padded(self, text: str) -> list[int]:
        """`length` tokens. The text has room."""
        ids = [self._first, *self.ids(text), self._last]
        assert len(ids) <= self.length
        return ids + [self._padding] * (self.length - len(ids))

    def _merged(self, pieces: list[str]) -> list[str]:
        """The pair of the lowest rank becomes one piece, the first one of them first, until there is none. In a time
        that hardly grows faster than the word, which may be a whole prompt."""
        after = [*range(1, len(pieces)), -1]
        before = [-1, *range(len(pieces) - 1)]
        waiting: list[tuple[int, int, str, str]] = []

        def consider(at: int) -> None:
            if at >= 0 and (end := after[at]) >= 0:
                pair = (pieces[at], pieces[end])
                if (rank := self._merges.get(pair)) is not None:
                    heapq.heappush(waiting, (rank, at, *pair))

        for at in range(len(pieces)):
            consider(at)
        while waiting:
            _, at, first, second = heapq.heappop(waiting)
            end = after[at]
            if pieces[at] != first or end < 0 or pieces[end] != second:
                continue  # one of them has become part of another since
            pieces[at], pieces[end] = first + second, ""
            after[at] = after[end]
            if after[end] >= 0:
                before[after[end]] = at
            consider(before[at])
            consider(at)
        return [piece for piece in pieces if piece]


def _characters() -> dict[int, str]:
    """Each byte as a character that can be seen, as GPT-2 has it: those of Latin-1 that can are themselves."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + at) for at, byte in enumerate(others)}


_CHARACTERS = _characters()


def _words(text: str) -> Iterator[str]:
    """Letters that are together, single digits, and what is neither; endings like `'s` for themselves."""
    at = 0
    while at < len(text):
        ending = next((one for one in _ENDINGS if text.startswith(one, at)), None)
        end = at + 1
        if ending is not None:
            end = at + len(ending)
        elif (kind := _kind(text[at])) in ("letters", "others"):
            while end < len(text) and _kind(text[end]) == kind:
                end += 1
        if ending is not None or kind != "space":
            yield text[at:end]
        at = end


def _kind(character: str) -> str:
    if character.isspace():
        return "space"
    return {"L": "letters", "N": "number"}.get(unicodedata.category(character)[0], "others")


def _special(value: Any) -> Any:
    """A control token is a text, or an object that has one."""
    return value.get("content") if isinstance(value, dict) else value


def _text(path: Path) -> str:
    if not path.is_file():
        raise ValueError(f"there is no {path}")
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"{path} is too large to be what its name says")
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text") from None


def _json(path: Path, kind: Any) -> Any:
    try:
        return msgspec.json.decode(_text(path), type=kind)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{path}: {error}") from None
