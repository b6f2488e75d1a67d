"""Identifiers: OpenAI's prefixes, then random letters and digits. One function a prefix.

24 characters of 62 are 142 bits: unguessable, so an id may stand in a URL.
"""

import secrets
import string

_ALPHABET = string.ascii_letters + string.digits


def random_text(length: int) -> str:
    """`length` characters of A-Z a-z 0-9 from the operating system's random source."""
    return "".join([_ALPHABET[b % 62] for b in _even_bytes(length)])


def _even_bytes(length: int) -> list[int]:
    """Random bytes below 248 = 4 x 62, so that every letter is equally likely."""
    even: list[int] = []
    while len(even) < length:
        even.extend(b for b in secrets.token_bytes(length + 8) if b < 248)
    return even[:length]


def request_id() -> str:
    return "req_" + secrets.token_hex(16)


def chat_completion() -> str:
    return "chatcmpl-" + random_text(29)


def completion() -> str:
    return "cmpl-" + random_text(29)


def tool_call() -> str:
    return "call_" + random_text(24)


def key() -> str:
    return "key_" + random_text(16)


def secret_key() -> str:
    """A new API key: 48 characters, 285 bits. Shown once; only its SHA-256 is ever stored."""
    return "sk-homeport-" + random_text(48)
