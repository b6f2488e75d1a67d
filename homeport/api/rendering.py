"""Errors as bytes: the one place where an exception becomes an HTTP answer in OpenAI's form."""

import logging

from homeport.backends.capabilities import Header
from homeport.errors import HomeportError, UpstreamRefused
from homeport.logs import trail
from homeport.wire.base import error_body

log = logging.getLogger("homeport.api")
JSON = (b"content-type", b"application/json")
#: An error as OpenAI writes it.
openai_object = error_body


def status_of(error: HomeportError) -> int:
    return error.upstream_status if isinstance(error, UpstreamRefused) else error.status


def headers_of(error: HomeportError) -> list[Header]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in error.headers]


def unexpected(error: BaseException, request_id: str) -> HomeportError:
    """A bug of ours: the client gets the request id, the log gets the place, and nobody gets the content."""
    log.error("%s: unexpected %s", request_id, trail(error))
    return HomeportError(
        "The server had an error while processing your request. Sorry about that! You can retry your request, or look "
        f"for the request ID {request_id} in the server's log.",
    )
