"""What a text cites, found while it is written: markers of passages (`【4:0†source】`), and links to files that code
has made (`sandbox:/mnt/data/plot.png`).

What may be the beginning of either is held back until it is known, so never more than one of them is long. What looks
like one and is none of those that this loop has found or made stays text.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote

from homeport.loop.turns import Annotation, MadeFile, Passage, Ran, Searched

LINK = "sandbox:/mnt/data/"
#: A label of which more is written is none; that of a passage is shorter.
_LONGEST_LABEL = 255
_MARKER = rf"【(\d{{1,6}}):(\d{{1,6}})(?:†[^【】\n]{{0,{_LONGEST_LABEL}}})?】"
_marker = re.compile(_MARKER)
_open_marker = re.compile(rf"【(?:\d{{0,6}}|\d{{1,6}}:\d{{0,6}}|\d{{1,6}}:\d{{1,6}}†[^【】\n]{{0,{_LONGEST_LABEL}}})\Z")
#: After a path: it does not go on.
_ENDS = r"(?![\w/-]|\.\w)"


class Cited(NamedTuple):
    """A piece of text that is known, and what is cited in it, or where it ends."""

    text: str
    annotations: Sequence[Annotation] = ()


class Citations:
    """Of one message, from its first character on."""

    def __init__(self, sources: Sequence[Searched | Ran], *, keeps_markers: bool = True) -> None:
        """sources: what the loop has found and made so far. keeps_markers: else they are taken out, with a space before
        them, and an annotation says where they stood. Links stay either way."""
        self._keeps = keeps_markers
        self._passages: dict[tuple[int, int], Passage] = {}
        self._files: dict[str, tuple[str, MadeFile]] = {}
        for source in sources:
            if isinstance(source, Searched):
                self._passages |= {_place(passage.marker): passage for passage in source.passages}
            else:
                for file in source.files:
                    for path in (file.path, quote(file.path)):
                        self._files[LINK + path] = source.container_id, file
        self._links = sorted(self._files, key=len, reverse=True)
        self._longest_link = len(self._links[0]) if self._links else 0
        self._pattern = self._compiled()
        self._held = ""
        self._at = 0

    def _compiled(self) -> "re.Pattern[str] | None":
        """None: there is nothing to cite."""
        every = [_MARKER if self._keeps else f" ?{_MARKER}"] if self._passages else []
        if self._links:
            every.append(f"(?:{'|'.join(map(re.escape, self._links))}){_ENDS}")
        return re.compile("|".join(every)) if every else None

    def feed(self, delta: str) -> Cited:
        """More of the text."""
        if self._pattern is None:
            return Cited(delta)
        text = self._held + delta
        known = self._known(text)
        self._held = text[known:]
        return self._cited(text, known)

    def end(self) -> Cited:
        """There is no more: what was held back."""
        text, self._held = self._held, ""
        return self._cited(text, len(text)) if text else Cited("")

    def _known(self, text: str) -> int:
        """Where what may be the beginning of a marker, or of a link, begins; else the end."""
        known = len(text)
        if self._passages:
            at = text.rfind("【")
            if at >= 0 and _open_marker.match(text, at):
                known = at
            if not self._keeps and text.endswith(" ", 0, known):
                known -= 1
        at = text.find(LINK[0], max(0, len(text) - self._longest_link - 2)) if self._links else -1
        while 0 <= at < known:
            if self._is_open(text[at:]):
                return at
            at = text.find(LINK[0], at + 1)
        return known

    def _is_open(self, rest: str) -> bool:
        """Whether it may become a link, or be a longer one's beginning; after a link one or two characters tell."""
        if not (rest.startswith(LINK) or LINK.startswith(rest)):
            return False
        return any(
            link.startswith(rest) or (rest.startswith(link) and rest[len(link) :] in ("", ".")) for link in self._links
        )

    def _cited(self, text: str, known: int) -> Cited:
        """Of what was held back and has come, the part that is known."""
        if self._pattern is None:
            return Cited(text[:known])
        pieces: list[str] = []
        annotations: list[Annotation] = []
        done, begins = 0, self._at
        for match in self._pattern.finditer(text):
            if match.start() >= known:
                break
            found, drops = self._found(match)
            if found is None:
                continue
            before = text[done : match.start()]
            pieces.append(before)
            begins += len(before)
            shown = "" if drops else match[0]
            pieces.append(shown)
            annotations.append(self._annotation(match[0].lstrip(" "), begins, begins + len(shown), found))
            begins += len(shown)
            done = match.end()
        pieces.append(text[done:known])
        whole = "".join(pieces)
        self._at += len(whole)
        return Cited(whole, annotations)

    def _found(self, match: "re.Match[str]") -> tuple[Passage | tuple[str, MadeFile] | None, bool]:
        """What it cites; and whether it is taken out of the text."""
        if match[0] in self._files:
            return self._files[match[0]], False
        marker = _place(match[0].lstrip(" "))
        return self._passages.get(marker), not self._keeps

    def _annotation(self, text: str, begins: int, ends: int, found: Passage | tuple[str, MadeFile]) -> Annotation:
        if isinstance(found, Passage):
            return Annotation("file_citation", text, begins, ends, found.file_id, found.filename)
        container_id, file = found
        name = file.path.rpartition("/")[2]
        return Annotation("file_path", text, begins, ends, file.file_id, name, container_id, file.container_file_id)


def marker(call: int, result: int, filename: str) -> str:
    """Of a passage. filename: shortened, without what would end it."""
    label = re.sub(r"[【】†\s]+", " ", filename).strip()
    return f"【{call}:{result}†{label[:64]}】"


def number_of(marker: str) -> int:
    """Of the call that has found its passage."""
    return _place(marker)[0]


def _place(marker: str) -> tuple[int, int]:
    """Of a call, and of a result in it: that is what a marker is known by, whatever its label is."""
    match = _marker.fullmatch(marker)
    assert match is not None
    return int(match[1]), int(match[2])
