"""A question as a query, where no model rewrites it: the words that say that somebody asks are left out.

`"What is the return policy for shoes?"` becomes `return policy shoes`. What stands in quotation marks stays as it is.
English alone: of other languages nothing is left out.
"""

import re

_PIECE = re.compile(r'"[^"]+"|“[^”]+”|\S+')
_EDGES = ".,;:!?…()[]{}«»\"'“”‘’"
_LEFT_OUT = frozenset(
    "a an the is are was were be been being am do does did done have has had having can could will would shall should "
    "may might must i i'd i'm i've i'll me my mine we us our you your he him his she her it it's its they them their "
    "this that these those there here what what's which who who's whom whose when where why how if so of to in on at "
    "by for from with about as into and or but please tell know show give find explain describe want wants like need "
    "looking look wondering wonder help let let's hi hello hey thanks thank just really very also some any".split()
)


def as_query(question: str) -> str:
    """The question itself, where nothing would be left of it."""
    kept = [piece for piece in _PIECE.findall(question) if not _is_left_out(piece)]
    kept = [piece if _is_quoted(piece) else piece.strip(_EDGES) or piece for piece in kept]
    return " ".join(kept) or question.strip()


def _is_quoted(piece: str) -> bool:
    return len(piece) > 2 and piece[0] in '"“' and piece[-1] in '"”'


def _is_left_out(piece: str) -> bool:
    if _is_quoted(piece):
        return False
    word = piece.strip(_EDGES).lower().replace("’", "'")
    return not word or word in _LEFT_OUT
