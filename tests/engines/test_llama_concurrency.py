"""Many requests at once: one batch, a queue in order, leaving at any time, seeds that repeat."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from homeport.backends.engines.llama_adapters import Lease
from homeport.backends.engines.llama_cpp import LlamaCpp
from homeport.backends.text import Piece, Sampling
from homeport.errors import HomeportError, Unavailable
from tests.llama import Llama, Said, said, unstarted

STORY = "Once upon a time there was"
LONG = Sampling(900, temperature=0.0, ignore_eos=True)


@pytest.fixture(scope="module")
def narrow(smollm2_file: Path) -> Iterator[Llama]:
    """Two places and a queue of two; 4096 tokens of context for prompts that take long."""
    llama = Llama(unstarted(smollm2_file, context_length=4096, parallel=2, queue=2))
    yield llama
    llama.close()


async def until(true: Callable[[], object]) -> None:
    while not true():  # noqa: ASYNC110 (nothing tells a test of these moments)
        await asyncio.sleep(0.01)


async def idle(engine: LlamaCpp, within: float = 20.0) -> float:
    """Seconds until nothing runs any more. The bound is generous: one batch of a prompt on a busy machine."""
    began = time.monotonic()
    while engine._running:
        assert time.monotonic() - began < within, "it goes on though nobody listens"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def begun(engine: LlamaCpp, sampling: Sampling = LONG) -> AsyncGenerator[Piece, None]:
    """A generation that has said its first piece."""
    generation = engine.generate(await engine.tokenize(STORY, special=False), sampling, None)
    await anext(generation)
    return generation


def test_more_requests_than_places_all_come_to_their_end(llama: Llama) -> None:
    async def many() -> list[Said]:
        return await asyncio.gather(
            *[said(llama.engine, f"{number} {STORY}", Sampling(8, ignore_eos=True)) for number in range(9)]
        )

    answers = llama.run(many())
    assert [(one.finish, one.tokens) for one in answers] == [("length", 8)] * 9


def test_requests_are_generated_together(llama: Llama) -> None:
    """The second says something while the first is not at its end."""

    async def together() -> None:
        first = await begun(llama.engine)
        second = await begun(llama.engine)
        assert (await anext(first)).finish is None
        await first.aclose()
        await second.aclose()
        await idle(llama.engine)

    llama.run(together())


def test_a_full_queue_is_told(narrow: Llama) -> None:
    async def crowd() -> None:
        engine = narrow.engine
        running = [await begun(engine), await begun(engine)]
        waiting = [asyncio.ensure_future(said(engine, STORY, Sampling(2))) for _ in range(2)]
        await until(lambda: len(engine._admission._waiting) == 2)
        with pytest.raises(Unavailable) as caught:
            await said(engine, STORY, Sampling(2))
        assert caught.value.code == "model_overloaded"
        assert dict(caught.value.headers)["retry-after"]
        for generation in running:
            await generation.aclose()
        assert [one.tokens for one in await asyncio.gather(*waiting)] == [2, 2]

    narrow.run(crowd())


def test_a_request_gets_the_place_of_a_line_at_once(narrow: Llama) -> None:
    """Which begins anew, and is answered as if nothing had been."""

    async def beside() -> tuple[list[Said], list[str]]:
        engine, ended = narrow.engine, list[str]()
        tokens = await engine.tokenize(STORY, special=False)
        story = Sampling(60, temperature=0.0, ignore_eos=True)
        alone = await said(engine, STORY, story)
        await idle(engine)
        engine._admission._others_until = 0.0  # that was long ago

        async def line() -> Said:
            async with aclosing(engine.generate(tokens, story, None, batch=True)) as generation:
                pieces = [piece async for piece in generation]
            ended.append("line")
            return Said("".join([piece.text for piece in pieces]), pieces[-1].finish, pieces)

        lines = [asyncio.ensure_future(line()) for _ in range(3)]
        await until(lambda: engine.occupancy()[0].lines == 2)
        await said(engine, STORY, Sampling(2, ignore_eos=True))
        ended.append("request")
        answers = await asyncio.gather(*lines)
        await idle(engine)
        return [alone, *answers], ended

    answers, ended = narrow.run(beside())
    assert ended[0] == "request"
    # Greedy, and yet not the same to the end: what else is in a batch rounds differently.
    assert [one.text[:12] for one in answers] == [answers[0].text[:12]] * 4
    assert [one.tokens for one in answers] == [60] * 4


def test_who_came_first_is_served_first(narrow: Llama) -> None:
    async def queue() -> list[int]:
        engine, ended = narrow.engine, list[int]()
        running = [await begun(engine), await begun(engine)]

        async def one(number: int) -> None:
            async with aclosing(engine.generate([1], Sampling(2, ignore_eos=True), None)) as generation:
                async for _ in generation:
                    ended.append(number)
                    break

        waiting = []
        for number in range(2):
            waiting.append(asyncio.ensure_future(one(number)))
            await until(lambda: len(engine._admission._waiting) == len(waiting))
        await running[0].aclose()  # one place: they pass through it one by one
        await asyncio.gather(*waiting)
        await running[1].aclose()
        await idle(engine)
        return ended

    assert narrow.run(queue()) == [0, 1]


def test_leaving_while_tokens_come_ends_the_work(narrow: Llama) -> None:
    async def leave() -> float:
        generation = await begun(narrow.engine, Sampling(3000, ignore_eos=True))
        await generation.aclose()
        return await idle(narrow.engine)

    narrow.run(leave())
    assert narrow.say(STORY, Sampling(1)).tokens == 1


@pytest.mark.parametrize("seed", [None, 5])
def test_leaving_during_the_prompt_ends_the_work(narrow: Llama, seed: int | None) -> None:
    """4000 tokens take 10 to 30 seconds here. The rest of them is not evaluated, with a seed or without."""

    async def leave() -> None:
        engine = narrow.engine
        chunks: list[int] = []
        plain = engine._complete

        def watched(lease: Lease, request: dict[str, object], take: object) -> None:
            def counted(chunk: dict[str, object]) -> bool:
                chunks.append(1)
                return take(chunk)  # type: ignore[operator, no-any-return]

            plain(lease, request, counted)

        engine._complete = watched  # type: ignore[method-assign]
        try:
            prompt = [1000 + number % 5000 + (seed or 0) for number in range(4000)]
            reading = asyncio.ensure_future(said(engine, prompt, Sampling(2, seed=seed)))
            await until(lambda: len(chunks) >= 2)  # the first part of the prompt is done
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            await idle(engine)
        finally:
            engine._complete = plain  # type: ignore[method-assign]
        assert len(chunks) < 8, "the whole prompt was evaluated"

    narrow.run(leave())


def test_leaving_the_queue_leaves_nothing_behind(narrow: Llama) -> None:
    async def leave() -> None:
        engine = narrow.engine
        running = [await begun(engine), await begun(engine)]
        waiting = asyncio.ensure_future(said(engine, STORY, Sampling(2)))
        await until(lambda: engine._admission._waiting)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not engine._admission._waiting
        for generation in running:
            await generation.aclose()
        await idle(engine)
        assert (await said(engine, STORY, Sampling(2, ignore_eos=True))).tokens == 2

    narrow.run(leave())


def test_leaving_while_a_prompt_is_scored_ends_the_work(narrow: Llama) -> None:
    async def leave() -> None:
        scoring = asyncio.ensure_future(narrow.engine.score([1000 + number for number in range(1500)], 0))
        await until(lambda: narrow.engine._running)
        scoring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await scoring
        await idle(narrow.engine)

    narrow.run(leave())


def test_a_seed_repeats_whatever_ran_before(llama: Llama) -> None:
    seeded = Sampling(24, seed=7)
    first = llama.say(STORY, seeded).text
    for _ in range(2):
        llama.say(STORY, Sampling(6))  # leaves the same prompt in the cache
        llama.say("Something quite different, and longer than that.", Sampling(6))
        assert llama.say(STORY, seeded).text == first
    assert llama.say(STORY, Sampling(24, seed=8)).text != first


def test_a_seed_repeats_beside_other_requests(llama: Llama) -> None:
    seeded = Sampling(12, seed=7)
    alone = llama.say(STORY, seeded).text

    async def beside() -> str:
        others = [begun(llama.engine) for _ in range(2)]
        running = await asyncio.gather(*others)
        answer = await said(llama.engine, STORY, seeded)
        for generation in running:
            await generation.aclose()
        await idle(llama.engine)
        return answer.text

    assert [llama.run(beside()) for _ in range(3)] == [alone] * 3


@pytest.mark.parametrize("seed", [0, -1, 2**63 - 1, -(2**63)])
def test_any_seed_repeats(llama: Llama, seed: int) -> None:
    assert len({llama.say(STORY, Sampling(8, seed=seed)).text for _ in range(2)}) == 1


def test_without_a_seed_texts_differ(llama: Llama) -> None:
    assert len({llama.say(STORY, Sampling(12)).text for _ in range(4)}) > 1


def test_a_repeated_prompt_comes_from_the_cache(llama: Llama) -> None:
    prompt = "A prompt that no other test has: " + "tick tock " * 20
    assert llama.say(prompt).pieces[-1].cached_tokens < 10
    assert llama.say(prompt).pieces[-1].cached_tokens > 30


def test_closing_ends_what_runs_and_refuses_what_waits(smollm2_file: Path) -> None:
    async def close() -> list[BaseException | Said]:
        engine = unstarted(smollm2_file, parallel=1)
        await engine.start()
        work = [asyncio.ensure_future(said(engine, STORY, LONG)) for _ in range(3)]
        await until(lambda: engine._running and len(engine._admission._waiting) == 2)
        await engine.close()
        ended = await asyncio.gather(*work, return_exceptions=True)
        for late in (said(engine, [1], LONG), engine.tokenize("x", special=False), engine.score([1, 2], 0)):
            with pytest.raises(Unavailable):
                await late
        return ended

    ended = asyncio.run(close())
    assert all(isinstance(one, HomeportError) and one.status == 503 for one in ended), ended
