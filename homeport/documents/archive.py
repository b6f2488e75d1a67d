"""Zip archives that documents are: looked over before a parser opens them."""

import re
import zipfile
from typing import BinaryIO

from homeport.documents.document import invalid, too_large

_ENTRIES = 10_000
_MIB = 1024**2
#: Unpacked, all together. A real document is far below: its pictures do not unpack to more than they are.
_UNPACKED = 1024 * _MIB
#: More than this unpacked is suspicious where it was packed to less than a hundredth.
_UNSUSPICIOUS, _RATIO = 64 * _MIB, 100
#: Of a part's beginning: where a document type is, if it has one.
_PROLOGUE = 8192
_DOCTYPE = re.compile(rb"<!(?:DOCTYPE|ENTITY)")
_XML = (".xml", ".rels", ".opf", ".ncx")


def opened(file: BinaryIO) -> zipfile.ZipFile:
    """Within bounds, unencrypted, without document types in its XML. Raises UnreadableFile.

    A part never gives more than the directory says it does: zipfile stops there.
    """
    try:
        archive = zipfile.ZipFile(file)
        entries = archive.infolist()
        if len(entries) > _ENTRIES:
            raise too_large(f"It has more than {_ENTRIES:,} parts.")
        unpacked = sum(entry.file_size for entry in entries)
        packed = sum(entry.compress_size for entry in entries)
        if unpacked > _UNPACKED or (unpacked > _UNSUSPICIOUS and unpacked > _RATIO * packed):
            raise too_large(f"It unpacks to {unpacked // _MIB:,} MiB.")
        if any(entry.flag_bits & 1 for entry in entries):
            raise invalid("It is encrypted: upload it without a password.")
        for entry in entries:
            if entry.filename.lower().endswith(_XML):
                _without_doctype(archive, entry)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, ValueError) as error:
        raise invalid("Its archive is damaged: save the document again.") from error
    return archive


def _without_doctype(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """What a document type declares are entities, and no program that writes documents writes one."""
    with archive.open(entry) as part:
        if _DOCTYPE.search(part.read(_PROLOGUE).replace(b"\0", b"")):
            raise invalid(f"Its part {entry.filename!r} has a document type, which documents do not have.")
