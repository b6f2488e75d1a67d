"""Words, for what finds texts by them: the same ones of a text and of a query, on either database.

A word is a run of letters and digits. Chinese, Japanese and Korean are written without spaces between words, or with
endings that no stemmer knows: there every two neighbours are a word, as their search engines have it.
"""

import re
import unicodedata

#: Han, kana, hangul.
_RUN = "\u1100-\u11ff\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
_RUN += "\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003134f"
_JOINED = re.compile(f"[{_RUN}]+")
#: English words that nearly every text has: they tell nothing of what is looked for.
_COMMON = frozenset(
    "a about above after again against all am an and any are as at be because been before being below between both but "
    "by can could did do does doing down during each few for from further had has have having he her here hers herself "
    "him himself his how i if in into is it its itself just me more most my myself no nor not now of off on once only "
    "or other our ours ourselves out over own s same she should so some such t than that the their theirs them "
    "themselves then there these they this those through to too under until up very was we were what when where which "
    "while who whom why will with would you your yours yourself yourselves".split()
)


def apart(text: str) -> str | None:
    """The words of a text with spaces between them; None where it has them already."""
    if _JOINED.search(text) is None:
        return None
    return " ".join(_split(_JOINED.sub(lambda run: f" {_pairs(run[0])} ", text)))


def words(text: str) -> list[str]:
    """Of a query, each once, in lower case. One that ends in `*` is the beginning of a word."""
    parted = _JOINED.sub(lambda run: f" {_asked(run[0])} ", text.lower())
    each = dict.fromkeys(_split(parted))
    return [f"{word}*" if len(word) == 1 and _JOINED.fullmatch(word) else word for word in each]


def telling(text: str) -> list[str]:
    """Of a query, those that are not in nearly every text; all of them, where it has no others."""
    every = words(text)
    return [word for word in every if word not in _COMMON] or every


def _split(text: str) -> list[str]:
    """As FTS5 does it, which the tables of the words tell (migration 0003)."""
    return "".join(one if unicodedata.category(one)[0] in "LNM" else " " for one in text).split()


def _pairs(run: str) -> str:
    """The last one stands alone, too, so that whatever begins with it is found."""
    return " ".join([*(run[at : at + 2] for at in range(len(run) - 1)), run[-1]])


def _asked(run: str) -> str:
    return run if len(run) == 1 else " ".join(run[at : at + 2] for at in range(len(run) - 1))
