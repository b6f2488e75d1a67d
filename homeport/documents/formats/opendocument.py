"""LibreOffice's .odt, .odp and .ods: texts, slides and sheets."""

from collections.abc import Iterator
from typing import BinaryIO
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from homeport.documents import archive
from homeport.documents.document import Page, invalid
from homeport.documents.formats.blocks import LINE, NOTHING, PARAGRAPH, Blocks
from homeport.documents.formats.records import with_header

_NAMES = "{urn:oasis:names:tc:opendocument:xmlns:%s:1.0}"
_TEXT, _TABLE, _DRAW, _OFFICE = (_NAMES % name for name in ("text", "table", "drawing", "office"))
#: What was deleted with changes tracked, comments, and what every page repeats.
_DROPPED = frozenset((f"{_TEXT}tracked-changes", f"{_OFFICE}annotation", f"{_OFFICE}forms"))
_ROW, _CELLS = f"{_TABLE}table-row", (f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell")
#: A cell or row that is written once for many: no more of them than this. To the end of the sheet they are empty.
_REPEATED = 1000
#: Deeper than any document is, and than this walks.
_DEEPEST = 200


def pages(file: BinaryIO) -> Iterator[Page]:
    with archive.opened(file) as opened:
        try:
            body = ElementTree.fromstring(opened.read("content.xml")).find(f"{_OFFICE}body")
        except (KeyError, ElementTree.ParseError) as error:
            raise invalid("It has no content that can be read: save it again.") from error
    for part in body if body is not None else ():
        if part.tag == f"{_OFFICE}presentation":
            yield from _numbered(_written(slide) for slide in part.iter(f"{_DRAW}page"))
        elif part.tag == f"{_OFFICE}spreadsheet":
            yield from _numbered(_sheet(sheet) for sheet in part.iter(f"{_TABLE}table"))
        else:
            yield Page(_written(part), None)


def _numbered(texts: Iterator[str]) -> Iterator[Page]:
    return (Page(text, number) for number, text in enumerate(texts, 1) if text)


def _sheet(sheet: Element) -> str:
    rows = (line for row in sheet.iter(_ROW) for line in [_written(row)] * _times(row, "rows"))
    text = with_header(line for line in rows if line)
    return f"{sheet.get(f'{_TABLE}name', '')}\n\n{text}".strip() if text else ""


def _written(element: Element, depth: int = 0) -> str:
    return _blocks(element, depth).text()


def _blocks(element: Element, depth: int) -> Blocks:
    blocks = Blocks()
    _walk(element, blocks, depth)
    return blocks


def _walk(element: Element, blocks: Blocks, depth: int) -> None:
    tag = element.tag
    if tag in _DROPPED or depth > _DEEPEST:
        return
    if tag == _ROW:
        cells = (cell for cell in element if cell.tag in _CELLS)
        blocks.row([made for cell in cells for made in [_blocks(cell, depth + 1)] * _times(cell, "columns")])
        return
    gap = _gap(tag)
    blocks.gap(gap)
    if tag == f"{_TEXT}s":
        blocks.verbatim(" " * min(_number(element.get(f"{_TEXT}c")), _REPEATED))
    elif tag == f"{_TEXT}tab":
        blocks.verbatim("\t")
    blocks.words(element.text or "")
    for child in element:
        _walk(child, blocks, depth + 1)
        blocks.words(child.tail or "")
    blocks.gap(gap)


def _gap(tag: str) -> int:
    if tag in (f"{_TEXT}p", f"{_TEXT}h", f"{_TEXT}list", f"{_TABLE}table"):
        return PARAGRAPH
    return LINE if tag == f"{_TEXT}line-break" else NOTHING


def _times(element: Element, what: str) -> int:
    return min(_number(element.get(f"{_TABLE}number-{what}-repeated")), _REPEATED)


def _number(written: str | None) -> int:
    return int(written) if written is not None and written.isdecimal() else 1
