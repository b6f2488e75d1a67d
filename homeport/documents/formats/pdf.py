"""PDF, by pdfium: the text of each page, in the order in which it is written there."""

import re
from collections.abc import Iterator
from typing import BinaryIO

from pypdfium2 import PdfDocument, PdfiumError
from pypdfium2.raw import FPDF_ERR_PASSWORD

from homeport.documents.document import Page, invalid, unsupported

#: What pdfium puts where a word goes on in the next line: its hyphen is gone with the line's end.
_DIVIDED = re.compile("[\x02\ufffe]")
#: Two or three letters that fonts draw as one, from U+FB00 on.
_LIGATURES = str.maketrans(dict(zip(range(0xFB00, 0xFB07), ("ff", "fi", "fl", "ffi", "ffl", "st", "st"), strict=True)))


def pages(file: BinaryIO) -> Iterator[Page]:
    """Those that have text. Raises UnreadableFile: damaged, encrypted, or without any text, as what was scanned."""
    try:
        document = PdfDocument(file)
    except PdfiumError as error:
        if error.err_code == FPDF_ERR_PASSWORD:
            raise invalid("It is encrypted: upload it without a password.") from error
        raise invalid("It is no PDF that can be opened: save or print it as a PDF again.") from error
    texts = damaged = 0
    for number in range(len(document)):
        try:
            text = _text(document, number)
        except PdfiumError:  # a page that is damaged leaves the others as they are
            damaged += 1
            continue
        if text:
            texts += 1
            yield Page(text, number + 1)
    if damaged and not texts:
        raise invalid("None of its pages can be opened: save or print it as a PDF again.")
    if not texts:
        raise unsupported("Its pages are pictures without text; text in pictures is not read: upload it with its text.")


def _text(document: PdfDocument, number: int) -> str:
    page = document[number]
    try:
        characters = page.get_textpage()
        try:
            text = characters.get_text_bounded()
        finally:
            characters.close()
    finally:
        page.close()
    return _DIVIDED.sub("", text).translate(_LIGATURES).replace("\r\n", "\n").strip()
