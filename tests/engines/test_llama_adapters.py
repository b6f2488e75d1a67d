"""Fine-tuned models over one model: each answers as it does alone, whatever runs beside it, and however many come and
go. The model is a tiny one of 32-bit numbers, whose likeliest tokens no rounding changes."""

import asyncio
import itertools
import logging
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from homeport import process
from homeport.backends.engines.llama_cpp import LlamaCpp
from homeport.backends.engines.llama_server import LlamaServer
from homeport.backends.engines.preferred import Preferred
from homeport.backends.generation import LocalText
from homeport.backends.text import Constraint, JsonSchema, Piece, Sampling, TextEngine
from homeport.errors import HomeportError, ModelNotReady, Unavailable
from tests import adapters
from tests.engines.test_preferred import Fake
from tests.llama import Llama, Said, unstarted
from tests.local.running import call_of
from tests.training.text import tiny

pytest.importorskip("xllamacpp")

PROMPT = list(b"It was a dark and stormy night, and")
SAMPLING = Sampling(16, temperature=0.0, logit_bias=adapters.ASCII)
Test = Callable[[LlamaCpp], Coroutine[Any, Any, None]]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("tiny") / "tiny.gguf", spells=True)


@pytest.fixture(scope="module")
def some(base: Path) -> Sequence[Path]:
    """Eight, each another."""
    return [adapters.write(base.with_name(f"{number}.gguf"), base, seed=number) for number in range(8)]


@pytest.fixture(scope="module")
def alone(base: Path, some: Sequence[Path]) -> "dict[Path | None, str]":
    """What each says when nobody else is there. None: the base."""

    async def ask(adapter: Path | None) -> str:
        engine = small(base)
        await engine.start()
        try:
            return await text(engine, adapter)
        finally:
            await engine.close()

    return {adapter: asyncio.run(ask(adapter)) for adapter in (None, *some)}


def small(base: Path, **settings: Any) -> LlamaCpp:
    return unstarted(base, **{"context_length": 256, **settings})


def run(base: Path, test: Test, **settings: Any) -> None:
    """With an engine that is started, in a loop of its own."""

    async def life() -> None:
        engine = small(base, **settings)
        try:
            await engine.start()
            await test(engine)
        finally:
            await engine.close()

    asyncio.run(life())


async def over(engine: LlamaCpp, adapter: Path | None) -> TextEngine:
    return engine if adapter is None else await engine.adapted(adapter)


async def said(
    engine: LlamaCpp, adapter: Path | None, sampling: Sampling = SAMPLING, constraint: Constraint | None = None
) -> Said:
    view = await over(engine, adapter)
    async with aclosing(view.generate(PROMPT, sampling, constraint)) as generation:
        pieces = [piece async for piece in generation]
    return Said("".join([piece.text for piece in pieces]), pieces[-1].finish, pieces)


async def text(engine: LlamaCpp, adapter: Path | None) -> str:
    return (await said(engine, adapter)).text


class Counted:
    """made: how many servers were begun. there: those that are not closed; most: at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made = self.most = 0
        self._there = set[LlamaServer]()
        make, close = LlamaServer.__init__, LlamaServer.close

        def made(server: LlamaServer, *arguments: Any) -> None:
            self.made += 1
            self._there.add(server)
            self.most = max(self.most, self.there)
            make(server, *arguments)

        def ended(server: LlamaServer) -> None:
            close(server)
            self._there.discard(server)

        monkeypatch.setattr(LlamaServer, "__init__", made)
        monkeypatch.setattr(LlamaServer, "close", ended)

    @property
    def there(self) -> int:
        return len(self._there)


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


def test_each_changes_what_is_said(alone: "dict[Path | None, str]") -> None:
    """Or the other tests here would show nothing."""
    assert len(set(alone.values())) == len(alone) == 9


def test_mixed_in_one_batch_each_answers_as_it_does_alone(
    base: Path, some: Sequence[Path], alone: "dict[Path | None, str]", servers: Counted
) -> None:
    """48 requests, a half of them for the base, all at once and again in the places that the others have left."""

    async def test(engine: LlamaCpp) -> None:
        mixed: list[Path | None] = [adapter for one in some for adapter in (one, None)] * 3
        answers = await asyncio.gather(*[text(engine, adapter) for adapter in mixed])
        wrong = [number for number, adapter in enumerate(mixed) if answers[number] != alone[adapter]]
        assert not wrong

    run(base, test, parallel=6)
    assert servers.made <= 3, "those that come together share a change"
    assert (servers.most, servers.there) == (2, 0)


def test_a_place_that_a_tuned_model_has_left_is_no_danger_to_the_base(
    base: Path, some: Sequence[Path], alone: "dict[Path | None, str]"
) -> None:
    """One place: every request finds the cache of the one before, whose prompt was the same."""

    async def test(engine: LlamaCpp) -> None:
        for adapter in (some[0], None, some[1], some[1], None, None, some[0], some[1], None):
            assert await text(engine, adapter) == alone[adapter], adapter

    run(base, test, parallel=1)


def test_a_change_loses_nothing_that_runs(
    base: Path,
    some: Sequence[Path],
    alone: "dict[Path | None, str]",
    servers: Counted,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stream that has begun goes on beside the change, on the server that it was begun on."""
    long = Sampling(100, temperature=0.0, logit_bias=adapters.ASCII)
    gate, complete = threading.Event(), LlamaServer.complete

    def gated(server: LlamaServer, request: dict[str, Any], take: Callable[[dict[str, Any]], bool]) -> None:
        def waiting(chunk: dict[str, Any]) -> bool:
            left = take(chunk)
            gate.wait(60)
            return left

        complete(server, request, waiting if request["max_tokens"] == long.max_tokens else take)

    monkeypatch.setattr(LlamaServer, "complete", gated)
    counted = itertools.count(100)
    monkeypatch.setattr(process, "resident", lambda: next(counted))  # a server takes 1

    def memory(engine: LlamaCpp) -> int | None:
        return engine.occupancy()[0].memory_bytes

    async def test(engine: LlamaCpp) -> None:
        assert memory(engine) == 1
        gate.set()
        whole = (await said(engine, None, long)).text
        gate.clear()
        generation = engine.generate(PROMPT, long, None)
        pieces: list[Piece] = [await anext(generation)]
        assert await text(engine, some[0]) == alone[some[0]]
        assert servers.there == memory(engine) == 2
        third = asyncio.ensure_future(text(engine, some[1]))
        assert [await text(engine, adapter) for adapter in (None, some[0])] == [alone[None], alone[some[0]]]
        assert not third.done(), "it waits: there are never three"
        gate.set()
        pieces += [piece async for piece in generation]
        assert "".join([piece.text for piece in pieces]) == whole
        assert await third == alone[some[1]]
        async with asyncio.timeout(30):
            while memory(engine) != 1:  # noqa: ASYNC110 (the last one is being closed)
                await asyncio.sleep(0.01)

    run(base, test)
    assert (servers.most, servers.there) == (2, 0)


def test_beyond_the_most_the_least_lately_used_leaves(
    base: Path, some: Sequence[Path], alone: "dict[Path | None, str]", servers: Counted
) -> None:
    async def test(engine: LlamaCpp) -> None:
        for adapter in (some[0], some[1], some[0], some[2]):
            assert await text(engine, adapter) == alone[adapter]
        assert {*engine._servers.loaded} == {some[0], some[2]}
        made = servers.made
        await asyncio.gather(*[text(engine, adapter) for adapter in (some[0], some[2], None)])
        assert servers.made == made
        answers = await asyncio.gather(*[text(engine, adapter) for adapter in some])
        assert answers == [alone[adapter] for adapter in some]
        assert len(engine._servers.loaded) == 2

    run(base, test, adapters=2)
    assert servers.there == 0


def damaged(base: Path, how: str, whole: Path) -> Path:
    path = base.with_name(f"{how}.gguf")
    match how:
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("a model, honestly")
        case "model":
            path.write_bytes(base.read_bytes())
        case "cut":
            path.write_bytes(whole.read_bytes()[:-2000])
        case "head":
            path.write_bytes(whole.read_bytes()[:200])
        case "foreign":
            adapters.write(path, base, seed=1, architecture="qwen2")
        case "shaped":  # for a model of the same architecture, and of other measures
            other = tiny.write(base.with_name("other.gguf"), header={"feed_forward_length": 64})
            adapters.write(path, other, seed=1)
        case "missing":
            pass
    return path


@pytest.mark.parametrize("how", ["empty", "text", "model", "cut", "head", "foreign", "shaped", "missing"])
def test_one_that_cannot_be_loaded_is_an_error_for_its_own_requests(
    base: Path,
    some: Sequence[Path],
    alone: "dict[Path | None, str]",
    servers: Counted,
    how: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad = damaged(base, how, some[0])

    async def test(engine: LlamaCpp) -> None:
        assert await text(engine, some[0]) == alone[some[0]]
        answers = await asyncio.gather(
            *[text(engine, adapter) for adapter in (bad, some[1], None, some[0], bad)], return_exceptions=True
        )
        for answer in (answers[0], answers[-1]):
            assert isinstance(answer, ModelNotReady), answer
            assert "damaged" in answer.message
            assert ("x-should-retry", "false") in answer.headers
        assert answers[1:4] == [alone[some[1]], alone[None], alone[some[0]]]
        made = servers.made
        with pytest.raises(ModelNotReady):
            await text(engine, bad)
        assert servers.made == made, "it is not tried again for every request"

    with caplog.at_level(logging.ERROR):
        run(base, test)
    assert bad.name in caplog.text
    assert servers.there == 0


def test_a_file_that_has_gone_is_no_danger_to_the_next_change(
    base: Path, some: Sequence[Path], alone: "dict[Path | None, str]"
) -> None:
    """Its model was deleted."""

    async def test(engine: LlamaCpp) -> None:
        gone = adapters.write(base.with_name("gone.gguf"), base, seed=99)
        await text(engine, gone)
        gone.unlink()
        assert await text(engine, some[0]) == alone[some[0]]
        assert engine._servers.loaded == (some[0],)

    run(base, test)


def test_who_leaves_while_it_is_loaded_leaves_nothing_behind(
    base: Path, some: Sequence[Path], alone: "dict[Path | None, str]", servers: Counted
) -> None:
    async def test(engine: LlamaCpp) -> None:
        leaving = asyncio.ensure_future(text(engine, some[0]))
        staying = asyncio.ensure_future(text(engine, some[0]))
        await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert await staying == alone[some[0]]
        while engine.occupancy()[0].busy:  # noqa: ASYNC110 (nothing tells a test of this moment)
            await asyncio.sleep(0.01)

    run(base, test)
    assert servers.there == 0


def test_closing_during_a_change(base: Path, some: Sequence[Path], servers: Counted) -> None:
    async def life() -> BaseException | str:
        engine = small(base)
        await engine.start()
        waiting = asyncio.ensure_future(text(engine, some[0]))
        while not engine._servers._wanted:  # noqa: ASYNC110 (nothing tells a test of this moment)
            await asyncio.sleep(0)
        await engine.close()
        await engine.close()
        (answer,) = await asyncio.gather(waiting, return_exceptions=True)
        return answer

    assert isinstance(asyncio.run(life()), Unavailable)
    assert servers.there == 0


# What a request may ask for


def test_all_that_the_base_can_the_tuned_model_can(base: Path, some: Sequence[Path]) -> None:
    """Log-probabilities, scores, a grammar, lines of batches: each with the adapter, so none as the base says it."""

    async def test(engine: LlamaCpp) -> None:
        tuned = await engine.adapted(some[0])
        told = Sampling(4, temperature=0.0, logit_bias=adapters.ASCII, top_logprobs=2)
        first, second = [(await said(engine, adapter, told)).logprobs for adapter in (some[0], None)]
        assert [one.logprob for one in first] != [one.logprob for one in second]
        scored, plain = await tuned.score(PROMPT[:6], 1), await engine.score(PROMPT[:6], 1)
        assert len(scored) == len(plain) == 6
        assert scored[1:] != plain[1:]
        lines = [piece async for piece in tuned.generate(PROMPT, SAMPLING, None, batch=True)]
        assert "".join([piece.text for piece in lines]) == await text(engine, some[0])
        number = JsonSchema({"type": "integer", "minimum": 10, "maximum": 99})
        held = await said(engine, some[0], Sampling(16, temperature=0.0), number)
        assert held.text.strip().isdigit()

    run(base, test)


def test_the_fingerprint_is_another_one(base: Path, some: Sequence[Path]) -> None:
    async def test(engine: LlamaCpp) -> None:
        cards = [(await over(engine, adapter)).card for adapter in (None, *some)]
        assert len({card.identity for card in cards}) == 9
        assert {card.context_length for card in cards} == {256}

    run(base, test)


@pytest.fixture(scope="module")
def local(base: Path) -> Iterator[Llama]:
    made = Llama(small(base))
    yield made
    made.close()


def test_it_is_asked_as_the_gateway_asks(local: Llama, some: Sequence[Path]) -> None:
    async def answered(adapter: Path | None) -> bytes:
        call = call_of({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2, "model": "m"})
        call.adapter = adapter
        return (await local.text.chat(call)).first.data

    base, tuned = local.run(answered(None)), local.run(answered(some[0]))
    assert base.partition(b"system_fingerprint")[2] != tuned.partition(b"system_fingerprint")[2]


# Engines that stand in a row, or cannot


def test_of_several_engines_the_one_that_can_is_loaded_for_it(
    base: Path, some: Sequence[Path], alone: "dict[Path | None, str]"
) -> None:
    async def life() -> None:
        able = small(base)
        engine = Preferred([Fake("quick"), able])
        try:
            await engine.start()
            assert able._adapters is None
            tuned = await engine.adapted(some[0])
            async with aclosing(tuned.generate(PROMPT, SAMPLING, None)) as generation:
                assert "".join([piece.text async for piece in generation]) == alone[some[0]]
        finally:
            await engine.close()

    asyncio.run(life())


@pytest.mark.parametrize("engine", [Fake("quick"), Preferred([Fake("quick"), Fake("other")])], ids=["one", "several"])
def test_an_engine_that_cannot_says_what_can(engine: TextEngine, tmp_path: Path) -> None:
    async def ask() -> None:
        text = LocalText("m", engine)
        await text.start()
        call = call_of({"messages": [{"role": "user", "content": "hi"}]})
        call.adapter = tmp_path / "x.gguf"
        await text.chat(call)

    with pytest.raises(HomeportError, match="'quick' does not serve fine-tuned models; 'llama_cpp' does") as caught:
        asyncio.run(ask())
    assert caught.value.status == 503
    assert ("x-should-retry", "false") in caught.value.headers
