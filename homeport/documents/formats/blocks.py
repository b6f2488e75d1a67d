"""Text as it is put together out of a tree of paragraphs, lines and tables, whatever the tree is written in."""

from collections.abc import Iterable

#: What may stand between two texts; the greater one wins where several are due.
NOTHING, SPACE, LINE, PARAGRAPH = range(4)
_WRITTEN = ("", " ", "\n", "\n\n")


class Blocks:
    """What is written comes out without gaps at its ends, and with one gap between two texts.

    A table comes out as a line a row. Where a cell has a table of its own, the outer one is there for the layout, and
    the cells of that row become paragraphs.
    """

    def __init__(self) -> None:
        self._written: list[str] = []
        self._due = NOTHING
        self._has_table = False

    def words(self, text: str) -> None:
        """Of running text, where any white space is a space."""
        words = text.split()
        if text and (not words or text[0].isspace()):
            self.gap(SPACE)
        self.verbatim(" ".join(words))
        if words and text[-1].isspace():
            self.gap(SPACE)

    def verbatim(self, text: str) -> None:
        """White space as it is."""
        if not text:
            return
        if self._written:
            self._written.append(_WRITTEN[self._due])
        self._written.append(text)
        self._due = NOTHING

    def gap(self, size: int) -> None:
        self._due = max(self._due, size)

    def row(self, cells: "list[Blocks]") -> None:
        if any(cell._has_table for cell in cells):
            for cell in cells:
                self.gap(PARAGRAPH)
                self.verbatim(cell.text())
            self.gap(PARAGRAPH)
        else:
            self.gap(LINE)
            self.verbatim(row(cell.text() for cell in cells))
            self.gap(LINE)
        self._has_table = True

    def text(self) -> str:
        return "".join(self._written)


def row(cells: Iterable[str]) -> str:
    """A line, without cells that are empty to its end."""
    written = [" ".join(cell.split()) for cell in cells]
    while written and not written[-1]:
        written.pop()
    return " | ".join(written)
