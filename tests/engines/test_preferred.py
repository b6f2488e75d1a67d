"""The first engine that can honour a request answers it."""

import asyncio
import functools
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, ParamSpec

import pytest

from homeport.backends.engines.preferred import Preferred
from homeport.backends.text import (
    Constraint,
    JsonObject,
    ModelCard,
    Occupancy,
    Piece,
    Sampling,
    TextEngine,
    TokenLogprob,
)
from homeport.errors import ModelNotReady, UnsupportedParameter

P = ParamSpec("P")
PLAIN = Sampling(max_tokens=5)
SEEDED = Sampling(max_tokens=5, seed=1)


def alone(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Each test in a loop of its own."""

    @functools.wraps(test)
    def run(*arguments: P.args, **named: P.kwargs) -> None:
        asyncio.run(test(*arguments, **named))

    return run


class Fake:
    """Says its own name. refused: what it cannot honour. gate: loading waits for it."""

    def __init__(
        self, name: str, *, refused: Sequence[str] = (), broken: bool = False, gate: asyncio.Event | None = None
    ) -> None:
        self.name = name
        self.refused = refused
        self.broken = broken
        self.gate = gate
        self.starts = 0
        self.closes = 0
        self.left = 0
        self.asked = asyncio.Event()

    @property
    def card(self) -> ModelCard:
        return ModelCard(context_length=100, identity=f"{self.name} of the day")

    async def start(self) -> None:
        self.starts += 1
        self.asked.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.broken:
            raise ModelNotReady("its architecture is unknown")

    async def close(self) -> None:
        self.closes += 1

    def occupancy(self) -> Sequence[Occupancy]:
        return (Occupancy(self.name, 2, 1, 0),)

    def refuses(self, sampling: Sampling, constraint: Constraint | None) -> str | None:
        asked = {"seed": sampling.seed is not None, "response_format": constraint is not None}
        return next((name for name in self.refused if asked[name]), None)

    async def tokenize(self, text: str, *, special: bool) -> list[int]:
        return [len(self.name), len(text)]

    async def detokenize(self, tokens: Sequence[int]) -> str:
        return self.name

    async def generate(
        self, prompt: Sequence[int], sampling: Sampling, constraint: Constraint | None, *, batch: bool = False
    ) -> AsyncGenerator[Piece, None]:
        try:
            yield Piece(self.name)
            yield Piece("", finish="stop", completion_tokens=1)
        finally:
            self.left += 1

    async def score(
        self, prompt: Sequence[int], top_logprobs: int, *, batch: bool = False
    ) -> list[TokenLogprob | None]:
        if self.refused:
            raise UnsupportedParameter("no", param="logprobs")
        return [None, TokenLogprob(self.name, 0.0, b"", ())]


async def said(engine: TextEngine, sampling: Sampling, constraint: Constraint | None = None) -> str:
    async with aclosing(engine.generate([1], sampling, constraint)) as pieces:
        return "".join([piece.text async for piece in pieces])


@alone
async def test_the_first_that_can_answers() -> None:
    quick, able = Fake("quick", refused=["seed", "response_format"]), Fake("able")
    engine = Preferred([quick, able])
    await engine.start()
    assert [await said(engine, PLAIN), await said(engine, SEEDED)] == ["quick", "able"]
    assert await said(engine, PLAIN, JsonObject()) == "able"
    assert engine.refuses(SEEDED, None) is None


@alone
async def test_what_all_refuse_is_refused() -> None:
    engine = Preferred([Fake("quick", refused=["response_format", "seed"]), Fake("other", refused=["seed"])])
    assert engine.refuses(SEEDED, None) == "seed"
    assert engine.refuses(PLAIN, JsonObject()) is None


@alone
async def test_the_second_loads_once_when_it_is_needed_and_not_before() -> None:
    gate = asyncio.Event()
    quick, able = Fake("quick", refused=["seed"]), Fake("able", gate=gate)
    engine = Preferred([quick, able])
    await engine.start()
    assert able.starts == 0
    async with asyncio.TaskGroup() as group:
        leaves = group.create_task(said(engine, SEEDED))
        waits = group.create_task(said(engine, SEEDED))
        await able.asked.wait()
        assert await said(engine, PLAIN) == "quick"  # the others go on
        leaves.cancel()
        gate.set()
        assert await waits == "able"
    assert (able.starts, leaves.cancelled()) == (1, True)


@alone
async def test_a_second_engine_that_fails_is_tried_again() -> None:
    able = Fake("able", broken=True)
    engine = Preferred([Fake("quick", refused=["seed"]), able])
    await engine.start()
    with pytest.raises(ModelNotReady):
        await said(engine, SEEDED)
    able.broken = False
    assert (await said(engine, SEEDED), able.starts) == ("able", 2)


@alone
async def test_a_first_engine_that_cannot_load_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    broken, able = Fake("broken", broken=True), Fake("able")
    engine = Preferred([broken, able])
    with caplog.at_level(logging.WARNING, "homeport"):
        await engine.start()
    assert "broken is not used, but able: its architecture is unknown" in caplog.text
    assert (await said(engine, PLAIN), broken.closes) == ("able", 1)
    assert engine.card.identity == "able of the day"


@alone
async def test_none_can_load() -> None:
    with pytest.raises(ModelNotReady):
        await Preferred([Fake("one", broken=True), Fake("other", broken=True)]).start()


@alone
async def test_the_identity_names_all_that_may_answer() -> None:
    engine = Preferred([Fake("quick"), Fake("able")])
    with pytest.raises(ModelNotReady):
        _ = engine.card
    await engine.start()
    assert engine.card == ModelCard(context_length=100, identity="quick of the day\nable ")


@alone
async def test_tokens_are_the_first_engines_and_scores_of_whoever_can() -> None:
    engine = Preferred([Fake("quick", refused=["seed"]), Fake("able")])
    await engine.start()
    assert (await engine.tokenize("text", special=True), await engine.detokenize([1])) == ([5, 4], "quick")
    scores = await engine.score([1, 2], 0)
    assert scores[1] is not None
    assert scores[1].token == "able"


@alone
async def test_leaving_early_leaves_the_engine_too() -> None:
    quick = Fake("quick")
    engine = Preferred([quick, Fake("able")])
    await engine.start()
    async with aclosing(engine.generate([1], PLAIN, None)) as pieces:
        await anext(pieces)
    assert quick.left == 1


@alone
async def test_close_closes_what_was_loaded() -> None:
    quick, able = Fake("quick", refused=["seed"]), Fake("able")
    engine = Preferred([quick, able])
    await engine.start()
    await engine.close()
    assert (quick.closes, able.closes) == (1, 0)


@alone
async def test_openvino_before_llama_cpp(smollm2_file: Path) -> None:
    pytest.importorskip("openvino_genai")
    from homeport.backends.engines.llama_cpp import LlamaCpp
    from homeport.backends.engines.openvino import OpenVINO

    small = {"context_length": 512, "parallel": 2, "threads": 1}
    engine = Preferred([OpenVINO(smollm2_file, **small), LlamaCpp(smollm2_file, **small)])
    await engine.start()
    try:
        prompt = await engine.tokenize(
            "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n", special=True
        )
        plain = await _answer(engine, prompt, Sampling(max_tokens=20, temperature=0.0))
        seeded = await _answer(engine, prompt, Sampling(max_tokens=20, temperature=0.0, seed=1))
        assert "Paris" in plain
        assert "Paris" in seeded
        assert (await _answer(engine, prompt, Sampling(max_tokens=60, temperature=0.0), JsonObject())).startswith("{")
        assert "OpenVINO" in engine.card.identity
        assert "llama_cpp 2" in engine.card.identity
    finally:
        await engine.close()


async def _answer(
    engine: TextEngine, prompt: Sequence[int], sampling: Sampling, constraint: Constraint | None = None
) -> str:
    async with aclosing(engine.generate(prompt, sampling, constraint)) as pieces:
        return "".join([piece.text async for piece in pieces])
