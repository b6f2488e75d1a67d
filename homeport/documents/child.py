"""The process that reads one file, and ends: `python -m homeport.documents.child PARENT SECONDS MEMORY_MB SUFFIX`.

The file is its standard input, opened to read; its standard output takes one answer (answers.py). It knows nothing
else: no settings, no key, not even the file's name.
"""

import importlib
import os
import re
import sys
from collections.abc import Iterable
from typing import Any, BinaryIO

from homeport.documents import answers, charset, confinement, kinds
from homeport.documents.document import Document, Page, UnreadableFile, invalid, too_large

#: What no text may have: what databases do not take, and what is not for people.
_UNWANTED = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\ufdd0-\ufdef\ufeff\ufffe\uffff\ud800-\udfff]")
_LINE_END = re.compile("\r\n?|[\x0c\u2028\u2029]")
#: How HTML and XML say in which charset they are, in their first bytes.
_DECLARED = re.compile(
    rb"""<(?:meta\b[^>]*?charset|\?xml\b[^>]*?encoding)\s*=\s*["']?([A-Za-z0-9_.:-]{2,40})""", re.IGNORECASE
)
_DECLARED_WITHIN = 2048
#: Enough to tell that it is no text.
_HEAD = 64 * 1024
_XML_ERR_NO_MEMORY = 2
#: Text of characters: no charset takes more bytes for one.
_BYTES_AT_MOST = 4 * answers.TEXT_BYTES


def main(parent: str, seconds: str, memory_mb: str, suffix: str = "") -> None:
    confinement.limit(seconds=int(seconds), memory_mb=int(memory_mb))
    out = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no answer
    with open(0, "rb", closefd=False) as file:
        answer = answers.packed(_answer(file, suffix, int(parent)))
    with open(out, "wb") as pipe:
        pipe.write(answer)
    os._exit(0)  # without taking anything apart that a hostile file may have put together


def _answer(file: BinaryIO, suffix: str, parent: int) -> answers.Read | answers.Refusal:
    try:
        return answers.Read(_document(file, suffix, parent))
    except UnreadableFile as error:
        return answers.Refusal(error.code, error.message)
    except Exception as error:  # parsers raise whatever they stumble over
        short = _is_short_of_memory(error)
    if short:
        return _refusal(invalid("Reading it takes more memory than is allowed (documents.memory_mb)."))
    return _refusal(invalid("It is damaged: save it again."))


def _is_short_of_memory(error: Exception) -> bool:
    """libxml2 tells it by a number only."""
    told = type(error).__module__ == "lxml.etree" and getattr(error, "code", None) == _XML_ERR_NO_MEMORY
    return told or isinstance(error, MemoryError)


def _refusal(error: UnreadableFile) -> answers.Refusal:
    return answers.Refusal(error.code, error.message)


def _document(file: BinaryIO, suffix: str, parent: int) -> Document:
    kind = kinds.of_content(file)
    if kind is not None:
        parser = _parser(kind)
        confinement.seal(parent)
        file.seek(0)
        return Document(kind, _cleaned(parser.pages(file)))
    text = _text(file)
    kind = kinds.of_text(text, suffix)
    parser = _parser(kind)
    confinement.seal(parent)
    return Document(kind, _cleaned([Page(text, None)] if parser is None else parser.pages(text)))


def _parser(kind: str) -> Any:
    try:
        return importlib.import_module(kinds.PARSERS[kind]) if kind in kinds.PARSERS else None
    except ImportError as error:
        message = "Reading files needs pip install 'homeport[documents]' on the server."
        raise UnreadableFile("server_error", message) from error


def _text(file: BinaryIO) -> str:
    file.seek(0)
    head = file.read(_HEAD)
    if charset.text_of(head) is None:
        raise kinds.refusal(head)
    content = head + file.read(_BYTES_AT_MOST + 1 - len(head))
    if len(content) > _BYTES_AT_MOST:
        raise _too_long()
    declared = _DECLARED.search(content, 0, _DECLARED_WITHIN)
    text = charset.text_of(content, declared[1].decode() if declared else None)
    if text is None:
        raise kinds.refusal(head)
    return text


def _cleaned(pages: Iterable[Page]) -> list[Page]:
    """Those with text, as everybody may store and show it. Raises UnreadableFile: there is too much of it, or none."""
    kept, size = [], 0
    for page in pages:
        text = _LINE_END.sub("\n", _UNWANTED.sub("", page.text))
        size += len(text.encode())
        if size > answers.TEXT_BYTES:
            raise _too_long()
        if text and not text.isspace():
            kept.append(Page(text, page.number))
    if not kept:
        raise invalid("There is no text in it.")
    return kept


def _too_long() -> UnreadableFile:
    return too_large(f"It has more than {answers.TEXT_BYTES // 1024**2} MiB of text: split it into several.")


if __name__ == "__main__":
    main(*sys.argv[1:])
