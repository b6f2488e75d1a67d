"""Signing in with a key, and out: the only things that the dashboard keeps, a session's cookie and its row. Both are in
the audit log (control/sign_ins.py)."""

import hashlib
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from homeport.control.changes import Actor
from homeport.control.sessions import Session, Sessions
from homeport.control.sign_ins import SignIns
from homeport.dashboard.credentials import Credentials, Who
from homeport.dashboard.origin import Origin
from homeport.errors import InvalidKey
from homeport.gateway.keyring import Keyring, Principal

COOKIE = "homeport_session"
HOME = "/dashboard"
_LARGEST_FORM = 16 * 1024


class Door:
    """secure: browsers reach the server over HTTPS alone."""

    def __init__(
        self,
        keyring: Keyring,
        credentials: Credentials,
        sessions: Sessions,
        sign_ins: SignIns,
        origin: Origin,
        *,
        secure: bool,
    ) -> None:
        self._keyring = keyring
        self._sign_ins = sign_ins
        self._credentials = credentials
        self._sessions = sessions
        self._origin = origin
        self._secure = secure

    async def who(self, request: Request) -> Who | None:
        """Of whom the request is. Raises Unavailable."""
        token = request.cookies.get(COOKIE)
        session = await self._sessions.find(token) if token else None
        return self._credentials.who(token, session) if token and session is not None else None

    async def sign_in(self, request: Request, key: str) -> str | None:
        """The cookie's token; None: the key is none. Whoever has signed in with another keeps what that is good for."""
        secret = key.strip().encode()
        try:
            principal = self._keyring.anybody(secret)
        except InvalidKey:
            await self._sign_ins.failed(_address(request))
            return None
        key_hash = hashlib.sha256(secret).digest()
        session = Session(
            project=None if principal.kind == "admin" else key_hash,
            admin=None if principal.kind == "project" else key_hash,
        )
        before = await self.who(request)
        token = await self._sessions.begin(session.joined(before.session if before is not None else None))
        if before is not None:
            await self._sessions.end(before.token)
        await self._sign_ins.succeeded(_actor(principal), _address(request))
        return token

    async def sign_out(self, request: Request) -> Response:
        response = RedirectResponse(f"{HOME}/sign-in", 303)
        token = request.cookies.get(COOKIE)
        who = await self.who(request)
        if token and self._origin.is_ours(request.headers):
            await self._sessions.end(token)
            response.delete_cookie(COOKIE, **self._attributes())
            if who is not None:
                await self._sign_ins.left(_of(who), _address(request))
        elif who is not None:
            await self._sign_ins.stayed(_of(who), _address(request))
        return response

    def entered(self, token: str, then: str) -> Response:
        response = RedirectResponse(then, 303)
        response.set_cookie(COOKIE, token, max_age=self._sessions.seconds, **self._attributes())
        return response

    def is_ours(self, request: Request) -> bool:
        return self._origin.is_ours(request.headers)

    def _attributes(self) -> dict[str, Any]:
        return {"path": HOME, "secure": self._secure, "httponly": True, "samesite": "strict"}


def _of(who: Who) -> Actor:
    """Whoever has a session: by the key that opens more."""
    principal = who.admin or who.project
    assert principal is not None, "a session has a key"
    return _actor(principal)


def _actor(principal: Principal) -> Actor:
    user = principal.user if principal.email else None  # else it is a service account's, or nobody's
    return Actor(principal.key_id, user, principal.email or None)


def _address(request: Request) -> str:
    """Behind a proxy, the proxy's: what it says of others, anybody could say."""
    return request.client.host if request.client else "unknown"


def then(request: Request) -> str:
    """Where somebody wanted to go: a page of ours, whatever the address says."""
    wanted = request.query_params.get("next", "")
    return wanted if wanted.startswith(f"{HOME}/") and "//" not in wanted and "\\" not in wanted else HOME


def asking(request: Request) -> Response:
    """To the door, and then back."""
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"{HOME}/sign-in?next={quote(wanted)}", 303)


async def key_of(request: Request) -> str:
    """What the form says; nothing where it is none, or too long for one."""
    if int(request.headers.get("content-length") or _LARGEST_FORM) >= _LARGEST_FORM:
        return ""
    async with request.form(max_fields=4) as form:
        return str(form.get("key") or "")
