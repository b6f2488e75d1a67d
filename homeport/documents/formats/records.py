"""Records with a header, of which every passage should have one: comma-separated values here, and rows of sheets."""

import re
from collections import deque
from collections.abc import Iterable, Iterator

from homeport.documents.document import Page

#: After so many characters the header is there again: in every chunk of the usual 800 tokens.
_EVERY = 1500
#: A longer one is not repeated: it would be most of what is searched.
_LONGEST = 300
_NUMBER = re.compile(r'\s*"?[-+]?[\d.,]*\d[\d.,%]*"?\s*')
_CELLS = re.compile(r"[,;\t|]")


def pages(text: str) -> Iterator[Page]:
    """As it is written, the header again now and then."""
    yield Page(with_header(_records(text)), None)


def with_header(records: Iterable[str]) -> str:
    """A line a record. The first one is a header where no cell of it is a number, and where there are several."""
    written: list[str] = []
    header, since = "", 0
    for record in records:
        if not written and _CELLS.search(record) and not any(map(_NUMBER.fullmatch, _CELLS.split(record))):
            header = record if len(record) <= _LONGEST else ""
        elif header and since > _EVERY:
            written += "", header
            since = 0
        written.append(record)
        since += len(record) + 1
    return "\n".join(written)


def _records(text: str) -> Iterator[str]:
    """Lines, where quotes do not hold several together."""
    held: deque[str] = deque()
    quotes = 0
    for line in text.splitlines():
        held.append(line)
        quotes += line.count('"')
        if quotes % 2 == 0:
            yield "\n".join(held)
            held.clear()
    yield from held
