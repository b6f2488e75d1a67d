"""Anything that speaks OpenAI's API: OpenAI, vLLM, Ollama, another Homeport."""

from collections.abc import AsyncGenerator, Coroutine
from contextlib import closing
from typing import Any

import msgspec

from homeport.backends.capabilities import Answer, Call, Frame, Header
from homeport.backends.upstreams import failures, relay
from homeport.backends.upstreams.client import Client, Response
from homeport.backends.upstreams.connection import Deadlines
from homeport.backends.upstreams.errors import TransferError
from homeport.backends.upstreams.events import Events
from homeport.settings import Upstream

_LARGEST_LIST = 4 * 2**20


class _Listed(msgspec.Struct):
    id: str


class _List(msgspec.Struct):
    data: list[_Listed]


class OpenAIUpstream:
    """Chat and Complete by asking another server. Raises ValueError for an address that cannot be used."""

    def __init__(self, name: str, settings: Upstream) -> None:
        self.name = name
        self._settings = settings
        self._client = Client(
            settings.base_url,
            headers=self._credentials(settings),
            ca_file=settings.ca_file,
            connections=settings.connections,
            deadlines=Deadlines(
                connect=settings.connect_seconds,
                first_byte=settings.first_byte_seconds,
                idle=settings.idle_seconds,
                total=settings.total_seconds,
            ),
        )

    def _credentials(self, settings: Upstream) -> list[Header]:
        headers: list[Header] = []
        if settings.api_key:
            headers.append((b"authorization", b"Bearer " + settings.api_key.encode()))
        if settings.organization:
            headers.append((b"openai-organization", settings.organization.encode()))
        if settings.project:
            headers.append((b"openai-project", settings.project.encode()))
        return headers

    async def start(self) -> None:
        """Nothing is asked of the network before somebody asks for an answer."""

    async def close(self) -> None:
        await self._client.close()

    def chat(self, call: Call) -> Coroutine[Any, Any, Answer]:
        return self._answer("/chat/completions", call)

    def complete(self, call: Call) -> Coroutine[Any, Any, Answer]:
        return self._answer("/completions", call)

    def _path(self, path: str, call: Call) -> str:
        return path

    async def models(self) -> list[str]:
        """What the upstream lists. Raises HomeportError."""
        try:
            with closing(await self._client.request("GET", "/models")) as response:
                if response.status != 200:
                    raise await failures.refusal(response, self.name)
                listed = msgspec.json.decode(await response.read(_LARGEST_LIST), type=_List)
        except TransferError as error:
            raise failures.failure(error, self.name) from None
        except (msgspec.DecodeError, RecursionError):
            raise failures.malformed(self.name) from None
        return [one.id for one in listed.data]

    async def _answer(self, path: str, call: Call) -> Answer:
        ask_usage = self._settings.usage_in_streams
        body = relay.body_for(call, ask_usage=ask_usage)
        try:
            response = await self._client.request("POST", self._path(path, call), relay.passed_on(call), body)
        except TransferError as error:
            raise failures.failure(error, self.name) from None
        if call.stream:
            events = Events(self.name, hide_usage=ask_usage and not call.include_usage)
            return await Answer.begun(self._frames(response, events), stream=True)
        try:
            if response.status != 200:
                raise await failures.refusal(response, self.name)
            return Answer(relay.whole(await response.read(relay.LARGEST_ANSWER), self.name))
        except TransferError as error:
            raise failures.failure(error, self.name) from None
        finally:
            response.close()

    async def _frames(self, response: Response, events: Events) -> AsyncGenerator[Frame, None]:
        try:
            with closing(response):
                if response.status != 200:
                    raise await failures.refusal(response, self.name)
                if not response.header(b"content-type").lower().startswith(b"text/event-stream"):
                    raise failures.malformed(self.name)
                while not events.over and (chunk := await response.chunk()):
                    frame = events.feed(chunk)
                    if frame is not None:
                        yield frame
                events.end()
                await response.settle()
        except TransferError as error:
            raise failures.failure(error, self.name) from None
