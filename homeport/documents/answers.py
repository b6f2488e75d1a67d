"""What the child that read a file tells the process that asked for it: one message, the whole of its output."""

import msgspec

from homeport.documents.document import Code, Document, UnreadableFile

#: Of all texts together, in UTF-8. Five million tokens of any language are less.
TEXT_BYTES = 64 * 1024**2
#: Of an answer: texts, and what is around each page.
MOST = TEXT_BYTES + 16 * 1024**2
_MESSAGE = 500


class Refusal(msgspec.Struct, tag=True):
    code: Code
    message: str


class Read(msgspec.Struct, tag=True):
    document: Document


_decoder: msgspec.msgpack.Decoder[Read | Refusal] = msgspec.msgpack.Decoder(Read | Refusal)


def packed(answer: Read | Refusal) -> bytes:
    return msgspec.msgpack.encode(answer)


def document(answer: bytes) -> Document:
    """Raises UnreadableFile: the child says so. Raises ValueError: it says nothing of sense."""
    told = _decoder.decode(answer)
    if isinstance(told, Refusal):
        raise UnreadableFile(told.code, told.message[:_MESSAGE])
    if not told.document.pages or any(not page.text or "\0" in page.text for page in told.document.pages):
        raise ValueError("a text that cannot be kept")
    return told.document
