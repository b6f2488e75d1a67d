"""Jupyter's notebooks: cells in their order, with what they printed."""

from collections.abc import Iterator
from typing import Any

import msgspec

from homeport.documents.document import Page, invalid


def pages(text: str) -> Iterator[Page]:
    """Text, code and printed text; neither pictures nor traces of errors."""
    try:
        cells = msgspec.json.decode(text, type=dict[str, Any])["cells"]
        texts = [part.strip("\n") for cell in cells for part in _parts(cell)]
    except (msgspec.MsgspecError, AttributeError, KeyError, RecursionError, TypeError) as error:
        raise invalid("It is no notebook that can be read: save it again.") from error
    yield Page("\n\n".join(part for part in texts if part), None)


def _parts(cell: dict[str, Any]) -> Iterator[str]:
    yield _joined(cell["source"])
    for output in cell.get("outputs", ()):
        yield _joined(output.get("text") or output.get("data", {}).get("text/plain") or "")


def _joined(source: str | list[str]) -> str:
    return source if isinstance(source, str) else "".join(source)
