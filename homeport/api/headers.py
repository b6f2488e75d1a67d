"""Headers of requests and answers: what is read, what is passed on, what every answer carries."""

import base64
import binascii
import re
from collections.abc import Iterable
from functools import lru_cache

import msgspec

from homeport import clock
from homeport.backends.capabilities import Header
from homeport.errors import TooManyHeaders, UnsupportedMediaType

#: The version of the REST API that OpenAI's answers name.
OPENAI_VERSION = b"2020-10-01"
MOST_CUSTOM = 10

#: `X-` headers that are not the user's own: SDKs, proxies, tracing, names that Homeport itself sends, and those that a
#: proxy in front obeys in an answer (`X-Accel-Redirect`, `X-Sendfile`: it would send whatever file the caller names).
_NOT_CUSTOM = re.compile(
    rb"x-(stainless|forwarded|original|envoy|amzn?|azure|ms|aws|goog|google|cloud|b3|datadog|newrelic|appengine|accel"
    rb"|lighttpd|litespeed|reproxy|homeport|ratelimit|openai)-.*"
    rb"|x-(real-ip|request-id|client-request-id|client-ip|cluster-client-ip|should-retry|scheme|host|forwarded|trace-id"
    rb"|sendfile2?|span-id|parent-span-id|traceid|spanid|http-method-override|http-method|method-override|content-type-options"
    rb"|frame-options|xss-protection|powered-by|robots-tag|proxy-.*|csrf.*|xsrf.*|requested-with|dns-prefetch-control"
    rb"|permitted-cross-domain-policies|ua-compatible|api-version)"
)
#: Credentials are never echoed and never passed on.
_SECRET = re.compile(
    rb".*(key|token|secret|password|passwd|auth|authorization|credential|credentials|cookie|signature)"
)


class Seen(msgspec.Struct):
    """What an inference request says in its headers; what it does not say is empty. custom: at most ten, names in lower
    case."""

    authorization: bytes = b""
    api_key: bytes = b""
    content_type: bytes = b""
    content_encoding: bytes = b""
    idempotency_key: bytes = b""
    cache: bytes = b""
    cache_control: bytes = b""
    fault: bytes = b""
    traceparent: bytes = b""
    tracestate: bytes = b""
    custom: tuple[Header, ...] = ()

    __repr__ = object.__repr__  # a key is not for logs

    @property
    def bearer(self) -> bytes | None:
        """The key."""
        value = self.authorization
        if value[:7] == b"Bearer ":
            return value[7:].strip() or None
        return _credential(value)


#: Headers that are read: name -> attribute of Seen.
_READ = {
    b"authorization": "authorization",
    b"api-key": "api_key",
    b"content-type": "content_type",
    b"content-encoding": "content_encoding",
    b"idempotency-key": "idempotency_key",
    b"x-homeport-cache": "cache",
    b"cache-control": "cache_control",
    b"x-homeport-fault": "fault",
    b"traceparent": "traceparent",
    b"tracestate": "tracestate",
}


def read(headers: Iterable[Header]) -> Seen:
    """One pass over the request's headers (names in lower case). Raises TooManyHeaders (431)."""
    seen = Seen()
    for header in headers:
        name, value = header
        attribute = _READ.get(name)
        if attribute is not None:
            setattr(seen, attribute, value)
        elif name[:2] == b"x-" and is_custom(name):
            seen.custom += (header,)
    if len(seen.custom) > MOST_CUSTOM:
        raise TooManyHeaders(
            f"Too many custom headers: {len(seen.custom)} headers begin with X-, at most {MOST_CUSTOM} are passed on. "
            "Send fewer."
        )
    return seen


def check_media_type(seen: Seen) -> None:
    """JSON, as it is. Raises UnsupportedMediaType (415)."""
    kind = seen.content_type
    if kind == b"application/json" and not seen.content_encoding:
        return
    kind = kind.partition(b";")[0].strip().lower()
    if kind and kind != b"application/json":
        shown = kind.decode("ascii", "replace")
        raise UnsupportedMediaType(
            f"Unsupported content type: {shown!r}. This API method only accepts 'application/json' requests, but you "
            f"specified the header 'Content-Type: {shown}'. Please try again with a supported content type.",
            code="unsupported_content_type",
        )
    if seen.content_encoding and seen.content_encoding.lower() != b"identity":
        raise UnsupportedMediaType(
            "Unsupported content encoding. Send the JSON body without compression.", code="unsupported_content_encoding"
        )


@lru_cache(maxsize=1024)
def is_custom(name: bytes) -> bool:
    """The caller's own, to be passed on and returned. Remembered: an SDK sends the same ten of its own every time."""
    return not _NOT_CUSTOM.fullmatch(name) and not _SECRET.fullmatch(name)


def _credential(value: bytes) -> bytes | None:
    """The key of `Bearer KEY`, or of `Basic` with the key as password, as OpenAI takes both."""
    scheme, _, rest = value.strip().partition(b" ")
    if scheme.lower() == b"bearer":
        return rest.strip() or None
    if scheme.lower() == b"basic":
        try:
            return base64.b64decode(rest, validate=True).partition(b":")[2] or None
        except binascii.Error:
            return None
    return None


class Standard:
    """The lines that every answer carries."""

    def __init__(self, organization: str) -> None:
        version = b"openai-version: " + OPENAI_VERSION
        self._end = b"%b\r\nopenai-organization: %b\r\n" % (version, organization.encode())

    def lines(self, request_id: str, began: float) -> bytes:
        """began: clock.monotonic() when the request was whole."""
        milliseconds = (clock.monotonic() - began) * 1000
        return b"x-request-id: %b\r\nopenai-processing-ms: %d\r\n%b" % (request_id.encode(), milliseconds, self._end)


def lines(headers: Iterable[Header]) -> bytes:
    """Headers as they stand on the wire: `name: value` and CRLF, each."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def pairs(lines: bytes) -> list[Header]:
    """The other way round, for ASGI."""
    split = (line.partition(b": ") for line in lines.split(b"\r\n") if line)
    return [(name, value) for name, _, value in split]
