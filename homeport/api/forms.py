"""Inference whose request is a form: its files go to the disk, its fields become the body of JSON that all other rooms
know. In place of a file stands what tells it from others: its name, its bytes and their digest."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from homeport.api import headers as http_headers
from homeport.api.asgi import answered, read_body
from homeport.api.exchange import Exchange, Inbound, Route
from homeport.api.multipart import Filled, Form
from homeport.backends.capabilities import Attached, Header
from homeport.backends.local import duration
from homeport.errors import BodyTooLarge
from homeport.gateway.endpoints import Endpoint, FormShape
from homeport.gateway.keyring import Principal
from homeport.store.staged import Staged
from homeport.wire import base

if TYPE_CHECKING:
    from homeport.control.image_references import ImageReferences

#: Where a form's files are until its request has ended.
Stage = Callable[[], AbstractAsyncContextManager[Staged]]


class FormInference:
    """As asgi.Inference. The key is looked at before anything is read."""

    def __init__(
        self,
        exchange: Exchange,
        endpoint: Endpoint,
        route: Callable[[Scope], Route],
        *,
        staged: Stage,
        largest: int,
        largest_body: int,
        references: "ImageReferences",
    ) -> None:
        """largest: bytes of a file. largest_body: of a request that is JSON, where the endpoint takes that, too."""
        assert endpoint.form is not None
        self._exchange = exchange
        self._hears = endpoint.hears
        self._shape = endpoint.form
        self._route = route
        self._largest_body = largest_body
        self._references = references if endpoint.form.references else None
        shape = endpoint.form
        self._form = Form(
            *shape.files,
            largest=largest,
            staged=staged,
            several=shape.several,
            lists=shape.lists,
            most_fields=shape.most_fields,
            largest_fields=shape.largest_fields,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route, headers = self._route(scope), list(scope["headers"])
        principal = await self._exchange.recognize(route, headers)
        if self._references is not None and _is_json(headers):
            await self._answer_json(self._references, principal, scope, receive, send)
            return
        async with self._form.read(Request(scope), receive) as filled:
            if filled is None:
                return
            for files in filled.files.values():
                for file in files:
                    await file.staged.finish()
            inbound = Inbound(headers, body_of(self._shape, filled), await self._attached(filled))
            await answered(self._exchange, route, inbound, scope, receive, send)

    async def _answer_json(
        self, references: "ImageReferences", principal: Principal, scope: Scope, receive: Receive, send: Send
    ) -> None:
        from homeport.control.owners import Owner

        route, headers = self._route(scope), list(scope["headers"])
        http_headers.check_media_type(http_headers.read(headers))
        if int(dict(headers).get(b"content-length", 0)) > self._largest_body:
            raise BodyTooLarge.over(self._largest_body)  # without waiting for it
        body = await read_body(receive, self._largest_body)
        if body is None:
            return
        principal.may(route.endpoint.scope)  # before anything is fetched for it
        owner = Owner(principal.project, principal.key_id)
        request_id = scope["homeport.request_id"]
        coming = references.brought(owner, body, model=route.model, may=principal.may, request_id=request_id)
        async with coming as brought:
            inbound = Inbound(headers, brought.body, brought.attached)
            await answered(self._exchange, route, inbound, scope, receive, send)

    async def _attached(self, filled: Filled) -> tuple[Attached, ...]:
        return tuple(
            [
                Attached(
                    name,
                    file.filename,
                    file.staged.bytes,
                    file.staged.digest,
                    file.staged.path,
                    await duration.milliseconds(file.staged.path) if self._hears else None,
                )
                for name, files in filled.files.items()
                for file in files
            ]
        )


def body_of(shape: FormShape, filled: Filled) -> bytes:
    """The fields that are known, checked, as what they are (a form has texts alone); those that are not, as they came.

    Raises InvalidRequest.
    """
    fields = msgspec.json.decode(filled.fields, type=dict[str, Any])
    for name, files in filled.files.items():
        standing = [{"filename": one.filename, "bytes": one.staged.bytes, "sha256": one.staged.digest} for one in files]
        fields[name] = standing if name in shape.several else standing[0]
    encoded = msgspec.json.encode(fields)
    known = base.decode(_decoder(shape.fields), encoded)
    return msgspec.json.encode(fields | msgspec.to_builtins(known))


def _is_json(headers: list[Header]) -> bool:
    kind = next((value for name, value in headers if name == b"content-type"), b"")
    return kind.partition(b";")[0].strip().lower() == b"application/json"


@cache
def _decoder(fields: type[msgspec.Struct]) -> "msgspec.json.Decoder[Any]":
    return msgspec.json.Decoder(fields, strict=False)
