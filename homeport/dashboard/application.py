"""The dashboard in front of the API: what is below `/dashboard` is answered here, everything else there."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from homeport.control.sessions import Sessions
from homeport.control.sign_ins import SignIns
from homeport.dashboard import sign_in
from homeport.dashboard.bridge import PREFIX, Bridge
from homeport.dashboard.client import Client, Refused
from homeport.dashboard.credentials import Credentials, Who
from homeport.dashboard.origin import Origin
from homeport.dashboard.page import Page
from homeport.dashboard.pages import FIRST, GROUPS, PAGES
from homeport.dashboard.sign_in import HOME, Door
from homeport.dashboard.static import Static
from homeport.dashboard.templates import environment
from homeport.errors import Unavailable
from homeport.gateway.keyring import Keyring
from homeport.logs import trail

log = logging.getLogger("homeport.dashboard")

#: Nothing from elsewhere, no script or style in a page, no frame around it.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=(), payment=(), usb=()",
    "cache-control": "no-store",
}
#: What is needed, for somebody whose key is of the other kind.
_NEEDED = {
    "admin": "This page shows what admin keys may see. Sign in with one (homeport keys create --admin): you stay "
    "signed in with the key that you have.",
    "project": "This page uses models, for which it needs a project's API key. Sign in with one: you stay signed in "
    "with the admin key that you have.",
}


class Dashboard:
    """Pure ASGI. It raises nothing: what goes wrong is a page, too."""

    def __init__(
        self,
        api: ASGIApp,
        *,
        keyring: Keyring,
        sessions: Sessions,
        sign_ins: SignIns,
        secure: bool,
        public_url: str | None,
    ) -> None:
        """secure: browsers reach the server over HTTPS alone. public_url: as they do, where that is known."""
        origin = Origin(public_url)
        self.api = api
        self._credentials = Credentials(keyring)
        self._door = Door(keyring, self._credentials, sessions, sign_ins, origin, secure=secure)
        self._bridge = Bridge(api, self._credentials, origin)
        static = Static(f"{HOME}/static")
        self._templates = environment(static)
        self._router = Router([*self._routes(), static.route()], redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.api(scope, receive, send)
        path = scope["path"]
        if path == "/" and _is_browser(scope):
            return await RedirectResponse(HOME, 303)(scope, receive, send)
        if path != HOME and not path.startswith(f"{HOME}/"):
            return await self.api(scope, receive, send)
        if path.startswith(PREFIX):
            return await self._cross(scope, receive, send)
        await self._show(scope, receive, send)

    async def _show(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def secured(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                message["headers"] = headers.raw
            await send(message)

        request = Request(scope, receive)
        scope["app"] = self  # Starlette's router then raises what it does not find
        try:
            await self._router(scope, receive, secured)
        except HTTPException as error:
            await self._wrong(request, error.status_code, str(error.detail))(scope, receive, secured)
        except Unavailable as error:
            await self._wrong(request, 503, error.message)(scope, receive, secured)
        except Exception as error:
            if started:
                raise
            log.error("%s: unexpected %s", scope["path"], trail(error))
            await self._wrong(request, 500, "The server had an error while making this page.")(scope, receive, secured)

    async def _cross(self, scope: Scope, receive: Receive, send: Send) -> None:
        """To the API, with the session's key."""
        try:
            who = await self._door.who(Request(scope))
        except Unavailable as error:
            return await _error(503, error.message)(scope, receive, send)
        if who is None:
            return await _error(401, "You are not signed in, or not any more.", "signed_out")(scope, receive, send)
        refusal = self._bridge.refuses(scope)
        if refusal is not None:
            return await _error(403, refusal)(scope, receive, send)
        await self._bridge.forward(who, scope, receive, send)

    def _routes(self) -> Sequence[BaseRoute]:
        return [
            Route(HOME, self._home, methods=["GET"]),
            Route(f"{HOME}/sign-in", self._ask_in, methods=["GET"]),
            Route(f"{HOME}/sign-in", self._sign_in, methods=["POST"]),
            Route(f"{HOME}/sign-out", self._door.sign_out, methods=["POST"]),
            Route(f"{HOME}/session", self._is_in, methods=["GET"]),
            *(Route(f"{HOME}{page.path}", self._page(page), methods=["GET"], name=page.name) for page in PAGES),
        ]

    async def _home(self, request: Request) -> Response:
        return RedirectResponse(f"{HOME}{FIRST.path}", 303)

    async def _ask_in(self, request: Request) -> Response:
        return self._sign_in_form(sign_in.then(request), known=await self._door.who(request) is not None)

    async def _sign_in(self, request: Request) -> Response:
        if not self._door.is_ours(request):
            return self._wrong(request, 403, "This was sent by a page of another site.")
        then = sign_in.then(request)
        token = await self._door.sign_in(request, await sign_in.key_of(request))
        if token is None:
            return self._sign_in_form(then, known=True, wrong=True)
        return self._door.entered(token, then)

    def _sign_in_form(self, then: str, *, known: bool, wrong: bool = False) -> Response:
        """known: it is clear already whether somebody is signed in, and the form is wanted all the same."""
        shown = {"title": "Sign in", "then": then, "known": known, "wrong": wrong}
        return self._html("sign_in.html", shown, 401 if wrong else 200)

    async def _is_in(self, request: Request) -> Response:
        """For the door itself: a link from another site brings no cookie along, and yet one may be signed in."""
        return JSONResponse({"signed_in": await self._door.who(request) is not None})

    def _page(self, page: Page) -> Any:
        async def show(request: Request) -> Response:
            who = await self._door.who(request)
            if who is None:
                return sign_in.asking(request)
            if page.needs != "any" and getattr(who, page.needs) is None:
                return self._html("needed.html", {**_shell(page, who), "message": _NEEDED[page.needs]}, 403)
            client = Client(
                self.api, self._credentials, who, host=request.headers.get("host", ""), scheme=request.url.scheme
            )
            try:
                data = await page.data(client, request)
            except Refused as refused:
                shown = {**_shell(page, who), "status": refused.status, "message": refused.message}
                return self._html("refused.html", shown, refused.status)
            return self._html(f"pages/{page.name}.html", {**_shell(page, who), **data})

        return show

    def _wrong(self, request: Request, status: int, message: str) -> Response:
        return self._html("wrong.html", {"title": str(status), "status": status, "message": message}, status)

    def _html(self, template: str, given: Mapping[str, Any], status: int = 200) -> Response:
        return HTMLResponse(self._templates.get_template(template).render(given), status)


def _shell(page: Page, who: Who) -> dict[str, Any]:
    """What every page of somebody who is signed in has around it."""
    return {"page": page, "title": page.title, "who": who, "groups": GROUPS}


def _error(status: int, message: str, code: str | None = None) -> Response:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return JSONResponse({"error": error}, status)


def _is_browser(scope: Scope) -> bool:
    return scope["method"] == "GET" and any(
        name == b"accept" and b"text/html" in value for name, value in scope["headers"]
    )
