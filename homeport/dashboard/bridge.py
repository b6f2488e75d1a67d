"""`/dashboard/v1/...` is `/v1/...` for whoever has signed in: the session's key in place of the cookie, nothing else.

Another site's page cannot use it: the cookie is SameSite=Strict, whatever changes something must come from our own
pages (`origin.py`) with a header that no form can send, and nothing that is answered is ever a page of ours: what a
user has uploaded runs nothing here.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from homeport.dashboard.credentials import Credentials, Who
from homeport.dashboard.origin import Origin

PREFIX = "/dashboard/v1/"
#: Sent by our modules; its value says nothing.
HEADER = "x-homeport-dashboard"
_SAFE = frozenset({"GET", "HEAD"})
#: Not for the API: who asks is said by the key, and how the page was reached is no part of it.
_DROPPED = frozenset({b"cookie", b"authorization", b"api-key", b"origin", b"referer", HEADER.encode()})
_HEADERS = {
    "content-security-policy": "default-src 'none'; sandbox",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
}


class Bridge:
    def __init__(self, api: ASGIApp, credentials: Credentials, origin: Origin) -> None:
        self._api = api
        self._credentials = credentials
        self._origin = origin

    def refuses(self, scope: Scope) -> str | None:
        """Why a request that changes something is not ours."""
        if scope["method"] in _SAFE:
            return None
        headers = Headers(scope=scope)
        if not self._origin.is_ours(headers):
            return "It comes from a page of another site."
        if HEADER not in headers:
            return f"It has no `{HEADER}` header, which pages of the dashboard send."
        return None

    async def forward(self, who: Who, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix("/dashboard")
        raw_path = scope.get("raw_path") or path.encode()
        headers = [one for one in scope["headers"] if one[0] not in _DROPPED and not one[0].startswith(b"sec-")]
        forwarded: Scope = {
            **{key: value for key, value in scope.items() if key not in ("path_params", "endpoint", "router", "route")},
            "path": path,
            "raw_path": raw_path.removeprefix(b"/dashboard"),
            "root_path": "",
            "headers": [*headers, (b"authorization", self._credentials.bearer(who.session, path))],
        }

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = MutableHeaders(raw=message.setdefault("headers", []))
                said.update(_HEADERS)
                said.setdefault("cache-control", "no-store")
                message["headers"] = said.raw
            await send(message)

        await self._api(forwarded, receive, answer)
