"""Word's .docx: python-docx opens it, and its body is walked here, since a field, a text box or what was inserted with
changes tracked is beyond python-docx's paragraphs."""

from collections.abc import Iterator
from typing import BinaryIO

import docx
from docx.oxml import parse_xml
from lxml.etree import _Element

from homeport.documents.document import Page
from homeport.documents.formats.blocks import LINE, PARAGRAPH, Blocks

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
#: What is not there any more, and what only stands in for something that is.
_DROPPED = frozenset(
    (f"{_W}del", f"{_W}moveFrom", "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback", f"{_W}pPr")
)
_NOTES = ("/footnotes", "/endnotes")


def pages(file: BinaryIO) -> Iterator[Page]:
    """One: where a page ends is decided by whoever prints it. Paragraphs and tables as they stand, then the notes.

    Headers and footers are left out, and what was deleted with changes tracked.
    """
    part = docx.Document(file).part
    blocks = Blocks()
    _walk(part.element.body, blocks)
    for related in part.rels.values():
        if not related.is_external and related.reltype.endswith(_NOTES):
            blocks.gap(PARAGRAPH)
            _walk(parse_xml(related.target_part.blob), blocks)
    yield Page(blocks.text(), None)


def _walk(element: _Element, blocks: Blocks) -> None:
    """No deeper than the tree, which libxml2 ends at 256."""
    for child in element.iterchildren("*"):
        tag = child.tag
        if tag in _DROPPED:
            continue
        if tag == f"{_W}t":
            blocks.verbatim(child.text or "")
        elif tag == f"{_W}p":
            listed = child.find(f"{_W}pPr/{_W}numPr") is not None
            blocks.gap(LINE if listed else PARAGRAPH)
            _walk(child, blocks)
            blocks.gap(LINE if listed else PARAGRAPH)
        elif tag == f"{_W}tr":
            cells = [_cell(cell) for cell in child.iter(f"{_W}tc") if next(cell.iterancestors(f"{_W}tr")) is child]
            blocks.row(cells)
        elif tag == f"{_W}tbl":
            blocks.gap(PARAGRAPH)
            _walk(child, blocks)
            blocks.gap(PARAGRAPH)
        elif tag in (f"{_W}br", f"{_W}cr"):
            blocks.gap(LINE)
        elif tag == f"{_W}tab":
            blocks.verbatim("\t")
        elif tag == f"{_W}noBreakHyphen":
            blocks.verbatim("-")
        else:
            _walk(child, blocks)


def _cell(element: _Element) -> Blocks:
    cell = Blocks()
    _walk(element, cell)
    return cell
