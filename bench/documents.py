"""Reading files and cutting them into chunks.

What is measured, of each kind, is what the process that reads takes of a core, whatever else the machine does: for a
long file of running text, and for one of a page, which is what the process itself costs. Then the chunks of almost the
longest document that a vector store takes.
"""

import asyncio
import io
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import docx
import openpyxl
import pptx
from docx.document import Document as WordDocument

from bench.report import Goal, table
from homeport.documents.chunking import chunks
from homeport.documents.document import Document, Page
from homeport.documents.reader import Reader
from tests.documents import made

#: Of the long file.
PAGES = 500
_LINES = 40
_LINE = "Line {line} of page {page} says what lines of such pages say, for about as long as they do."


@dataclass
class Speed:
    """Of one kind of file: of a second of a core."""

    kind: str
    pages_a_second: float
    #: Characters of text.
    megabytes_a_second: float
    #: Of a core, for a file of a page.
    start_ms: float


@dataclass
class Cutting:
    """Of a text into chunks of 800 tokens that overlap by 400; of a second of a core, too."""

    text: str
    tokens: int
    tokens_a_second: float


@dataclass
class Documents:
    """pages: of the long files."""

    pages: int
    reading: list[Speed]
    cutting: list[Cutting]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        """Of a second of a core."""
        rows = [
            [one.kind, f"{one.pages_a_second:,.0f}", f"{one.megabytes_a_second:.1f}", f"{one.start_ms:.0f}"]
            for one in self.reading
        ]
        read = table(["", "pages/s", "MB/s of text", "ms for a file of a page"], rows)
        rows = [[one.text, f"{one.tokens:,}", f"{one.tokens_a_second:,.0f}"] for one in self.cutting]
        cut = table(["into chunks", "tokens", "tokens/s"], rows)
        return f"documents: files of {self.pages:,} pages, of a core\n{read}\n\n{cut}"

    def goals(self) -> list[Goal]:
        return []


def run(folder: Path, *, rounds: int = 3, pages: int = PAGES, share: float = 1.0) -> Documents:
    """The median of so many rounds. share: of the longest document, to be cut."""
    reading = [
        Speed(kind, pages / seconds, characters / seconds / 1e6, start * 1e3)
        for kind, write in KINDS.items()
        for (seconds, characters), (start, _) in [
            (_timed(folder, kind, write(pages), rounds), _timed(folder, kind, write(1), rounds))
        ]
    ]
    texts = {
        "English": _page(0) * int(3_900 * share),
        "Chinese": "今天天气很好，我们去公园散步。" * int(240_000 * share),
    }
    return Documents(pages, reading, [_cut(name, text) for name, text in texts.items()])


def _cut(name: str, text: str) -> Cutting:
    document = Document("text/plain", [Page(text, None)])
    next(chunks(Document("text/plain", [Page("text", None)]), 800, 400))  # the encoding is there
    began = time.process_time()
    made_of_it = list(chunks(document, 800, 400))
    seconds = time.process_time() - began
    tokens = sum(chunk.tokens for chunk in made_of_it) - 400 * (len(made_of_it) - 1)
    return Cutting(name, tokens, tokens / seconds)


def _timed(folder: Path, kind: str, content: bytes, rounds: int) -> tuple[float, int]:
    """Seconds of a core, and characters."""
    file = folder / "content"
    file.write_bytes(content)

    async def once(reader: Reader) -> tuple[float, int]:
        began = taken_by_children()
        document = await reader.read(file, f"a.{kind}")
        return taken_by_children() - began, len(document.text)

    async def all_of_them() -> list[tuple[float, int]]:
        reader = Reader(seconds=300, memory_mb=1024, at_once=1)
        return [await once(reader) for _ in range(rounds + 1)][1:]

    told = asyncio.run(all_of_them())
    return statistics.median(seconds for seconds, _ in told), told[0][1]


def taken_by_children() -> float:
    """Seconds of a core, of those that have ended."""
    taken = resource.getrusage(resource.RUSAGE_CHILDREN)
    return taken.ru_utime + taken.ru_stime


def _page(page: int) -> str:
    return "".join(_LINE.format(page=page, line=line) + "\n" for line in range(_LINES))


def _pdf(pages: int) -> bytes:
    return made.pdf([_page(page).splitlines() for page in range(pages)])


def _docx(pages: int) -> bytes:
    written: WordDocument = docx.Document()
    for page in range(pages):
        for line in _page(page).splitlines():
            written.add_paragraph(line)
    return _saved(written.save)


def _pptx(pages: int) -> bytes:
    deck = pptx.Presentation()
    for page in range(pages):
        deck.slides.add_slide(deck.slide_layouts[6]).shapes.add_textbox(0, 0, 9, 9).text_frame.text = _page(page)
    return _saved(deck.save)


def _xlsx(pages: int) -> bytes:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Lines")
    for page in range(pages):
        for line in _page(page).splitlines():
            sheet.append([page, *line.split(" ", 7)])
    return _saved(book.save)


def _html(pages: int) -> bytes:
    paragraphs = (f"<p>{line}</p>" for page in range(pages) for line in _page(page).splitlines())
    return ("<!DOCTYPE html><body>" + "\n".join(paragraphs)).encode()


def _text(pages: int) -> bytes:
    return "\n".join(map(_page, range(pages))).encode()


def _saved(save: Callable[[io.BytesIO], None]) -> bytes:
    saved = io.BytesIO()
    save(saved)
    return saved.getvalue()


#: Kind -> the content of a file of so many pages.
KINDS: dict[str, Callable[[int], bytes]] = {
    "txt": _text,
    "html": _html,
    "pdf": _pdf,
    "docx": _docx,
    "pptx": _pptx,
    "xlsx": _xlsx,
}
