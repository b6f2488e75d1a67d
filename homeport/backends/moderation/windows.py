"""A text in pieces of a sentence or a few: of a long text a single vector says little about one bad sentence."""

import re
from collections.abc import Iterator

#: Characters of a piece at most. The heads are fitted to sentences, which are shorter.
SIZE = 200
_SENTENCE = re.compile(r"(?<=[.!?\n])\s+")


def windows(text: str) -> Iterator[str]:
    """Pieces without white space around them, at ends of sentences where there are some; none of an empty text."""
    held = ""
    for sentence in _SENTENCE.split(text):
        for piece in _pieces(sentence.strip()):
            if held and len(held) + 1 + len(piece) > SIZE:
                yield held
                held = piece
            else:
                held = f"{held} {piece}" if held else piece
    if held:
        yield held


def _pieces(sentence: str) -> Iterator[str]:
    while len(sentence) > SIZE:
        cut = sentence.rfind(" ", SIZE // 2, SIZE)
        cut = cut if cut > 0 else SIZE
        yield sentence[:cut].rstrip()
        sentence = sentence[cut:].lstrip()
    if sentence:
        yield sentence
