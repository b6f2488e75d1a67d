"""PowerPoint's .pptx: a page a slide, its notes after it."""

from collections.abc import Iterable, Iterator
from typing import BinaryIO

import pptx
from pptx.shapes.autoshape import Shape
from pptx.shapes.base import BaseShape
from pptx.shapes.graphfrm import GraphicFrame
from pptx.shapes.group import GroupShape
from pptx.slide import Slide

from homeport.documents.document import Page
from homeport.documents.formats.blocks import row

_DEEPEST_GROUP = 100


def pages(file: BinaryIO) -> Iterator[Page]:
    """Texts and tables of a slide in the order in which they lie on it; hidden slides, too."""
    for number, slide in enumerate(pptx.Presentation(file).slides, 1):
        texts = [text for text in (*_texts(slide.shapes), _notes(slide)) if text]
        if texts:
            yield Page("\n\n".join(texts), number)


def _texts(shapes: Iterable[BaseShape], depth: int = 0) -> Iterator[str]:
    for shape in shapes:
        if isinstance(shape, GroupShape):
            if depth < _DEEPEST_GROUP:
                yield from _texts(shape.shapes, depth + 1)
        elif isinstance(shape, GraphicFrame) and shape.has_table:
            rows = (row(cell.text for cell in line.cells) for line in shape.table.rows)
            yield "\n".join(line for line in rows if line)
        elif isinstance(shape, Shape):
            yield _lines(shape.text_frame.text)


def _notes(slide: Slide) -> str:
    frame = slide.notes_slide.notes_text_frame if slide.has_notes_slide else None
    return _lines(frame.text) if frame is not None else ""


def _lines(text: str) -> str:
    """PowerPoint's break within a paragraph is a vertical tab."""
    return text.replace("\v", "\n").strip()
