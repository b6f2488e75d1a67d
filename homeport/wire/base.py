"""What every object of the wire shares: decoding whose errors carry OpenAI's `param`, and the error object.

`UNSET` means absent and is not sent; `None` means null and is.
"""

import re
from typing import TypeVar

import msgspec

from homeport.errors import InvalidRequest

T = TypeVar("T")

NOT_JSON = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library "
    "correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)"
)


class ErrorObject(msgspec.Struct):
    """`Error` of the description: all four fields are always there."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorResponse(msgspec.Struct):
    error: ErrorObject


def invalid_json() -> InvalidRequest:
    return InvalidRequest(NOT_JSON)


def param_of(path: str) -> str | None:
    """msgspec's path in OpenAI's writing: `$.messages[0].content` -> `messages[0].content`; the body itself -> None."""
    return re.sub(r"^\$\.?", "", path) or None
