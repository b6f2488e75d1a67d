"""The public API, as a client of it in this process: what pages show, they ask for here."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import msgspec
from starlette.types import ASGIApp, Message

from homeport.dashboard.credentials import Credentials, Who

#: Of a list, in one answer, where all of it is wanted.
_PAGE = 100


class Refused(Exception):
    """The API has said no: with the status and the error object that a client gets."""

    def __init__(self, status: int, error: Mapping[str, Any]) -> None:
        super().__init__(error.get("message") or "")
        self.status = status
        self.message = str(error.get("message") or "")
        self.code = error.get("code")


class Answer(NamedTuple):
    status: int
    body: bytes


class Client:
    """With the keys of one session."""

    def __init__(self, api: ASGIApp, credentials: Credentials, who: Who, *, host: str, scheme: str) -> None:
        """host, scheme: as the browser reaches the server, for addresses in answers."""
        self._api = api
        self._credentials = credentials
        self.who = who
        self._host = host
        self._scheme = scheme

    async def get(self, path: str, **query: Any) -> Any:
        """path: `/v1/...`. query: None is left out, a list is said as `name[]`, once for each. Raises Refused."""
        answer = await self._ask(path, urlencode(list(_pairs(query))))
        decoded = msgspec.json.decode(answer.body)
        if answer.status >= 400:
            raise Refused(answer.status, decoded.get("error") or {})
        return decoded

    async def every(self, path: str, **query: Any) -> list[Any]:
        """All that a list has, page after page. Raises Refused."""
        found: list[Any] = []
        after = None
        while True:
            page = await self.get(path, limit=_PAGE, after=after, **query)
            found += page["data"]
            if not page["has_more"]:
                return found
            after = page["data"][-1]["id"]

    async def _ask(self, path: str, query: str) -> Answer:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": self._scheme,
            "path": path,
            "raw_path": quote(path).encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [
                (b"host", self._host.encode("latin-1")),
                (b"authorization", self._credentials.bearer(self.who.session, path)),
                (b"openai-beta", b"assistants=v2"),
            ],
            "client": ("127.0.0.1", 0),
            "server": ("127.0.0.1", 0),
        }
        status = 500
        body = bytearray()
        asked = False

        async def receive() -> Message:
            nonlocal asked
            if asked:
                return {"type": "http.disconnect"}
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                body.extend(message.get("body", b""))

        await self._api(scope, receive, send)
        return Answer(status, bytes(body))


def _pairs(query: Mapping[str, Any]) -> Any:
    for name, value in query.items():
        if isinstance(value, list | tuple):
            yield from ((f"{name}[]", one) for one in value)
        elif value is not None:
            yield name, value
