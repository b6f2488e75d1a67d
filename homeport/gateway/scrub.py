"""Secrets in texts that are written down: found by their form, or because they are known, and replaced."""

import re
from collections.abc import Iterable
from typing import Any

REPLACED = "[secret]"
#: Forms of secrets, none of which holds a quote or a backslash: what is replaced in JSON leaves it JSON.
_FORMS = (
    r"sk-[A-Za-z0-9_-]{16,}",  # OpenAI, Anthropic, Homeport
    r"(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{16,}",  # Stripe
    r"(?:AKIA|ASIA)[A-Z0-9]{16}",  # AWS
    r"AIza[A-Za-z0-9_-]{35}",  # Google
    r"gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,}",
    r"glpat-[A-Za-z0-9_-]{20,}",
    r"hf_[A-Za-z0-9]{30,}",
    r"xox[abeprs]-[A-Za-z0-9-]{10,}",  # Slack
    r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",  # a signed token
    r"(?<=://)[^\s\"\\/@:]{1,200}:[^\s\"\\/@]{1,200}(?=@)",  # the credentials of an address
    r"(?i:(?<=bearer ))[A-Za-z0-9._~+/-]{16,}=*",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[^\"]{1,20000}?-----END [A-Z ]*PRIVATE KEY-----",
)
#: Pictures in an answer. In megabytes of their letters some would look like a secret by chance.
_PICTURE = re.compile(r'"b64_json": ?"[A-Za-z0-9+/=]{256,}"')
#: Anything shorter is found in words.
_SHORTEST_KNOWN = 8


class Scrub:
    """known: secrets that this configuration has; forms: regular expressions of the operator's. Raises re.error."""

    def __init__(self, known: Iterable[str | None] = (), forms: Iterable[str] = ()) -> None:
        literal = sorted({one for one in known if one and len(one) >= _SHORTEST_KNOWN}, key=len, reverse=True)
        self._secret = re.compile("|".join([*map(re.escape, literal), *(f"(?:{form})" for form in (*forms, *_FORMS))]))

    def text(self, text: str) -> str:
        return self._secret.sub(REPLACED, text)

    def answer(self, text: str) -> str:
        """The same of an answer, whose pictures stay as they are."""
        parts: list[str] = []
        place = 0
        for picture in _PICTURE.finditer(text):
            parts += [self.text(text[place : picture.start()]), picture[0]]
            place = picture.end()
        return "".join([*parts, self.text(text[place:])])

    def finds(self, text: str) -> bool:
        return self._secret.search(text) is not None

    def value(self, value: Any) -> Any:
        """Every text in a value of JSON; the names of members stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(one) for one in value]
        if isinstance(value, dict):
            return {name: self.value(one) for name, one in value.items()}
        return value
