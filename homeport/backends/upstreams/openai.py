"""Anything that speaks OpenAI's API: OpenAI, vLLM, Ollama, another Homeport."""

import asyncio
import copy
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import closing
from functools import cached_property, partial
from typing import Any, Self
from urllib.parse import urlencode

import msgspec

from homeport.backends.capabilities import Answer, Call, Frame, Header
from homeport.backends.embedded import Embedded
from homeport.backends.lines import places_for_lines
from homeport.backends.upstreams import audio, embeddings, failures, moderations, pictures, relay, rerank
from homeport.backends.upstreams.client import Client, Response
from homeport.backends.upstreams.connection import Deadlines
from homeport.backends.upstreams.doors import Crowd, Doors, State, Tried
from homeport.backends.upstreams.errors import TransferError
from homeport.backends.upstreams.events import Events
from homeport.backends.upstreams.fine_tuning import FineTuning
from homeport.backends.upstreams.forms import Form
from homeport.backends.upstreams.images import Images
from homeport.backends.upstreams.streamed import Streamed
from homeport.errors import HomeportError
from homeport.settings import DEFAULT_BASE_URL, Upstream

_LARGEST_LIST = 4 * 2**20
#: Of `x-ratelimit-remaining-...`, as everybody spells it.
_LIMITS = b"emaining-"
#: Pieces of one embeddings request that are asked for at the same time.
_PIECES_AT_ONCE = 4

#: Response, request, name of the upstream, what a failure is to the client. Raises HomeportError, TransferError.
Read = Callable[[Response, Call, str, Callable[[TransferError], HomeportError]], Awaitable[Answer]]


class _Listed(msgspec.Struct):
    id: str


class _List(msgspec.Struct):
    data: list[_Listed]


class OpenAIUpstream:
    """Every capability by asking another server. Raises ValueError for an address that cannot be used."""

    def __init__(self, name: str, settings: Upstream, images: Images | None = None) -> None:
        """images: fetches those that a request gives by URL; None: the upstream gets the URLs."""
        self.name = name
        self._images = images
        self._settings = settings
        self._doors = Doors(name, self._clients(settings), settings)
        self._calm = self._doors.calm

    def _clients(self, settings: Upstream) -> list[Client]:
        """One a door: every address with every key, or the n-th address with the n-th key. Doors of the same address
        share its connections."""
        keys = _keys(settings)
        addresses = settings.base_urls or (settings.base_url,)
        if settings.base_urls and settings.base_url != DEFAULT_BASE_URL:
            raise ValueError("base_url and base_urls are both set: put all addresses into base_urls")
        if len(set(addresses)) < len(addresses):
            raise ValueError("an address stands in base_urls twice")
        if len(addresses) > 1 and len(keys) not in (1, len(addresses)):
            raise ValueError(
                f"{len(keys)} keys for {len(addresses)} addresses: set one key for all of base_urls, or one for each, "
                "in the same order"
            )
        if len(keys) == 1 or len(addresses) == 1:
            pairs = [(address, key) for address in addresses for key in keys]
        else:
            pairs = list(zip(addresses, keys, strict=True))
        first: dict[str, Client] = {}
        clients: list[Client] = []
        for address, key in pairs:
            headers = self._credentials(settings, key)
            if address not in first:
                clients.append(first.setdefault(address, self._client(settings, address, headers)))
            else:
                clients.append(first[address].sibling(headers))
        return clients

    def _client(self, settings: Upstream, address: str, headers: list[Header]) -> Client:
        return Client(
            address,
            headers=headers,
            ca_file=settings.ca_file,
            connections=settings.connections,
            line=settings.queue,
            line_seconds=settings.queue_seconds,
            deadlines=Deadlines(
                connect=settings.connect_seconds,
                first_byte=settings.first_byte_seconds,
                idle=settings.idle_seconds,
                total=settings.total_seconds,
            ),
        )

    def _credentials(self, settings: Upstream, key: str | None) -> list[Header]:
        """Headers. Raises ValueError."""
        if settings.bearer_token:
            raise ValueError("bearer_token is for kind azure: set api_key")
        headers: list[Header] = []
        if key:
            headers.append((b"authorization", b"Bearer " + key.encode()))
        if settings.organization:
            headers.append((b"openai-organization", settings.organization.encode()))
        if settings.project:
            headers.append((b"openai-project", settings.project.encode()))
        return headers

    @cached_property
    def account(self) -> Self:
        """The same upstream by its first door alone. What a fine-tuning job makes belongs to the account that asked for
        it, so the other credentials of a pool would not find it."""
        if len(self._doors.clients) == 1:
            return self
        other = copy.copy(self)
        other._doors = Doors(self.name, self._doors.clients[:1], self._settings)
        other._calm = other._doors.calm
        return other

    @cached_property
    def fine_tuning(self) -> FineTuning:
        """On the account that `account` answers with."""
        return FineTuning(self.name, self._doors.clients[0], self._stored)

    def _stored(self, path: str, query: Mapping[str, str]) -> str:
        """The path of what is stored there."""
        return f"{path}?{urlencode(query)}" if query else path

    async def start(self) -> None:
        """Nothing is asked of the network before somebody asks for an answer."""

    async def close(self) -> None:
        for client in self._doors.clients:
            await client.close()

    def states(self) -> list[State]:
        """How each door is, for every family of models that was asked for."""
        return self._doors.states()

    def crowd(self) -> Crowd:
        return self._doors.crowd()

    def addresses(self) -> list[str]:
        """Of its doors."""
        return self._doors.addresses()

    def lines_at_once(self, capability: str) -> int | None:
        """As many as get a connection while nobody else wants one."""
        addresses = len(self._settings.base_urls) or 1
        return addresses * places_for_lines(self._settings.connections, alone=True)

    def chat(self, call: Call) -> Coroutine[Any, Any, Answer]:
        return self._answer("/chat/completions", call)

    def complete(self, call: Call) -> Coroutine[Any, Any, Answer]:
        return self._answer("/completions", call)

    def moderate(self, call: Call) -> Coroutine[Any, Any, Answer]:
        return self._answer("/moderations", call, moderations.whole)

    def rerank(self, call: Call) -> Coroutine[Any, Any, Answer]:
        return self._answer("/rerank", call, rerank.whole)

    async def embed(self, call: Call) -> Answer:
        """A list that is longer than the upstream takes goes in pieces."""
        items = embeddings.inputs(call)
        if items is None:
            return await self._answer("/embeddings", call, partial(embeddings.whole, count=None))
        most, tokens = self._settings.embedding_inputs, self._settings.embedding_tokens
        pieces = list(embeddings.pieces(items, most=most, tokens=tokens))
        if len(pieces) == 1:
            return await self._answer("/embeddings", call, partial(embeddings.whole, count=len(items)))
        return Answer(embeddings.joined(await self._piecemeal(call, pieces)))

    def transcribe(self, call: Call) -> Coroutine[Any, Any, Answer]:
        return self._answer("/audio/transcriptions", call, read=audio.heard)

    def translate(self, call: Call) -> Coroutine[Any, Any, Answer]:
        return self._answer("/audio/translations", call, read=audio.heard)

    def speak(self, call: Call) -> Coroutine[Any, Any, Answer]:
        return self._answer("/audio/speech", call, read=audio.spoken)

    def draw(self, call: Call) -> Coroutine[Any, Any, Answer]:
        return self._answer("/images/generations", call, read=pictures.drawn)

    def edit_image(self, call: Call) -> Coroutine[Any, Any, Answer]:
        return self._answer("/images/edits", call, read=pictures.drawn)

    def vary_image(self, call: Call) -> Coroutine[Any, Any, Answer]:
        return self._answer("/images/variations", call, read=pictures.drawn)

    async def _piecemeal(self, call: Call, pieces: Sequence[Sequence[msgspec.Raw]]) -> list[Embedded]:
        """The answer to each. What has been answered is remembered by the call, so that trying it again asks for the
        others alone. After a failure none is begun; those under way may end."""
        if call.pieces is None:
            call.pieces = {}
        known = call.pieces.setdefault((self.name, call.model), {})
        places = asyncio.Semaphore(_PIECES_AT_ONCE)
        problems: list[HomeportError] = []

        async def ask(number: int, piece: Sequence[msgspec.Raw]) -> None:
            async with places:
                if number in known or problems:
                    return
                part = embeddings.asking(call, piece, number)
                try:
                    answer = await self._answer("/embeddings", part, partial(embeddings.whole, count=len(piece)))
                except HomeportError as problem:
                    problems.append(problem)
                else:
                    assert isinstance(answer.first, Embedded)
                    known[number] = answer.first

        async with asyncio.TaskGroup() as group:
            for number, piece in enumerate(pieces):
                group.create_task(ask(number, piece))
        if problems:
            raise problems[0]
        return [known[number] for number in range(len(pieces))]

    def _path(self, path: str, call: Call) -> str:
        return path

    async def models(self) -> list[str]:
        """What the upstream lists: the first of its doors that tells. Raises HomeportError."""
        *others, last = self._doors.clients
        for client in others:
            try:
                return await self._listed(client)
            except HomeportError:
                continue
        return await self._listed(last)

    async def _listed(self, client: Client) -> list[str]:
        try:
            with closing(await client.request("GET", "/models")) as response:
                if response.status != 200:
                    raise await failures.refusal(response, self.name)
                listed = msgspec.json.decode(await response.read(_LARGEST_LIST), type=_List)
        except TransferError as error:
            raise failures.failure(error, self.name) from None
        except (msgspec.DecodeError, RecursionError):
            raise failures.malformed(self.name) from None
        return [one.id for one in listed.data]

    async def _answer(
        self,
        path: str,
        call: Call,
        whole: Callable[[bytes, str], Frame] = relay.whole,
        read: Read | None = None,
    ) -> Answer:
        """whole: what reads a plain answer; read: what reads any, where that is not JSON or chunks of a chat."""
        messages = await self._images.inlined(call) if self._images is not None else None
        doors = self._doors
        way = self._calm.get(call.model) or doors.take(call) or await doors.turn(call)
        ask_usage = self._settings.usage_in_streams and read is None
        without = pictures.without(call)
        form = Form(call, without) if call.attached else None
        body = form or relay.body_for(call, ask_usage=ask_usage, messages=messages, without=without)
        if call.stream:
            call.forget_fields()
        path, headers = self._path(path, call), relay.passed_on(call)
        lines = relay.lines(call, form.content_type) if form is not None else relay.lines(call)
        tried: list[Tried] = []
        while True:
            try:
                response = await way.door.client.request(
                    "POST", path, headers, body, lines=lines, batch=call.background
                )
                if response.mentions(_LIMITS):
                    doors.learn(way, response.headers)
                try:
                    if response.status != 200:
                        raise await failures.refusal(response, self.name)
                    if read is not None:
                        answer = await read(response, call, self.name, self._failure)
                    elif call.stream:
                        answer = await self._streamed(response, hide_usage=ask_usage and not call.include_usage)
                    else:
                        answer = Answer(whole(await response.read(relay.LARGEST_ANSWER), self.name))
                except BaseException:
                    response.close()
                    raise
            except TransferError as error:
                way = doors.another(way, call, self._failure(error), tried)
            except HomeportError as error:
                way = doors.another(way, call, error, tried)
            else:
                tried.clear()  # the tracebacks lead here
                if messages is not None:
                    call.inlined = None  # nobody will try again, and a stream may be long
                if way.shaken:
                    doors.succeeded(way)
                return answer

    def _failure(self, error: TransferError) -> HomeportError:
        return failures.failure(error, self.name, again_unanswered=self._settings.retry_unanswered)

    def _streamed(self, response: Response, *, hide_usage: bool) -> Coroutine[Any, Any, Answer]:
        """Once its first frame is there."""
        if not response.header(b"content-type").lower().startswith(b"text/event-stream"):
            raise failures.malformed(self.name)
        response.forget_head()
        return Streamed(response, Events(self.name, hide_usage=hide_usage), self._failure).begun()


def _keys(settings: Upstream) -> tuple[str | None, ...]:
    """Each once."""
    keys = tuple(dict.fromkeys(key for key in (settings.api_key, *settings.api_keys) if key))
    return keys or (None,)
