"""What kind of file it is: by its content, and by its name only where content cannot tell (a text may be any code).

Every kind is a media type, OpenAI's where it has one, and has a parser: a module of `formats` whose `pages` makes
pages of an open file, or of text.
"""

import re
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

from homeport.documents import archive
from homeport.documents.document import UnreadableFile, invalid, unsupported

_OFFICE = "application/vnd.openxmlformats-officedocument"
_OASIS = "application/vnd.oasis.opendocument"

PDF = "application/pdf"
WORD = f"{_OFFICE}.wordprocessingml.document"
SLIDES = f"{_OFFICE}.presentationml.presentation"
SHEETS = f"{_OFFICE}.spreadsheetml.sheet"
EPUB = "application/epub+zip"
ODT, ODP, ODS = f"{_OASIS}.text", f"{_OASIS}.presentation", f"{_OASIS}.spreadsheet"
MAIL = "message/rfc822"
HTML = "text/html"
NOTEBOOK = "application/x-ipynb+json"
JSON = "application/json"
CSV, TSV = "text/csv", "text/tab-separated-values"
PLAIN = "text/plain"

#: Kind -> its parser. Kinds without one are text, and stay as they are.
PARSERS = {
    PDF: "homeport.documents.formats.pdf",
    WORD: "homeport.documents.formats.word",
    SLIDES: "homeport.documents.formats.slides",
    SHEETS: "homeport.documents.formats.sheets",
    EPUB: "homeport.documents.formats.epub",
    ODT: "homeport.documents.formats.opendocument",
    ODP: "homeport.documents.formats.opendocument",
    ODS: "homeport.documents.formats.opendocument",
    MAIL: "homeport.documents.formats.mail",
    HTML: "homeport.documents.formats.markup",
    NOTEBOOK: "homeport.documents.formats.notebook",
    JSON: "homeport.documents.formats.notation",
    CSV: "homeport.documents.formats.records",
    TSV: "homeport.documents.formats.records",
}

#: End of a name -> kind of a text.
SUFFIXES = {
    "c": "text/x-c", "h": "text/x-c", "cpp": "text/x-c++", "cc": "text/x-c++", "hpp": "text/x-c++",
    "cs": "text/x-csharp", "css": "text/css", "csv": CSV, "go": "text/x-golang", "htm": HTML, "html": HTML,
    "ipynb": NOTEBOOK, "java": "text/x-java", "js": "text/javascript", "json": JSON, "jsonl": JSON,
    "md": "text/markdown", "markdown": "text/markdown", "php": "text/x-php", "py": "text/x-python", "rb": "text/x-ruby",
    "sh": "application/x-sh", "tex": "text/x-tex", "ts": "application/typescript", "tsv": TSV, "xhtml": HTML,
    "xml": "application/xml", "yaml": "application/yaml", "yml": "application/yaml",
}  # fmt: skip

#: How a file begins whose kind is known, and is not read -> what it is, what to do.
_OTHERS = (
    (b"\x89PNG\r\n", "picture"),
    (b"\xff\xd8\xff", "picture"),
    (b"GIF8", "picture"),
    (b"II*\0", "picture"),
    (b"MM\0*", "picture"),
    (b"BM", "picture"),
    (b"ID3", "audio"),
    (b"OggS", "audio"),
    (b"fLaC", "audio"),
    (b"\x1aE\xdf\xa3", "video"),
    (b"\x1f\x8b", "archive"),
    (b"BZh", "archive"),
    (b"\xfd7zXZ\0", "archive"),
    (b"7z\xbc\xaf\x27\x1c", "archive"),
    (b"Rar!", "archive"),
    (b"\x28\xb5\x2f\xfd", "archive"),
    (b"\x7fELF", "program"),
    (b"MZ", "program"),
    (b"\xca\xfe\xba\xbe", "program"),
    (b"\xcf\xfa\xed\xfe", "program"),
    (b"\0asm", "program"),
    (b"SQLite format 3\0", "database"),
)
_ADVICE = {
    "picture": "It is a picture, and text in pictures is not read.",
    "audio": "It is a recording: transcribe it, and upload the text.",
    "video": "It is a video: transcribe it, and upload the text.",
    "archive": "It is an archive: upload the files in it one by one.",
    "program": "It is a program.",
    "database": "It is a database: upload what is in it as text.",
    "": "It is neither text nor a document that is read here (docs/documents.md).",
}
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
#: In the directory of an OLE file that is a new document behind a password.
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_RTF = b"{\\rtf"
_PDF = b"%PDF-"
#: Readers of PDF take what stands before, if it is not more.
_PDF_BEGINS = 1024
_HEAD = 64 * 1024

#: In the list of an Office file's parts: its main one, wherever that is.
_MAIN = (
    (b"wordprocessingml.document.main+xml", WORD),
    (b"presentationml.presentation.main+xml", SLIDES),
    (b"ms-powerpoint.presentation.macroEnabled.main+xml", SLIDES),
    (b"spreadsheetml.sheet.main+xml", SHEETS),
    (b"ms-excel.sheet.macroEnabled.main+xml", SHEETS),
)
_PARTS_BYTES = 1024 * 1024
_HTML = re.compile(r"(?:\s|<!--.*?-->|<\?xml[^>]*\?>)*<(?:!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL)
_FIELD = re.compile(rb"([A-Za-z][A-Za-z0-9-]*):[ \t]")
_MAIL_FIELDS = frozenset((b"date", b"subject", b"to", b"message-id", b"received", b"mime-version", b"return-path"))


def of_content(file: BinaryIO) -> str | None:
    """None: it may be text. Raises UnreadableFile: it is of a kind that is not read, or empty."""
    file.seek(0)
    head = file.read(_HEAD)
    if not head:
        raise invalid("It is empty.")
    if _PDF in head[:_PDF_BEGINS]:
        return PDF
    if head.startswith((b"PK\3\4", b"PK\5\6")):
        with archive.opened(file) as opened:
            return _of_archive(opened)
    if head.startswith(_OLE):
        raise _of_ole(file)
    if head.startswith(_RTF):
        raise unsupported("It is RTF: save it as .docx.")
    if _is_mail(head):
        return MAIL
    return None


def of_text(text: str, suffix: str) -> str:
    """suffix: the end of its name, in small letters and without the dot."""
    named = SUFFIXES.get(suffix)
    if named is None and _HTML.match(text):
        return HTML
    if named in (None, JSON) and text.lstrip().startswith("{") and '"nbformat"' in text and '"cells"' in text:
        return NOTEBOOK
    return named or PLAIN


def refusal(head: bytes) -> UnreadableFile:
    """Of what is no text, by how it begins."""
    kind = next((kind for begin, kind in _OTHERS if head.startswith(begin)), "")
    match head[4:8], head[8:12]:
        case b"ftyp", brand:
            kind = "picture" if brand in (b"heic", b"avif", b"mif1") else "video"
        case _, b"WEBP":
            kind = "picture"
        case _, b"WAVE":
            kind = "audio"
    if head[257:262] == b"ustar":
        kind = "archive"
    return unsupported(_ADVICE[kind])


def _of_archive(opened: zipfile.ZipFile) -> str:
    names = frozenset(opened.namelist())
    if "mimetype" in names:
        told = opened.read("mimetype")[:200].decode("ascii", "replace").strip()
        if told in (EPUB, ODT, ODP, ODS):
            return told
    if "[Content_Types].xml" in names:
        with opened.open("[Content_Types].xml") as types:
            told_types = types.read(_PARTS_BYTES)
        for main, kind in _MAIN:
            if main in told_types:
                return kind
        raise unsupported("It is an Office file of a kind that is not read: save it as .docx, .pptx, .xlsx or .pdf.")
    raise unsupported(_ADVICE["archive"])


def _of_ole(file: BinaryIO) -> UnreadableFile:
    """An old Office file, or a new one behind a password: then its directory says so."""
    if any(_ENCRYPTED in block for block in _blocks(file)):
        return invalid("It is encrypted: upload it without a password.")
    return unsupported("It is in Office's old binary format (.doc, .xls, .ppt): save it as .docx, .xlsx or .pptx.")


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    kept = b""
    while block := file.read(_HEAD):
        yield kept + block
        kept = block[-len(_ENCRYPTED) :]


def _is_mail(head: bytes) -> bool:
    """Fields from the first line on, and such as every message has."""
    fields = set()
    for line in head.replace(b"\r\n", b"\n").split(b"\n"):
        if (field := _FIELD.match(line)) is not None:
            fields.add(field[1].lower())
        elif not line.startswith((b" ", b"\t")):
            break
    return b"from" in fields and len(fields & _MAIL_FIELDS) >= 2
