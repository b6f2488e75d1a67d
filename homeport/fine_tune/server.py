"""The requests that `homeport fine-tune` asks of a server."""

from collections.abc import AsyncGenerator, Callable
from contextlib import closing
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from homeport import clock
from homeport.backends.upstreams.client import Client, Response
from homeport.backends.upstreams.connection import Deadlines
from homeport.backends.upstreams.errors import TransferError

Object = dict[str, Any]

#: Seconds. A stream that is silent for longer than `idle` is asked for again: servers send comments meanwhile.
_DEADLINES = Deadlines(connect=10.0, first_byte=30.0, idle=120.0, total=30 * 86_400.0)
#: Between two looks at a server that has no stream of events.
POLL_SECONDS = 2.0
#: Events that are asked for at once.
_PAGE = 100
_LARGEST = 16 * 2**20
#: Bytes of one event.
_LONGEST = 2**20


class Away(Exception):
    """The server cannot be reached, or cannot answer: it may later."""


class Refused(Exception):
    """The server refuses: to ask again does not help."""


class Server:
    def __init__(self, base_url: str, key: str | None) -> None:
        """Raises ValueError: it is no address."""
        headers = [(b"authorization", b"Bearer " + key.encode())] if key else []
        self._client = Client(base_url, headers=headers, connections=4, deadlines=_DEADLINES)

    async def close(self) -> None:
        await self._client.close()

    async def job(self, job_id: str) -> Object:
        return await self._get(_job(job_id))

    async def jobs(self, limit: int) -> list[Object]:
        """The newest first."""
        return _listed(await self._get(f"/fine_tuning/jobs?{urlencode({'limit': limit})}"))

    async def events(self, job_id: str, over: Callable[[], bool]) -> AsyncGenerator[Object, None]:
        """Those that have been told, the oldest first, and then each as it is told, until the job has ended: which a
        server that streams says itself, and `over` of another. Raises Away, Refused."""
        try:
            response = await self._ask(f"{_job(job_id)}/events?stream=true")
            with closing(response):
                if response.header(b"content-type").startswith(b"text/event-stream"):
                    async for event in _streamed(response):
                        yield event
                    return
        except TransferError as error:
            raise Away(str(error)) from None
        seen: str | None = None
        while True:
            last = over()
            for event in await self._told_since(job_id, seen):
                seen = event["id"]
                yield event
            if last:
                return
            await clock.sleep(POLL_SECONDS)

    async def _told_since(self, job_id: str, seen: str | None) -> list[Object]:
        """The oldest first."""
        found: list[Object] = []
        after: dict[str, str] = {}
        while True:
            page = await self._get(f"{_job(job_id)}/events?{urlencode({'limit': _PAGE, **after})}")
            events = _listed(page)
            for event in events:
                if event["id"] == seen:
                    return found[::-1]
                found.append(event)
            if not events or page.get("has_more") is not True:
                return found[::-1]
            after = {"after": events[-1]["id"]}

    async def _get(self, path: str) -> Object:
        try:
            with closing(await self._ask(path)) as response:
                return msgspec.json.decode(await response.read(_LARGEST), type=Object)
        except TransferError as error:
            raise Away(str(error)) from None
        except (msgspec.DecodeError, RecursionError):
            raise Refused("That address answers with something else than OpenAI's API: check --base-url.") from None

    async def _ask(self, path: str) -> Response:
        """An answer of success. Raises TransferError, too."""
        response = await self._client.request("GET", path)
        if response.status == 200:
            return response
        with closing(response):
            words = _words(await response.read(_LARGEST)) or f"The server answers with status {response.status}."
        if response.status >= 500 or response.status in (408, 429):
            raise Away(words)
        raise Refused(words)


def _job(job_id: str) -> str:
    return f"/fine_tuning/jobs/{quote(job_id, safe='')}"


def _listed(page: Object) -> list[Object]:
    data = page.get("data")
    if not isinstance(data, list) or not all(isinstance(one, dict) and isinstance(one.get("id"), str) for one in data):
        raise Refused("That address answers with something else than a list of OpenAI's API: check --base-url.")
    return data


def _words(body: bytes) -> str | None:
    try:
        error = msgspec.json.decode(body, type=Object).get("error")
    except (msgspec.DecodeError, RecursionError):
        return None
    message = error.get("message") if isinstance(error, dict) else None
    return message if isinstance(message, str) else None


async def _streamed(response: Response) -> AsyncGenerator[Object, None]:
    """Its `data:` lines, until `[DONE]`, or the end. Raises TransferError, Away."""
    rest = b""
    while chunk := await response.chunk():
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _LONGEST:
            raise Away("The server sends an event without an end.")
        for line in lines:
            name, _, value = line.rstrip(b"\r").partition(b":")
            if name != b"data":
                continue
            if value.strip() == b"[DONE]":
                return
            try:
                event = msgspec.json.decode(value, type=Object)
            except (msgspec.DecodeError, RecursionError):
                raise Away("The server sends something that is no event.") from None
            if isinstance(event.get("id"), str):
                yield event
