"""Files as programs make them, and as attackers do."""

import hashlib
import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence

_PADDING = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")


def zipped(parts: Mapping[str, str | bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return made.getvalue()


def pdf(pages: Sequence[Sequence[str]], *, password: str | None = None) -> bytes:
    """A page each, a line each, in Helvetica. Behind a password: by RC4 of 40 bits, as the first ones were."""
    return pdf_of([_drawn(lines) for lines in pages], password=password)


def pdf_of(contents: Sequence[bytes], *, packed: bool = False, password: str | None = None) -> bytes:
    """Of content streams. packed: they are deflated already."""
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b""]
    objects += _HELVETICA, _ANY_SCRIPT, _ANY_GLYPHS
    objects.append(_stream(_TO_UNICODE))
    key = _key(password) if password is not None else None
    kids = []
    for content in contents:
        if key is not None:
            number = (len(objects) + 1).to_bytes(3, "little") + b"\0\0"
            content = _rc4(_md5(key + number).digest()[:10], content)
        objects.append(_stream(content, b"/Filter/FlateDecode" if packed else b""))
        objects.append(_PAGE % len(objects))
        kids.append(b"%d 0 R" % len(objects))
    objects[1] = b"<</Type/Pages/Count %d/Kids[%s]>>" % (len(kids), b" ".join(kids))
    return pdf_objects(objects, _encryption(password) if password is not None else b"")


def pdf_objects(objects: Sequence[bytes], trailer: bytes = b"") -> bytes:
    """The first one is the root."""
    made = bytearray(b"%PDF-1.4\n")
    places = []
    for number, content in enumerate(objects, 1):
        places.append(b"%010d 00000 n \n" % len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, b"".join(places))
    end = b"trailer<</Size %d/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, trailer, len(made))
    return bytes(made + table + end)


def _drawn(lines: Sequence[str]) -> bytes:
    drawn = b"BT 14 TL 72 720 Td "
    for line in lines:
        try:
            text = line.encode("cp1252").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
            drawn += b"/F1 12 Tf (%s) Tj T* " % text
        except UnicodeEncodeError:
            drawn += b"/F2 12 Tf <%s> Tj T* " % line.encode("utf-16-be").hex().encode()
    return drawn + b"ET"


def _stream(content: bytes, entries: bytes = b"") -> bytes:
    return b"<</Length %d%s>>\nstream\n%s\nendstream" % (len(content), entries, content)


_PAGE = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents %d 0 R/Resources<</Font<</F1 3 0 R/F2 4 0 R>>>>>>"
_HELVETICA = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>"
#: A font without shapes: its glyphs are numbered as Unicode is, and it says so.
_ANY_SCRIPT = b"<</Type/Font/Subtype/Type0/BaseFont/Any/Encoding/Identity-H/DescendantFonts[5 0 R]/ToUnicode 6 0 R>>"
_ANY_GLYPHS = (
    b"<</Type/Font/Subtype/CIDFontType2/BaseFont/Any"
    b"/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>>>"
)
_TO_UNICODE = (
    b"/CIDInit/ProcSet findresource begin 12 dict begin begincmap /CMapName/Any def /CMapType 2 def "
    b"1 begincodespacerange <0000><FFFF> endcodespacerange 100 beginbfrange "
    + b" ".join(b"<%02X00><%02XFF><%02X00>" % (high, high, high) for high in range(100))
    + b" endbfrange 100 beginbfrange "
    + b" ".join(b"<%02X00><%02XFF><%02X00>" % (high, high, high) for high in range(100, 200))
    + b" endbfrange endcmap end end"
)


def _md5(content: bytes) -> "hashlib._Hash":
    return hashlib.md5(content, usedforsecurity=False)


def _padded(password: str) -> bytes:
    return (password.encode("latin-1") + _PADDING)[:32]


def _owner(password: str) -> bytes:
    return _rc4(_md5(_padded(password)).digest()[:5], _padded(password))


def _key(password: str) -> bytes:
    """Algorithm 2 of the PDF reference, for revision 2: all permitted, without an id."""
    return _md5(_padded(password) + _owner(password) + b"\xff\xff\xff\xff").digest()[:5]


def _encryption(password: str) -> bytes:
    owner, user = _owner(password).hex().encode(), _rc4(_key(password), _PADDING).hex().encode()
    return b"/Encrypt<</Filter/Standard/V 1/R 2/O<%s>/U<%s>/P -1>>" % (owner, user)


def _rc4(key: bytes, content: bytes) -> bytes:
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    i = j = 0
    made = bytearray()
    for byte in content:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        made.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(made)


def deflated(block: bytes, times: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(block) for _ in range(times)) + packer.flush()


_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006"
_TYPES = (
    f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels" '
    'ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/word/document.xml" '
    'ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>'
)
_RELS = (
    f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="a" '
    f'Type="{_OFFICE}/relationships/officeDocument" Target="word/document.xml"/></Relationships>'
)
W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def docx(body: str | bytes, *, prologue: str = "") -> bytes:
    """A body as Word writes it, or never would."""
    content = body.encode() if isinstance(body, str) else body
    document = f"{prologue}<w:document {W}><w:body>".encode() + content + b"</w:body></w:document>"
    return zipped({"[Content_Types].xml": _TYPES, "_rels/.rels": _RELS, "word/document.xml": document})
