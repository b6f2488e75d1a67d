"""Pictures by address: the step before the cache. Where the client is to have addresses, and an answer has bytes, each
picture is stored (store/images.py) and `b64_json` becomes `url`.

So it is the same whoever draws: a model of this machine, or an upstream that gives bytes whatever it is asked for. The
cache behind this step keeps bytes, and a hit gets addresses of its own. An address that an upstream gave is passed on.
"""

import asyncio
import re
from binascii import Error, a2b_base64
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec.structs import replace

from homeport.backends.capabilities import Answer, Call
from homeport.backends.upstreams.failures import malformed
from homeport.errors import SettingsError
from homeport.gateway.pipeline import Step
from homeport.settings import Server
from homeport.store.staged import Staged
from homeport.wire.images import by_url, kind_of

if TYPE_CHECKING:
    from homeport.gateway.ledger import Entry
    from homeport.store.images import Images, MediaType

#: Under which they are served (api/images.py).
PATH = "/v1/homeport/images/"
#: Seconds that the addresses in a batch's answers hold beside the others': nobody looks before all of it is done.
BATCH_SECONDS = 86_400
#: Characters of base64 that are decoded at once, in a thread: a multiple of four.
_PIECE = 2**19
_LONGEST_HOST = 255
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
_HOST_HEADER = re.compile(_HOST)
#: Its path may be what a proxy takes away before it asks us.
_PUBLIC_URL = re.compile(rf"https?://{_HOST}(?:/(?!\.\.?(?:/|$))[A-Za-z0-9._~-]+)*/?")
_ANY = ("0.0.0.0", "::")

_map = msgspec.json.Decoder(dict[str, msgspec.Raw])
_list = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


class Beginnings:
    """How addresses begin: by the settings, by the Host that a request was sent to, or, where there was none, by where
    this server listens."""

    def __init__(self, server: Server) -> None:
        """Raises SettingsError."""
        public = server.public_url
        if public is not None and not _PUBLIC_URL.fullmatch(public):
            raise SettingsError(
                f"server.public_url is {public!r}: write it as `https://ai.example.com`, with a port or a path behind "
                "it where there is one, and nothing else."
            )
        self._public = None if public is None else public.rstrip("/")
        tls = server.tls_cert is not None
        host = "localhost" if server.host in _ANY else f"[{server.host}]" if ":" in server.host else server.host
        self._scheme = "https" if tls or server.behind_tls_proxy else "http"
        self._own = f"{'https' if tls else 'http'}://{host}:{server.port}"

    def of(self, call: Call) -> str:
        """Without a slash at the end."""
        if self._public is not None:
            return self._public
        host = call.host.decode("latin-1")
        if len(host) <= _LONGEST_HOST and _HOST_HEADER.fullmatch(host):
            return f"{self._scheme}://{host}"
        return self._own


class ImageAddresses:
    """A step of the straight line. images: once they are built."""

    images: "Images"

    def __init__(self, ask: Step, beginnings: Beginnings) -> None:
        """ask: the next step."""
        self._ask = ask
        self._beginnings = beginnings

    def answer(self, entry: "Entry") -> Awaitable[Answer]:
        """Who does not use it does not pay for it."""
        call = entry.call
        if not entry.endpoint.draws or call.stream or not by_url(call.name, call.fields):
            return self._ask(entry)
        return self._answer(entry)

    async def _answer(self, entry: "Entry") -> Answer:
        """Raises what the next step does; StorageFull, Unavailable."""
        frame = (await self._ask(entry)).first
        opened = await asyncio.to_thread(_opened, frame.data)
        if opened is None:
            return Answer(frame)
        entry.observe(frame)  # they are made and paid for, whatever becomes of their addresses
        await self._store(entry, opened)
        return Answer(replace(frame, data=opened.closed()))

    async def _store(self, entry: "Entry", opened: "_Opened") -> None:
        from homeport.store.images import Made  # with it comes SQLAlchemy: app.py

        call = entry.call
        async with AsyncExitStack() as files:
            made: list[Made] = []
            for item in opened.items:
                staged = await files.enter_async_context(self.images.blobs.staged())
                media_type = await _decoded(item.pop("b64_json"), staged)
                if media_type is None:
                    raise malformed(entry.target.name if entry.target is not None else call.name)
                made.append(Made(staged, media_type))
            more = BATCH_SECONDS if call.batch else 0
            names = await self.images.keep(entry.principal.project, made, more_seconds=more)
        beginning = self._beginnings.of(call) + PATH
        for item, name in zip(opened.items, names, strict=True):
            item["url"] = msgspec.Raw(msgspec.json.encode(beginning + name))


class _Opened(NamedTuple):
    """An answer, decoded no deeper than pictures stand. items: those of `all` that have bytes."""

    members: dict[str, Any]
    all: list[dict[str, msgspec.Raw]]
    items: list[dict[str, msgspec.Raw]]

    def closed(self) -> bytes:
        return msgspec.json.encode({**self.members, "data": self.all})


def _opened(answer: bytes) -> _Opened | None:
    """None: there is nothing to store. What answers has been looked at: backends/upstreams/pictures.py."""
    members = _map.decode(answer)
    found = _list.decode(members.get("data", b"[]"))
    items = [one for one in found if bytes(memoryview(one.get("b64_json", b"null"))[:1]) == b'"']
    return _Opened(members, found, items) if items else None


async def _decoded(encoded: msgspec.Raw, staged: Staged) -> "MediaType | None":
    """What the picture is, once it is written. None: it is none."""
    text = msgspec.json.decode(encoded, type=str)
    media_type: MediaType | None = None
    try:
        for place in range(0, len(text), _PIECE):
            piece = await asyncio.to_thread(a2b_base64, text[place : place + _PIECE], strict_mode=True)
            if not place:
                media_type = _MEDIA_TYPES.get(kind_of(piece) or "")
                if media_type is None:
                    return None
            await staged.write(piece)
    except Error:
        return None
    return media_type


_MEDIA_TYPES: "dict[str, MediaType]" = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
