"""A model that another process holds answers, counts and refuses as one of this process does."""

import asyncio
import json
import re
import socket
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from homeport import app
from homeport.api import engine_room, server
from homeport.api.rendering import openai_object, status_of
from homeport.backends.capabilities import Answer, Call
from homeport.backends.engine_room import EngineRoom, Lent
from homeport.backends.engines.echo import Echo
from homeport.backends.engines.echo_moderator import EchoModerator
from homeport.backends.engines.echo_vectors import EchoVectors
from homeport.backends.engines.llama_cpp import LlamaCpp
from homeport.backends.generation import LocalText
from homeport.backends.held import Held
from homeport.backends.local.embeddings import LocalEmbeddings
from homeport.backends.local.moderations import LocalModerations
from homeport.backends.text import Constraint, Piece, Sampling
from homeport.errors import HomeportError, ModelNotReady
from homeport.gateway.endpoints import CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS, Endpoint
from homeport.gateway.tuned import Adapted
from homeport.settings import Server
from homeport.wire.envelope import open_envelope
from tests import adapters
from tests.fake_upstream import STREAM_HEAD, chunked, event, until, whole
from tests.training.text import tiny

LARGEST_BODY = 2**20
TUNED = "ft:tiny:homeport::12345678"
HELLO = [{"role": "user", "content": 'hello brave "usage":null world'}]
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
Work = Callable[[EngineRoom], Awaitable[None]]


class Watched(Echo):
    """generating: how many generations are under way. lines: whether each was for the line of a batch. loaded: set when
    it may be."""

    def __init__(self, *, delay: float = 0.0) -> None:
        super().__init__(delay=delay)
        self.generating = 0
        self.lines: list[bool] = []
        self.loaded = threading.Event()
        self.loaded.set()

    async def start(self) -> None:
        await asyncio.to_thread(self.loaded.wait)

    async def generate(
        self, prompt: Sequence[int], sampling: Sampling, constraint: Constraint | None, *, batch: bool = False
    ) -> AsyncGenerator[Piece, None]:
        self.generating += 1
        self.lines.append(batch)
        try:
            async for piece in super().generate(prompt, sampling, constraint, batch=batch):
                yield piece
        finally:
            self.generating -= 1


def held_echo(engine: Watched) -> Held:
    moderations = LocalModerations("echo", EchoModerator())
    return Held("echo", LocalText("echo", engine), LocalEmbeddings("echo", EchoVectors()), moderations)


@contextmanager
def room(
    path: Path, engine: Watched, *, vectors: bool = True, audio: Any = None, held: Held | None = None
) -> Iterator[Callable[[], None]]:
    """An engine room in a thread, ready if its engine may load. Yields what ends it. audio: a backend that hears.
    held: in place of the engine's model."""
    echo = held_echo(engine) if vectors else Held("echo", LocalText("echo", engine))
    models = {"echo": held or echo}
    if audio is not None:
        models["ears"] = Held("ears", audio)
    http = engine_room.lane(models, largest_body=LARGEST_BODY)
    built = app.Engines(engine_room.application(models), http, models)
    serving = server.server(built.asgi, http, Server(drain_seconds=0.1))
    listens = threading.Event()
    serving.listening = listens.set
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))

    def serve() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serving.serve_while(listener, built))

    thread = threading.Thread(target=serve, name="engine-room")
    thread.start()

    def end() -> None:
        engine.loaded.set()
        serving.should_exit = True
        thread.join(timeout=60)

    assert listens.wait(60)
    try:
        assert not engine.loaded.is_set() or until(lambda: models["echo"].state == "ready", 30.0)
        yield end
    finally:
        end()
    assert not thread.is_alive()


def run(path: Path, work: Work) -> None:
    """As a worker: one event loop with a client of the room."""

    async def whole_life() -> None:
        seen = EngineRoom(path)
        watching = asyncio.ensure_future(seen.watch())
        try:
            await work(seen)
        finally:
            watching.cancel()
            await seen.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(whole_life())


def call_of(endpoint: Endpoint, request: dict[str, Any], name: str = "gpt-4o") -> Call:
    """As the exchange makes one, for an alias of the model."""
    opened = open_envelope(json.dumps({"model": name, **request}).encode())
    return Call(
        endpoint.name,
        "req_1",
        opened.model,
        opened.body,
        stream=opened.stream,
        max_tokens=opened.max_tokens,
        choices=opened.choices,
        include_usage=opened.include_usage,
        model=TUNED if name == TUNED else "echo",
    )


async def said(backend: Any, endpoint: Endpoint, request: dict[str, Any], name: str = "gpt-4o") -> list[Any]:
    """What the client would see, and what the ledger: bytes without ids and seconds, usage, model; or the refusal."""
    try:
        answer: Answer = await endpoint.answer(backend, call_of(endpoint, request, name))
    except HomeportError as error:
        return [status_of(error), openai_object(error)]
    frames = [frame async for frame in answer.frames()]
    data = b"".join([frame.data for frame in frames])
    same = re.sub(rb'"(id|created|obfuscation)":("[^"]*"|\d+)', b"", data)
    return [same, [frame.usage for frame in frames if frame.usage], frames[0].model]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("room") / "s"
    with room(path, Watched()):
        yield path


def test_what_a_held_model_can_a_lent_one_can() -> None:
    """Whoever teaches Held another capability has to teach Lent."""
    public = {name for name in (*vars(Held), *vars(Held(""))) if not name.startswith("_")}
    assert public <= {*dir(Lent), *vars(Lent("", "text", EngineRoom(Path("/s"))))}


@pytest.mark.parametrize("endpoint", [CHAT, COMPLETIONS], ids=lambda one: one.name)
@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"n": 2, "max_tokens": 5},
        {"stream": True},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"stream": True, "stream_options": {"include_usage": False, "include_obfuscation": True}},
        {"stream": True, "n": 2, "logprobs": True},
        {"temperature": 7},
        {"stream": True, "temperature": 7},
        {"max_tokens": 10_000},
        {"unknown": 1},
        {"stop": ["b"], "logprobs": 1},
        {"logit_bias": {"65": 1}},
        {"stream": True, "stream_options": "all"},
        {"response_format": {"type": "json_object"}},
        {"stream": True, "tools": [WEATHER], "tool_choice": "required"},
    ],
    ids=str,
)
def test_the_same_is_said(shared: Path, endpoint: Endpoint, request_: dict[str, Any]) -> None:
    asked = {**({"messages": HELLO} if endpoint is CHAT else {"prompt": HELLO[0]["content"]}), **request_}

    async def work(seen: EngineRoom) -> None:
        here = held_echo(Watched())
        await here.start()
        lent = seen.model("echo", "text")
        await lent.start()
        assert lent.state == "ready"
        assert await said(lent, endpoint, asked) == await said(here, endpoint, asked)

    if request_.get("stream_options") == "all":  # what is refused before any model is asked
        with pytest.raises(HomeportError):
            call_of(endpoint, asked)
    else:
        run(shared, work)


def test_tokens_are_counted_alike(shared: Path) -> None:
    async def work(seen: EngineRoom) -> None:
        here = held_echo(Watched())
        await here.start()
        lent = seen.model("echo", "text")
        for asked in ({}, {"tools": [WEATHER]}):
            call = call_of(CHAT, {"messages": HELLO, **asked})
            assert await lent.count(call) == await here.count(call) > 0
        with pytest.raises(HomeportError):
            await lent.count(call_of(CHAT, {"messages": HELLO, "temperature": 7}))

    run(shared, work)


@pytest.mark.parametrize(
    "request_",
    [
        {"input": "hello brave world"},
        {"input": ["hello", "wörld"], "encoding_format": "base64", "dimensions": 8},
        {"input": [[15339, 1917], [1917]]},
        {"input": [15339, 1917], "model": "echo"},
        {"input": [2**30]},
        {"input": ["x" * 9000]},
        {"input": []},
        {"input": "hello", "unknown": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("model", ["echo", "text-embedding-3-small"])
def test_vectors_are_the_same(shared: Path, model: str, request_: dict[str, Any]) -> None:
    """Tokens are those of the model that the client names."""

    async def work(seen: EngineRoom) -> None:
        here = held_echo(Watched())
        await here.start()
        lent = seen.model("echo", "vectors")
        asked = {"model": model, **request_}
        assert await said(lent, EMBEDDINGS, asked) == await said(here, EMBEDDINGS, asked)
        assert list(await lent.vector("hello brave world")) == list(await here.vector("hello brave world"))

    run(shared, work)


@pytest.mark.parametrize(
    "request_",
    [
        {"input": "some violence"},
        {"input": ["hate", ""]},
        {"input": [{"type": "image_url", "image_url": {"url": "https://example.com/1.png"}}]},
        {"input": []},
    ],
    ids=str,
)
def test_moderations_are_the_same(shared: Path, request_: dict[str, Any]) -> None:
    """But for the count of tokens, which OpenAI's answers do not have."""

    async def work(seen: EngineRoom) -> None:
        here = held_echo(Watched())
        await here.start()
        lent, held = [await said(one, MODERATIONS, request_) for one in (seen.model("echo", "vectors"), here)]
        assert (lent[0], lent[-1]) == (held[0], held[-1])
        assert lent[0] == 400 or b"category_scores" in lent[0]

    run(shared, work)


@pytest.mark.parametrize("batch", [True, False])
def test_a_line_of_a_batch_is_one_in_the_room_too(tmp_path: Path, batch: bool) -> None:
    engine = Watched()

    async def work(seen: EngineRoom) -> None:
        call = call_of(CHAT, {"messages": HELLO})
        call.background = batch
        await seen.model("echo", "text").chat(call)

    with room(tmp_path / "s", engine):
        run(tmp_path / "s", work)
    assert engine.lines == [batch]


def test_a_model_of_another_kind(tmp_path: Path) -> None:
    async def work(seen: EngineRoom) -> None:
        lent, here = seen.model("echo", "text"), Held("echo", LocalText("echo", Echo()))
        await here.start()
        assert await said(lent, EMBEDDINGS, {"input": "hello"}) == await said(here, EMBEDDINGS, {"input": "hello"})
        assert (lent.can("chat"), lent.can("embed")) == (here.can("chat"), here.can("embed")) == (True, False)

    with room(tmp_path / "s", Watched(), vectors=False):
        run(tmp_path / "s", work)


def test_a_body_as_large_as_is_taken(shared: Path) -> None:
    """The context is full long before; it is the model that says so."""
    text = "x" * (LARGEST_BODY - 200)

    async def work(seen: EngineRoom) -> None:
        status, body = await said(seen.model("echo", "text"), CHAT, {"messages": [{"role": "user", "content": text}]})
        assert (status, json.loads(body)["error"]["code"]) == (400, "context_length_exceeded")

    run(shared, work)


@pytest.mark.parametrize("stream", [True, False])
def test_who_leaves_ends_the_work(tmp_path: Path, stream: bool) -> None:
    engine = Watched(delay=0.05)
    request = {"messages": [{"role": "user", "content": "word " * 500}], "stream": stream}

    async def work(seen: EngineRoom) -> None:
        lent = seen.model("echo", "text")
        asking = asyncio.ensure_future(CHAT.answer(lent, call_of(CHAT, request)))
        if stream:
            await (await asking).aclose()
        else:
            assert await asyncio.to_thread(until, lambda: engine.generating == 1, 30.0)
            asking.cancel()
        assert await asyncio.to_thread(until, lambda: engine.generating == 0, 10.0)

    with room(tmp_path / "s", engine):
        run(tmp_path / "s", work)


def test_while_it_is_loaded(tmp_path: Path) -> None:
    engine = Watched()
    engine.loaded.clear()

    async def work(seen: EngineRoom) -> None:
        lent = seen.model("echo", "text")
        await refused(lent)
        starting = asyncio.ensure_future(lent.start())
        await seen.looked()
        await refused(lent)
        assert not starting.done()
        engine.loaded.set()
        await starting
        assert lent.state == "ready"
        assert (await said(lent, CHAT, {"messages": HELLO}))[2] == "echo"

    with room(tmp_path / "s", engine):
        run(tmp_path / "s", work)


def test_when_the_room_has_ended(tmp_path: Path) -> None:
    async def work(seen: EngineRoom) -> None:
        lent = seen.model("echo", "text")
        await lent.start()
        await asyncio.to_thread(end)
        await refused(lent)
        while lent.state == "ready":
            await seen.looked()
        await refused(lent)
        assert lent.state == "loading"

    with room(tmp_path / "s", Watched()) as end:
        run(tmp_path / "s", work)


@pytest.mark.parametrize("stream", [True, False])
def test_when_the_room_ends_in_the_middle(tmp_path: Path, stream: bool) -> None:
    chunk = event({"model": "echo", "choices": [{"index": 0, "delta": {"content": "hello"}}]})
    half = STREAM_HEAD + chunked(chunk) if stream else whole(b"{" * 100)[:-50]

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(half)
        writer.close()

    heard: list[bytes] = []

    async def ask(lent: Lent) -> None:
        answer = await CHAT.answer(lent, call_of(CHAT, {"messages": HELLO, "stream": stream}))
        async for frame in answer.frames():
            heard.append(frame.data)

    async def whole_life() -> None:
        seen = EngineRoom(tmp_path / "s")
        async with await asyncio.start_unix_server(cut, tmp_path / "s"):
            with pytest.raises(ModelNotReady, match="being loaded"):
                await ask(seen.model("echo", "text"))
        await seen.close()

    asyncio.run(whole_life())
    assert heard == ([chunk] if stream else [])


async def refused(lent: Lent) -> None:
    """By this process or by the room: to the client it is the same."""
    with pytest.raises(HomeportError) as caught:
        await CHAT.answer(lent, call_of(CHAT, {"messages": HELLO}))
    assert status_of(caught.value) == 503
    assert json.loads(openai_object(caught.value))["error"]["code"] == "model_not_ready"
    assert ("retry-after", "2") in caught.value.headers


# A fine-tuned model


def test_a_fine_tuned_model_says_the_same(tmp_path: Path) -> None:
    """The room is told which adapter, and answers under the fine-tuned model's name."""
    pytest.importorskip("xllamacpp")
    base = tiny.write(tmp_path / "tiny.gguf", spells=True)
    adapter = adapters.write(tmp_path / "a.gguf", base, seed=1)

    def llama() -> Held:
        engine = LlamaCpp(base, context_length=256, parallel=2, threads=1)
        return Held("echo", LocalText("echo", engine))

    async def file() -> Path:
        return adapter

    bias = {str(token): value for token, value in adapters.ASCII.items()}
    hello = [{"role": "user", "content": "hi"}]
    asked = {"messages": hello, "temperature": 0, "seed": 1, "max_tokens": 8, "logit_bias": bias}

    async def work(seen: EngineRoom) -> None:
        here = llama()
        await here.start()
        lent = seen.model("echo", "text")
        await lent.start()
        for request in (asked, {**asked, "stream": True}, {**asked, "temperature": 9}):
            answers = [await said(Adapted(one, file), CHAT, request, TUNED) for one in (lent, here)]
            assert answers[0] == answers[1]
            if answers[0][0] != 400:
                assert (answers[0][2], TUNED.encode() in answers[0][0]) == (TUNED, True)
                assert answers[0] != await said(lent, CHAT, request)
        await here.close()

    with room(tmp_path / "s", Watched(), held=llama()):
        run(tmp_path / "s", work)
