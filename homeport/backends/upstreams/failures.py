"""What went wrong at an upstream, in words for the client."""

import msgspec

from homeport.backends.upstreams import pacing
from homeport.backends.upstreams.client import Response
from homeport.backends.upstreams.errors import AllBusy, Broken, ConnectFailed, Cut, TimedOut, TooLarge, TransferError
from homeport.errors import HomeportError, UpstreamFailed, UpstreamRefused

LARGEST_ERROR = 2**20
_KEPT_HEADERS = (b"retry-after", b"retry-after-ms", b"x-should-retry")
#: The code of a 429 that no waiting helps.
_QUOTA = "insufficient_quota"


async def refusal(response: Response, upstream: str) -> HomeportError:
    """An answer that is none of success, as the error that the client gets."""
    status = response.status
    again = pacing.again(status, response.headers)
    headers = tuple(
        (name.decode(), value.decode("latin-1")) for name, value in response.headers if name in _KEPT_HEADERS
    )
    try:
        body = await response.read(LARGEST_ERROR)
    except TransferError:
        body = b""  # its status is answer enough
    if status in (401, 403):
        return UpstreamFailed(
            f"The upstream {upstream!r} does not accept Homeport's credentials. This is for the operator to mend: "
            f"check upstreams.{upstream}.api_key.",
            code="upstream_authentication_failed",
            headers=(("x-should-retry", "false"),),
        )
    if status < 300:
        return malformed(upstream)
    if status < 400:
        return UpstreamFailed(
            f"The upstream {upstream!r} answers with a redirect ({status}). Check upstreams.{upstream}.base_url."
        )
    shown = status if status < 500 or status in (500, 503) else 503
    refused = UpstreamRefused(shown, _error_of(body, status, upstream), headers=headers)
    refused.again = again if refused.body["code"] != _QUOTA else None
    return refused


def _error_of(body: bytes, status: int, upstream: str) -> dict[str, object]:
    words = f"The upstream {upstream!r} answers with status {status}."
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        decoded = None
    error = decoded.get("error", decoded) if isinstance(decoded, dict) else None
    return _as_object(error, words, status)


def _as_object(error: object, words: str, status: int) -> dict[str, object]:
    """OpenAI's error object, whatever the upstream's looks like: OpenAI's own, Azure's without a type, or a text."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    if isinstance(error, str):
        return {"message": error[:1000], "type": kind, "param": None, "code": None}
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return {"message": words, "type": kind, "param": None, "code": None}
    code, param = error.get("code"), error.get("param")
    return {
        **error,
        "type": str(error.get("type") or kind),
        "param": param if param is None else str(param),
        "code": code if code is None else str(code),
    }


def failure(error: TransferError, upstream: str, *, again_unanswered: bool = False) -> HomeportError:
    """A transfer that failed, in words for the client.

    again_unanswered: a request that was sent, and of whose answer nothing came, may be sent again.
    """
    failed = _failure(error, upstream)
    unanswered = isinstance(error, TimedOut | Cut) and not error.heard and again_unanswered
    if unanswered or (isinstance(error, ConnectFailed) and not isinstance(error, AllBusy)):
        failed.again = 0.0
    return failed


def _failure(error: TransferError, upstream: str) -> UpstreamFailed:
    headers: tuple[tuple[str, str], ...] = ()
    if isinstance(error, AllBusy):
        words, code = f"has too much to do: {error}", "upstream_busy"
        headers = (("retry-after", "1"),)
    elif isinstance(error, ConnectFailed):
        words, code = f"cannot be reached ({error})", "upstream_unavailable"
    elif isinstance(error, TimedOut):
        words, code = f"is too slow: {error}", "upstream_timeout"
    elif isinstance(error, TooLarge):
        words, code = "sent more than is taken", "upstream_answer_too_large"
    elif isinstance(error, Broken):
        return malformed(upstream)
    else:
        return broken_off(upstream)
    return UpstreamFailed(f"The upstream {upstream!r} {words}. You can retry your request.", code=code, headers=headers)


def broken_off(upstream: str) -> UpstreamFailed:
    return UpstreamFailed(
        f"The upstream {upstream!r} broke its answer off. You can retry your request.", code="upstream_cut"
    )


def malformed(upstream: str) -> UpstreamFailed:
    return UpstreamFailed(f"The upstream {upstream!r} sent something that is no answer.", code="upstream_malformed")


def in_stream(error: object) -> UpstreamRefused:
    """error: what an event said. Its code is the status where it is one, as vLLM has it."""
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else 500
    refused = UpstreamRefused(status, _as_object(error, "The upstream failed while it was answering.", status))
    refused.again = 0.0 if pacing.may_pass(status) and refused.body["code"] != _QUOTA else None
    return refused
