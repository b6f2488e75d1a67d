"""JSON: as it is written, with the letters that it has escaped."""

import re
from collections.abc import Iterator

from homeport.documents.document import Page

#: A backslash and what it escapes; of letters beyond Latin-1's signs, whether of one number or of two.
_ESCAPES = re.compile(
    r"\\(?:u(?P<pair>[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|u(?P<one>(?!00[0-9]|[dD][89a-fA-F])[0-9a-fA-F]{4})|.)",
    re.DOTALL,
)


def pages(text: str) -> Iterator[Page]:
    """As many programs write JSON, nobody could find a word of Chinese in it."""
    yield Page(_ESCAPES.sub(_letter, text) if "\\u" in text else text, None)


def _letter(found: "re.Match[str]") -> str:
    if (pair := found["pair"]) is not None:
        high, low = int(pair[:4], 16), int(pair[6:], 16)
        return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
    return chr(int(found["one"], 16)) if found["one"] is not None else found[0]
