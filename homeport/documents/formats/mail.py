"""A message of e-mail: who wrote what to whom, and its text. Attachments are named, and not opened."""

import email.policy
from collections.abc import Iterator
from email.message import EmailMessage, MIMEPart
from email.parser import BytesParser
from typing import BinaryIO

from homeport.documents.charset import text_of
from homeport.documents.document import Page
from homeport.documents.formats.markup import readable

_FIELDS = ("From", "To", "Cc", "Date", "Subject")


def pages(file: BinaryIO) -> Iterator[Page]:
    """Its text as plain text where it has that, else out of its HTML."""
    message = BytesParser(EmailMessage, policy=email.policy.default).parse(file)
    fields = [f"{name}: {_field(message, name)}" for name in _FIELDS if message[name]]
    attached = [f"Attachment: {name}" for part in message.iter_attachments() if (name := part.get_filename())]
    body = message.get_body(("plain", "html"))
    texts = ("\n".join((*fields, *attached)), _text(body) if body is not None else "")
    yield Page("\n\n".join(text for text in texts if text), None)


def _field(message: EmailMessage, name: str) -> str:
    return " ".join(str(message[name]).split())


def _text(body: MIMEPart) -> str:
    payload = body.get_payload(decode=True)
    content = payload if isinstance(payload, bytes) else b""
    text = text_of(content, body.get_content_charset()) or ""
    return readable(text) if body.get_content_subtype() == "html" else text.strip()
