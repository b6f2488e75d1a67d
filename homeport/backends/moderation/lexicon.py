"""Words that say something by themselves: which groups of `lexicon.txt` a text has, as numbers for the heads."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

#: Groups that mean more together than each alone.
_TOGETHER = (
    ("you", "insult"),
    ("you", "kill"),
    ("you", "profanity"),
    ("will", "kill"),
    ("will", "hurt"),
    ("group", "dehumanise"),
    ("group", "kill"),
    ("group", "insult"),
    ("i", "self_harm"),
    ("how_to", "self_harm"),
    ("how_to", "crime"),
    ("how_to", "weapon"),
    ("how_to", "kill"),
    ("gore", "kill"),
    ("gore", "weapon"),
    ("sexual", "i"),
    ("care", "self_harm"),
    ("care", "kill"),
    ("technical", "kill"),
)
#: A group counts as much as this for its first word, and less for each other.
_MOST = 3


@cache
def groups() -> Mapping[str, "re.Pattern[str]"]:
    """name -> what finds its words in a text in lower case."""
    return {name: _pattern(words) for name, words in _read().items()}


@cache
def names() -> Sequence[str]:
    """Of the numbers that `numbers` gives, in their order."""
    return [*groups(), *("+".join(pair) for pair in _TOGETHER)]


def numbers(text: str) -> list[float]:
    """From 0 to 1 each: how much of a group there is, and which groups stand together."""
    lowered = text.lower().replace("\u2019", "'")
    found = {name: min(len(pattern.findall(lowered)), _MOST) / _MOST for name, pattern in groups().items()}
    return [*found.values(), *(float(bool(found[one] and found[other])) for one, other in _TOGETHER)]


def mentions(group: str, text: str) -> bool:
    return groups()[group].search(text.lower()) is not None


def _read() -> Mapping[str, list[str]]:
    read: dict[str, list[str]] = {}
    for line in files(__package__).joinpath("lexicon.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            read[line.strip("[]")] = words = []
        elif line and not line.startswith("#"):
            words.extend(line.split())
    return read


def _pattern(words: Sequence[str]) -> "re.Pattern[str]":
    def alternative(word: str) -> str:
        return re.escape(word.rstrip("*")).replace("_", r"\s+") + (r"\w*" if word.endswith("*") else "")

    return re.compile(r"(?<!\w)(?:" + "|".join(map(alternative, words)) + r")(?!\w)")
