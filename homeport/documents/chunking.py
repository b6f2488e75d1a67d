"""A document's text in chunks of so many tokens, each with its place.

Tokens are those of cl100k_base, the encoding of OpenAI's embeddings (homeport/openai_tokens.py), of the text as a
whole: it is encoded once, and chunks are windows over its tokens that begin and end between two characters.
"""

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from functools import cache
from itertools import accumulate
from typing import NamedTuple

from homeport import openai_tokens
from homeport.documents.document import SEPARATOR, Document, UnreadableFile, too_large

#: OpenAI's limit of a file in a vector store.
TOKENS_AT_MOST = 5_000_000

#: Characters that are encoded at once. The encoder takes n log n for a run without spaces, and more than a million
#: characters of one kind make it panic.
_PIECE = 100_000
#: Where a piece may end: from here on at a space.
_PIECE_ENDS = 99_000
#: The smallest chunk: a character may be four tokens, and neighbours must get on however they overlap.
SMALLEST = 16
#: Of a chunk: where its end is looked for, and of an overlap, where its beginning is.
_SOFT = 0.15

#: What a chunk ends after, from the best to the least.
_PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
_SENTENCE = re.compile(r"[.!?…؟।][\"'”’»)\]]*\s+|[。！？][”’」』）]*\s*")
_LINE = re.compile(r"\n\s*")
_WORD = re.compile(r"\s+")
_ENDS = (_PARAGRAPH, _SENTENCE, _LINE, _WORD)


class Chunk(NamedTuple):
    """A passage: `text == document.text[begins:ends]`."""

    #: From 0.
    number: int
    text: str
    #: Of the document that it has, in whole or in part; never more than were asked for.
    tokens: int
    #: That its first character stands on; None where the document has no pages.
    page: int | None
    begins: int
    ends: int


def chunks(document: Document, size: int, overlap: int) -> Iterator[Chunk]:
    """All of its text, in order: neighbours touch, or have at most `overlap` tokens in common.

    A chunk has at most `size` tokens (SMALLEST or more) and ends after a paragraph, sentence, line or word where one
    ends in its last 15 %. overlap: at most half of the size. Raises UnreadableFile: the text has more than
    TOKENS_AT_MOST. This is work for a thread: a million tokens take seconds, most of them without the GIL.
    """
    if size < SMALLEST or not 0 <= overlap <= size // 2:
        raise ValueError(f"chunks of {size} tokens cannot overlap by {overlap}")
    text = document.text
    tokens = _Tokens(text)
    pages = _Pages(document)
    begins = number = 0
    while begins < len(text):
        ends = _end(text, tokens, begins, size)
        held = tokens.before(ends) - tokens.of(begins)
        yield Chunk(number, text[begins:ends], held, pages.of(begins), begins, ends)
        if ends == len(text):
            return
        begins = _begin(text, tokens, begins, ends, overlap)
        number += 1


def _end(text: str, tokens: "_Tokens", begins: int, size: int) -> int:
    first = tokens.of(begins)
    hard = tokens.end(first + size)
    if hard == len(text):
        return hard
    soft = max(tokens.end(first + size - int(size * _SOFT)), begins)
    for ending in _ENDS:
        found = [match.end() for match in ending.finditer(text, soft, hard)]
        if found:
            return found[-1]
    return hard


def _begin(text: str, tokens: "_Tokens", begins: int, ends: int, overlap: int) -> int:
    """Of the next chunk: `overlap` tokens before the last one's end, or a little later, where a word begins."""
    if overlap == 0:
        return ends
    hard = tokens.begin(tokens.before(ends) - overlap)
    soft = min(tokens.begin(tokens.of(hard) + int(overlap * _SOFT)), ends)
    for ending in (_PARAGRAPH, _SENTENCE, _WORD):
        if (found := ending.search(text, hard, soft)) is not None:
            hard = found.end()
            break
    return min(max(hard, begins + 1), ends)


class _Tokens:
    """Where the tokens of a text begin and end, in characters."""

    def __init__(self, text: str) -> None:
        counts, inside = _table()
        encoding = _encoding()
        #: Characters that begin in the tokens before each one, and in all of them.
        self._begun = array("I", [0])
        #: Whether each one begins inside of a character.
        self._inside = bytearray()
        for piece in _pieces(text):
            tokens = encoding.encode_ordinary(piece)
            self._inside.extend(map(inside.__getitem__, tokens))
            running = accumulate(map(counts.__getitem__, tokens), initial=self._begun.pop())
            self._begun.extend(running)
            if len(self._inside) > TOKENS_AT_MOST:
                raise too_large(f"A file may have {TOKENS_AT_MOST:,} tokens: split it into several.")

    def of(self, at: int) -> int:
        """The token in which the character begins."""
        return bisect_right(self._begun, at) - 1

    def before(self, at: int) -> int:
        """How many tokens have something of the characters before this one."""
        token = self.of(at)
        whole = self._begun[token] == at and not (token < len(self._inside) and self._inside[token])
        return token if whole else token + 1

    def end(self, token: int) -> int:
        """How many characters end before this token, or in all of them."""
        if token >= len(self._inside):
            return self._begun[-1]
        return self._begun[token] - self._inside[token]

    def begin(self, token: int) -> int:
        """The first character that begins in this token, or after it."""
        return self._begun[min(max(token, 0), len(self._inside))]


class _Pages:
    """Which page a character stands on; what is between two pages is the first one's."""

    def __init__(self, document: Document) -> None:
        lengths = (len(page.text) + len(SEPARATOR) for page in document.pages)
        self._begin = list(accumulate(lengths, initial=0))[:-1]
        self._numbers = [page.number for page in document.pages]

    def of(self, at: int) -> int | None:
        return self._numbers[bisect_right(self._begin, at) - 1]


def _pieces(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        end = at + _PIECE
        if end < len(text):
            space = max(text.rfind(" ", at + _PIECE_ENDS, end), text.rfind("\n", at + _PIECE_ENDS, end))
            end = space if space > at else end
        yield text[at:end]
        at = end


def _encoding() -> openai_tokens.Encoding:
    encoding = openai_tokens.encoding(openai_tokens.CL100K)
    if encoding is None:
        raise UnreadableFile("server_error", "Reading files needs pip install 'homeport[documents]' on the server.")
    return encoding


@cache
def _table() -> tuple[bytes, bytes]:
    """Of each token: how many characters begin in it, and whether it begins inside of one."""
    encoding = _encoding()
    counts, inside = bytearray(), bytearray()
    for token in range(encoding.max_token_value + 1):
        try:
            made = encoding.decode_single_token_bytes(token)
        except KeyError:  # a number that no token has
            made = b" "
        counts.append(sum(byte & 0xC0 != 0x80 for byte in made))
        inside.append(made[0] & 0xC0 == 0x80)
    return bytes(counts), bytes(inside)
