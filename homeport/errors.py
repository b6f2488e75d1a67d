"""Every error that a client can see, as OpenAI names it. Raised where known, rendered once (in `api`).

    HomeportError                     500 server_error
    |- InvalidRequest                 400 invalid_request_error, `param` points into the body
    |  |- UnsupportedParameter        400 code unsupported_parameter: a backend cannot honour it
    |  |- ContextLengthExceeded       400 code context_length_exceeded, with the numbers
    |  |- ContentFiltered             400 code content_policy_violation: a project has its requests moderated
    |- InvalidKey                     401 code invalid_api_key
    |  |- MissingKey                  401, code null
    |- PermissionDenied               403
    |- ModelNotFound                  404 code model_not_found
    |- RecordingNotFound              404 code recording_not_found: answers come from recordings alone
    |- NotFound                       404: no such project, key, user, ...; `param` names the part of the path
    |- UnknownURL                     404
    |- MethodNotAllowed               405
    |- RequestTimedOut                408
    |- Conflict                       409: what is asked for is being done, or was done
    |- BodyTooLarge                   413
    |- UnsupportedMediaType           415
    |- RangeNotSatisfiable            416: bytes of a file that it does not have
    |- RateLimited                    429 code rate_limit_exceeded
    |- InsufficientQuota              429 code insufficient_quota: a budget is used up, trying again does not help
    |- TooManyHeaders                 431
    |- Unavailable                    503: try again later, or do what the message says
    |  |- ModelNotReady               503: the model is not on this machine, or is still loading
    |  |- DatabaseUnavailable         503 code database_unavailable: nobody knows any more which keys hold
    |- ContentMissing                 500 code content_missing: a file is known, and its bytes are not there
    |- StorageFull                    507 code insufficient_storage: the disk or the object store takes no more
    |- NotCached                      504 code not_cached: the request wants to be answered from the cache alone
    |- ConnectionCut                  no status: the connection ends here, as the request asked for
    |- UpstreamFailed                 503: the upstream is dead, slow, or answered nonsense
    |- UpstreamRefused                the upstream's own error object and status, passed on
    SettingsError                     never reaches a client: the command line prints it and ends

Source: the `Error` object of OpenAI's OpenAPI description and its error-codes guide.
"""

from collections.abc import Sequence
from typing import ClassVar

Headers = Sequence[tuple[str, str]]


class SettingsError(Exception):
    """The configuration cannot be used; the message says which key and what to write instead."""


class HomeportError(Exception):
    """A failure that becomes OpenAI's error object. The message is for the client: no internals, no secrets."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    default_code: ClassVar[str | None] = None
    #: Seconds after which who raised it may be asked the same again, 0 where nobody knows; None: that does not help.
    again: float | None = None

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, headers: Headers = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.default_code
        self.headers = tuple(headers)


class InvalidRequest(HomeportError):
    status = 400
    type = "invalid_request_error"


class UnsupportedParameter(InvalidRequest):
    default_code = "unsupported_parameter"


class ContextLengthExceeded(InvalidRequest):
    default_code = "context_length_exceeded"


class ContentFiltered(InvalidRequest):
    """What was asked is flagged. Azure has another code for it (api/azure.py)."""

    default_code = "content_policy_violation"

    def __init__(self, categories: Sequence[str], *, param: str) -> None:
        """categories: what it is flagged for."""
        super().__init__(
            "Your request was rejected, because this project has its requests moderated, and it was flagged for: "
            f"{', '.join(categories)}.",
            param=param,
            headers=(("x-should-retry", "false"),),
        )
        self.categories = tuple(categories)


class InvalidKey(HomeportError):
    status = 401
    type = "invalid_request_error"
    default_code: ClassVar[str | None] = "invalid_api_key"


class MissingKey(InvalidKey):
    default_code = None


class PermissionDenied(HomeportError):
    status = 403
    type = "invalid_request_error"


class ModelNotFound(HomeportError):
    status = 404
    type = "invalid_request_error"
    default_code = "model_not_found"

    @classmethod
    def named(cls, model: str) -> "ModelNotFound":
        return cls(f"The model `{model}` does not exist or you do not have access to it.")


class RecordingNotFound(HomeportError):
    status = 404
    type = "invalid_request_error"
    default_code = "recording_not_found"

    def __init__(self, message: str) -> None:
        super().__init__(message, headers=(("x-should-retry", "false"),))


class NotFound(HomeportError):
    status = 404
    type = "invalid_request_error"


class UnknownURL(HomeportError):
    status = 404
    type = "invalid_request_error"
    default_code = "unknown_url"


class MethodNotAllowed(HomeportError):
    status = 405
    type = "invalid_request_error"
    default_code = "method_not_supported"


class RequestTimedOut(HomeportError):
    status = 408
    type = "invalid_request_error"


class Conflict(HomeportError):
    status = 409
    type = "invalid_request_error"


class BodyTooLarge(HomeportError):
    status = 413
    type = "invalid_request_error"

    @classmethod
    def over(cls, limit: int) -> "BodyTooLarge":
        """limit: bytes."""
        return cls(f"The request's body is larger than {limit / 2**20:g} MiB, the most that is taken here.")


class UnsupportedMediaType(HomeportError):
    status = 415
    type = "invalid_request_error"


class RangeNotSatisfiable(HomeportError):
    status = 416
    type = "invalid_request_error"

    @classmethod
    def of(cls, size: int) -> "RangeNotSatisfiable":
        """size: of the file, in bytes."""
        return cls(
            f"The file has {size} bytes, and none of them is in the range of the `Range` header.",
            headers=(("content-range", f"bytes */{size}"),),
        )


class RateLimited(HomeportError):
    """Over a limit. `kind` is OpenAI's error type: requests or tokens."""

    status = 429
    default_code = "rate_limit_exceeded"

    def __init__(self, message: str, *, kind: str, headers: Headers = ()) -> None:
        super().__init__(message, headers=headers)
        self.kind = kind


class InsufficientQuota(HomeportError):
    """Over a budget."""

    status = 429
    type = "insufficient_quota"
    default_code = "insufficient_quota"

    def __init__(self) -> None:
        super().__init__(
            "You exceeded your current quota, please check your plan and billing details. A budget of this key, its "
            "project or its organization is used up: whoever runs this server can raise it.",
            headers=(("x-should-retry", "false"),),
        )


class TooManyHeaders(HomeportError):
    status = 431
    type = "invalid_request_error"


class Unavailable(HomeportError):
    status = 503


class ModelNotReady(Unavailable):
    default_code = "model_not_ready"


class DatabaseUnavailable(Unavailable):
    default_code = "database_unavailable"

    def __init__(self) -> None:
        super().__init__(
            "The database has been away for so long that keys cannot be checked, and what cannot be checked is not "
            "served. Try again soon.",
            headers=(("retry-after", "1"),),
        )


class ContentMissing(HomeportError):
    default_code = "content_missing"

    def __init__(self) -> None:
        super().__init__(
            "The content of this file is missing on this server. Whoever runs it learns more from `homeport doctor`."
        )


class StorageFull(HomeportError):
    status = 507
    default_code = "insufficient_storage"

    def __init__(self, message: str) -> None:
        super().__init__(message, headers=(("x-should-retry", "false"),))


class NotCached(HomeportError):
    status = 504
    type = "invalid_request_error"
    default_code = "not_cached"


class ConnectionCut(HomeportError):
    """A rehearsed fault: the client gets no word of it."""

    def __init__(self) -> None:
        super().__init__("The connection is cut, as x-homeport-fault asked for.")


class UpstreamFailed(HomeportError):
    status = 503
    default_code = "upstream_unavailable"


class UpstreamRefused(HomeportError):
    """The upstream answered with an error: its status and its error object go to the client as they are."""

    def __init__(self, upstream_status: int, body: dict[str, object], *, headers: Headers = ()) -> None:
        super().__init__(str(body.get("message", "")), headers=headers)
        self.upstream_status = upstream_status
        self.body = body
