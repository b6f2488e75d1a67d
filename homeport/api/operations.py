"""One operation that is no inference: who may ask, what was asked, and the answer.

Every operation is a row of data, and every row passes through here: nobody forgets to ask for the key, and no parameter
is dropped in silence. The Admin API's rows are in `api/admin`, those of what projects own in `api/resources.py`.
"""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Generic, Protocol, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from homeport.api import beta, headers
from homeport.api.asgi import read_body
from homeport.api.idempotency import once
from homeport.api.json import json_answer
from homeport.api.multipart import Filled, Form, FormFile
from homeport.control.idempotency import Idempotency
from homeport.control.pages import Window
from homeport.errors import InvalidRequest, NotFound
from homeport.wire import base, fields

LARGEST_BODY = 2**20
_WHOLE = re.compile(r"-?[0-9]{1,18}")


class Identified(Protocol):
    @property
    def id(self) -> str:
        """Whose `Idempotency-Key` it is."""
        ...


Who = TypeVar("Who", bound=Identified)
#: Who asks, and whether it has the scope that the operation wants. Raises InvalidKey (401), PermissionDenied (403).
Authorize = Callable[[Request, str], Awaitable[Who]]


class Nothing(fields.Request):
    """The body of an operation that needs none."""


@dataclass(frozen=True)
class Asked(Generic[Who]):
    """A request that may be asked, read. body: of the operation's type; values: the query's; headers: names in lower
    case; file: of a form; head: nothing but the headers of the answer is wanted."""

    who: Who
    path: dict[str, str]
    values: dict[str, list[str]]
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    file: FormFile | None = None
    head: bool = False

    @property
    def project_id(self) -> str:
        return self.path["project_id"]

    def text(self, name: str) -> str | None:
        return self.values[name][0] if name in self.values else None

    def texts(self, name: str) -> list[str]:
        return self.values.get(name, [])

    def choice(self, name: str, *choices: str) -> str:
        """The first is the default. Raises InvalidRequest."""
        value = self.text(name)
        if value is None:
            return choices[0]
        if value not in choices:
            raise base.unsupported_value(name, value, " and ".join(f"'{one}'" for one in choices))
        return value

    def flag(self, name: str) -> bool:
        return self.choice(name, "false", "true") == "true"

    def whole(self, name: str) -> int | None:
        """Raises InvalidRequest: no whole number."""
        value = self.text(name)
        if value is not None and not _WHOLE.fullmatch(value):
            raise InvalidRequest(
                f"Invalid type for '{name}': expected an integer, but got {value!r} instead.",
                param=name,
                code="invalid_type",
            )
        return None if value is None else int(value)

    def members(self, name: str) -> dict[str, str]:
        """Of an object that is spelled `name[key]=value`."""
        begin = f"{name}["
        return {given[len(begin) : -1]: values[0] for given, values in self.values.items() if given.startswith(begin)}

    def window(
        self,
        *,
        default: int = 20,
        least: int = 1,
        most: int = 100,
        descending: bool = False,
        orders: tuple[str, str] = ("asc", "desc"),
    ) -> Window:
        """limit, after, before, order: as far as the operation has them. descending: unless `order` says otherwise.
        orders: its words.

        Raises InvalidRequest.
        """
        limit = self.whole("limit")
        if limit is not None and not least <= limit <= most:
            bound, side = (f">= {least}", "below minimum") if limit < least else (f"<= {most}", "above maximum")
            raise InvalidRequest(
                f"Invalid 'limit': integer {side} value. Expected a value {bound}, but got {limit} instead.",
                param="limit",
                code=f"integer_{'below_min' if limit < least else 'above_max'}_value",
            )
        return Window(
            limit=default if limit is None else limit,
            after=self.text("after"),
            before=self.text("before"),
            descending=self.choice("order", *(orders[::-1] if descending else orders)) == orders[1],
        )


@dataclass(frozen=True)
class Operation(Generic[Who]):
    """body: what is decoded. query: the parameters it has; `emails[]` is a list, `emails` the same; `metadata[*]` any
    member of an object. refused: of those, what is nowhere honoured -> why. scope: that a key needs, where keys have
    scopes. answer: an object of the wire, or a Response of its own. form: where the request is no JSON but a form with
    a file; `body` is of its fields. or_json: it may be JSON, too. largest: bytes of a body. beta: what `OpenAI-Beta`
    has to say (beta.py)."""

    method: str
    path: str
    answer: Callable[[Asked[Who]], Awaitable[object]]
    body: type[fields.Request] = Nothing
    query: Sequence[str] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    scope: str = ""
    form: Form | None = None
    or_json: bool = False
    largest: int = LARGEST_BODY
    beta: str = ""


@dataclass(frozen=True)
class _Body:
    """Of a request. form: that it was read from."""

    raw: bytes
    form: Filled | None = None

    @property
    def identity(self) -> bytes:
        """What an `Idempotency-Key` stands for."""
        return self.raw if self.form is None else self.form.identity


class Endpoint(Generic[Who]):
    """An ASGI application: the operations of one path. table: by method."""

    def __init__(
        self, operations: Iterable[Operation[Who]], authorize: Authorize[Who], idempotency: Idempotency
    ) -> None:
        self.table = {operation.method: operation for operation in operations}
        self._authorize = authorize
        self._idempotency = idempotency

    @property
    def methods(self) -> list[str]:
        return list(self.table)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        operation = self.table["GET" if request.method == "HEAD" else request.method]
        who = await self._authorize(request, operation.scope)
        if operation.beta:
            beta.check(request.headers.getlist("openai-beta"), operation.beta)
        asked = Asked(
            who,
            _path(request),
            _values(request, operation.query),
            headers=request.headers,
            head=request.method == "HEAD",
        )
        async with _body(operation, request, receive) as body:
            if body is None:
                return
            response = await self._answer(operation, asked, body, request)
        await response(scope, receive, send)

    async def _answer(self, operation: Operation[Who], asked: Asked[Who], body: _Body, request: Request) -> Response:
        async def answer() -> Response:
            if operation.method != "POST":
                answered = await operation.answer(asked)
            else:
                decoded = decode(operation.body, body.raw, lax=body.form is not None)
                file = None if body.form is None else body.form.file
                answered = await operation.answer(replace(asked, body=decoded, file=file))
            return answered if isinstance(answered, Response) else json_answer(answered)

        key = headers.read(request.headers.raw).idempotency_key if operation.method == "POST" else b""
        if not key:
            return await answer()
        return await once(
            self._idempotency,
            answer,
            key_id=asked.who.id,
            path=request.url.path,
            key=key.decode("latin-1"),
            body=body.identity,
            request_id=request.scope["homeport.request_id"],
        )


@asynccontextmanager
async def _body(operation: Operation[Any], request: Request, receive: Receive) -> AsyncGenerator[_Body | None, None]:
    """None when the client left meanwhile. Raises InvalidRequest, UnsupportedMediaType, BodyTooLarge, StorageFull."""
    if operation.method != "POST":
        yield _Body(b"")
    elif operation.form is None or (operation.or_json and _is_json(request)):
        headers.check_media_type(headers.read(request.headers.raw))
        whole = await read_body(receive, operation.largest)
        yield None if whole is None else _Body(whole)
    else:
        async with operation.form.read(request, receive) as filled:
            yield None if filled is None else _Body(filled.fields, filled)


def _is_json(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


def routes_of(operations: Iterable[Operation[Who]], authorize: Authorize[Who], idempotency: Idempotency) -> list[Route]:
    """One route a path, so that a wrong method is told all the right ones."""
    by_path: dict[str, list[Operation[Who]]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, []).append(operation)
    endpoints = {path: Endpoint(those, authorize, idempotency) for path, those in by_path.items()}
    return [Route(path, endpoint, methods=endpoint.methods) for path, endpoint in endpoints.items()]


def decode(kind: type[fields.Request], raw: bytes, *, lax: bool = False) -> Any:
    """Nothing at all is an empty object where no member is required. lax: numbers may be texts.

    Raises InvalidRequest.
    """
    decoder, optional = _decoder(kind, lax)
    return base.decode(decoder, raw or (b"{}" if optional else b""))


@cache
def _decoder(kind: type[fields.Request], lax: bool) -> tuple["msgspec.json.Decoder[Any]", bool]:
    return msgspec.json.Decoder(kind, strict=not lax), not any(field.required for field in msgspec.structs.fields(kind))


def _path(request: Request) -> dict[str, str]:
    """Ids are compared in the database, some of which take no control characters. Raises NotFound."""
    for name, value in request.path_params.items():
        if not value.isprintable():
            raise NotFound(f"Nothing found with id {value!r}.", param=name)
    return request.path_params


def _values(request: Request, known: Sequence[str]) -> dict[str, list[str]]:
    """The query, by the names that the operation knows. Raises InvalidRequest."""
    found: dict[str, list[str]] = {}
    for given, value in request.query_params.multi_items():
        name = f"{given}[]" if f"{given}[]" in known else given
        if name not in known and not _is_member(name, known):
            raise InvalidRequest(f"Unknown parameter: '{given}'.", param=given, code="unknown_parameter")
        if name in found and not name.endswith("[]"):
            raise InvalidRequest(f"The parameter '{given}' is there twice.", param=given, code="invalid_value")
        if not value.isprintable():
            raise InvalidRequest(f"Invalid '{given}': {value!r} is not printable.", param=given, code="invalid_value")
        found.setdefault(name, []).append(value)
    return found


def _is_member(name: str, known: Sequence[str]) -> bool:
    """`metadata[customer]`, of `metadata[*]`."""
    member = f"{name.partition('[')[0]}[*]" in known and name.endswith("]") and not name.endswith("[]")
    return member and name.isprintable()
