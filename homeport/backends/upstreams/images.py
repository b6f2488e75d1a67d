"""Images that a chat request gives by URL: fetched here, and put as data URLs into what goes to an upstream.

For upstreams that reach no network, or that would fetch whatever they are told to. So nothing that they could fetch is
left in the messages: another URL than of an image (`video_url`, `file:`) is refused.
"""

import asyncio
import logging
from base64 import b64encode
from typing import Any, NamedTuple, TypeVar

import msgspec

from homeport.backends.capabilities import Call
from homeport.backends.fetcher import Fetched, Fetcher, NotFetched
from homeport.errors import InvalidRequest
from homeport.settings import Fetch
from homeport.wire.base import invalid_json

T = TypeVar("T")

log = logging.getLogger("homeport.upstreams")

#: Different ones of a request.
MOST_IMAGES = 100
#: Of a request.
AT_ONCE = 4
#: Bytes that are encoded at once: a multiple of three, so that there is no padding between two pieces.
PIECE = 3 * 2**16

_list = msgspec.json.Decoder(list[msgspec.Raw])
_map = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)


class _Slot(NamedTuple):
    """Where a URL stands: holder[key]. param: the same place for the client."""

    holder: dict[str, Any]
    key: str
    param: str


class Images:
    def __init__(self, fetcher: Fetcher, settings: Fetch) -> None:
        self._fetcher = fetcher
        self._most = settings.max_total_mb * 2**20

    async def inlined(self, call: Call) -> msgspec.Raw | None:
        """Its messages with the images in them, fetched once however many targets are tried; None where there is
        nothing to look at. Raises InvalidRequest."""
        if call.inlined is None and (b"_url" in call.body or b"\\u" in call.body):
            try:
                messages, slots = _opened(call.fields.get("messages"))
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
                raise invalid_json() from None  # to us; the upstream may find a URL in it all the same
            if messages is None:
                return None
            if len(slots) > MOST_IMAGES:
                raise _refused(f"More than {MOST_IMAGES} images are given by URL. Send fewer.", "messages")
            if slots:
                await self._fill(slots, call.request_id)
            # Also where nothing was fetched: of two members of one name, what was looked at is what goes on.
            call.inlined = msgspec.Raw(msgspec.json.encode(messages))
        return call.inlined

    async def _fill(self, slots: dict[str, list[_Slot]], request_id: str) -> None:
        """slots: by URL."""
        room = asyncio.Semaphore(AT_ONCE)
        left = self._most

        async def fill(url: str, places: list[_Slot]) -> None:
            nonlocal left
            async with room:
                fetched = await self._fetched(url, places[0].param, request_id)
            left -= len(fetched.body) * len(places)  # each of them makes the request larger
            if left < 0:
                raise _refused(
                    f"The images of this request are larger than {self._most // 2**20} MiB together, each counted as "
                    "often as it is given. Send fewer, or smaller ones.",
                    places[0].param,
                )
            image = await _data_url(fetched)
            for place in places:
                place.holder[place.key] = image

        try:
            async with asyncio.TaskGroup() as group:
                for url, places in slots.items():
                    group.create_task(fill(url, places))
        except ExceptionGroup as several:
            raise several.exceptions[0] from None

    async def _fetched(self, url: str, param: str, request_id: str) -> Fetched:
        try:
            return await self._fetcher.get(url)
        except NotFetched as problem:
            if problem.reason:
                log.info("%s: image not fetched from %s", request_id, problem.reason)
            raise _refused(str(problem), param) from None


def _opened(raw: msgspec.Raw | None) -> tuple[Any, dict[str, list[_Slot]]]:
    """The messages, decoded no deeper than URLs can stand, and where they stand. Whatever has another shape than
    OpenAI's stays as it is: the upstream will say what it thinks of it. Raises what decoding raises."""
    slots: dict[str, list[_Slot]] = {}
    messages = _items(raw)
    for at, message in enumerate(messages or ()):
        if not isinstance(message, dict) or (parts := _items(message.get("content"))) is None:
            continue
        message["content"] = parts
        for number, part in enumerate(parts):
            if isinstance(part, dict):
                for name in [name for name in part if name.endswith("_url")]:
                    _open_url(part, name, f"messages[{at}].content[{number}].{name}", slots)
    return raw if messages is None else messages, slots


def _open_url(part: dict[str, Any], name: str, param: str, slots: dict[str, list[_Slot]]) -> None:
    """`{"url": ...}`, or the URL alone, which some upstreams take."""
    holder, key = part, name
    members = _as(_map, part[name])
    if members is not None:
        part[name], holder, key, param = members, members, "url", f"{param}.url"
    url = _as(_text, holder.get(key))
    if url is None or url[:5].lower() == "data:":
        return
    if name != "image_url":
        raise _refused("Only images can be given by URL here. Send it itself, as a data URL.", param)
    slots.setdefault(url, []).append(_Slot(holder, key, param))


def _items(raw: msgspec.Raw | None) -> list[Any] | None:
    """Of an array, objects opened; None for anything else."""
    items = _as(_list, raw)
    return None if items is None else [_as(_map, item) or item for item in items]


def _as(decoder: "msgspec.json.Decoder[T]", raw: msgspec.Raw | None) -> T | None:
    """None for what is absent or of another type."""
    try:
        return None if raw is None else decoder.decode(raw)
    except msgspec.ValidationError:
        return None


async def _data_url(fetched: Fetched) -> msgspec.Raw:
    """As JSON. A piece at a time: everybody else's streams would stand still for the tenths of a second that a large
    image takes."""
    pieces = [b'"data:%b;base64,' % fetched.media_type.encode()]
    for start in range(0, len(fetched.body), PIECE):
        pieces.append(b64encode(fetched.body[start : start + PIECE]))
        await asyncio.sleep(0)
    return msgspec.Raw(b"".join([*pieces, b'"']))


def _refused(message: str, param: str) -> InvalidRequest:
    return InvalidRequest(message, param=param, code="invalid_image_url")
