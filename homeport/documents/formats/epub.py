"""Books: chapters in the order in which they are read."""

import posixpath
from collections.abc import Iterator
from typing import BinaryIO
from urllib.parse import unquote
from xml.etree import ElementTree

from homeport.documents import archive
from homeport.documents.charset import text_of
from homeport.documents.document import Page, invalid
from homeport.documents.formats.markup import readable

_CONTAINER = "META-INF/container.xml"


def pages(file: BinaryIO) -> Iterator[Page]:
    """A chapter each, without a number: a book's pages are made by whoever shows it."""
    with archive.opened(file) as opened:
        names = frozenset(opened.namelist())
        if "META-INF/encryption.xml" in names and "META-INF/rights.xml" in names:
            raise invalid("It is protected against copies, and cannot be read.")
        try:
            package = ElementTree.fromstring(opened.read(_CONTAINER)).find(".//{*}rootfile[@full-path]")
            root = package.attrib["full-path"] if package is not None else ""
            book = ElementTree.fromstring(opened.read(root))
        except (KeyError, ElementTree.ParseError) as error:
            raise invalid("It has no list of its chapters: save it again.") from error
        files = {item.get("id"): item.get("href", "") for item in book.iterfind("./{*}manifest/{*}item")}
        for item in book.iterfind("./{*}spine/{*}itemref"):
            name = posixpath.normpath(
                posixpath.join(posixpath.dirname(root), unquote(files.get(item.get("idref"), "")))
            )
            if name in names and (text := readable(text_of(opened.read(name)) or "")):
                yield Page(text, None)
