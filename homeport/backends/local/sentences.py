"""A text as the sentences that it is spoken in. One that is cut where none ends sounds wrong; two in one sound right,
and come a little later: so what is doubtful is no end."""

import re
from collections.abc import Iterator

#: Characters that are spoken at once. What is longer has no end in sight, and is cut where one breathes.
MOST = 300

#: Characters of a clause that is spoken apart, at least.
_FEWEST = 16

_BREAK = re.compile(r"[ \t]*(?:\r\n|[\n\r\v\f\x85\u2028\u2029])\s*")
#: An end, what may close around it, and the space after it. Where there is none between sentences, their ends are wide.
_END = re.compile(r"""(?:[.!?…‼⁇⁈⁉]+["'”’»)\]]*(?:\s+|$))|(?:[。！？｡]+[」』”’）]*\s*)""")
_CLAUSE = re.compile(r"[,;:—–，、；：](?:[\"'”’»)\]]*)(?=\s|[^\x00-\u2fff]|$)")
#: What comes before a full stop that is none, in lower case.
_SHORT = frozenset(
    """
    adm approx apt ave blvd bros brig ca capt cf cmdr col corp dept dr est esp gen gov hon inc lt ltd maj messrs mlle
    mme mr mrs ms mt mx prof rep rev sen sgt st vs viz
    """.split()
)
#: The same before a number.
_NUMBERED = frozenset("fig no nos op pp vol jan feb mar apr jun jul aug sep sept oct nov dec".split())


def sentences(text: str, *, most: int = MOST, first: int | None = None) -> list[str]:
    """Together they have all that can be heard of the text, in its order. None is empty, or longer than `most`.

    first: where the very first is longer, it ends at a comma before that, if there is one: somebody waits for it.
    """
    found: list[str] = []
    for line in _lines(text):
        for sentence in _ended(line):
            found.extend(_pieces(sentence, most))
    if first is not None and found and len(found[0]) > first:
        clauses = [one.end() for one in _CLAUSE.finditer(found[0], 0, first + 1) if one.end() >= _FEWEST]
        if clauses:
            found[:1] = [found[0][: clauses[0]].rstrip(), found[0][clauses[0] :].lstrip()]
    return found


def _lines(text: str) -> Iterator[str]:
    """A line that goes on in lower case was broken for the eye alone."""
    line = ""
    for one in _BREAK.split(text):
        wrapped = line and one[:1].islower() and not _END.search(line[-3:])
        if not wrapped and line.strip():
            yield line.strip()
        line = f"{line} {one}" if wrapped else one
    if line.strip():
        yield line.strip()


def _ended(line: str) -> Iterator[str]:
    begin = 0
    for end in _END.finditer(line):
        if end.end() < len(line) and _goes_on(line, begin, end):
            continue
        if sentence := line[begin : end.end()].strip():
            yield sentence
        begin = end.end()
    if sentence := line[begin:].strip():
        yield sentence


def _goes_on(line: str, begin: int, end: re.Match[str]) -> bool:
    """After an abbreviation, an initial (`J. K.`), a number in a list (`1. First`), or before a small letter."""
    if line[end.end()].islower():
        return True
    if not re.fullmatch(r"\.\s+", end[0]):
        return False
    word = line[begin : end.start()].rpartition(" ")[2].lstrip("\"'“‘«([")
    return (
        word.lower() in _SHORT
        or (word.lower() in _NUMBERED and line[end.end()].isdecimal())
        or (len(word) == 1 and word.isalpha())
        or "." in word  # e.g., U.S.
        or (word.isdecimal() and len(word) < 3 and not line[begin : end.start()].rpartition(" ")[0].strip())
    )


def _pieces(sentence: str, most: int) -> Iterator[str]:
    """At the last comma that there is room for, else between words, else anywhere."""
    while len(sentence) > most:
        window = sentence[: most + 1]
        clauses = [one.end() for one in _CLAUSE.finditer(sentence, 0, most + 1) if most // 4 <= one.end() <= most]
        at = clauses[-1] if clauses else window.rstrip().rfind(" ")
        if at <= 0:
            at = most
        yield sentence[:at].rstrip()
        sentence = sentence[at:].lstrip()
    if sentence:
        yield sentence
