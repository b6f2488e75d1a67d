"""The default embedding model: its published figures, and the promises of vectors.VectorEngine."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from homeport.backends.engines.onnx import Onnx
from homeport.backends.vectors import InputTooLong
from homeport.errors import Unavailable
from tests import model_files
from tests.engines import similarities
from tests.engines.similarities import near

pytest.importorskip("onnxruntime")


@asynccontextmanager
async def engine(**settings: Any) -> AsyncIterator[Onnx]:
    made = Onnx(model_files.minilm(), threads=1, **settings)
    await made.start()
    try:
        yield made
    finally:
        await made.close()


def test_the_published_similarities() -> None:
    async def run() -> None:
        async with engine() as minilm:
            await similarities.check(minilm)

    asyncio.run(run())


def test_company_changes_no_vector() -> None:
    """Many requests at once, of all lengths, give what each alone gives; in their order."""
    texts = [" ".join(["word", "tree", "seven", "blue"][: n % 4 + 1] * (n % 13 + 1)) + f" {n}" for n in range(120)]

    async def run() -> None:
        async with engine() as minilm:
            alone = [(await minilm.embed([text]))[0] for text in texts[:40]]
            together = await asyncio.gather(*[minilm.embed(texts[at : at + 8]) for at in range(0, 120, 8)])
            flat = [vector for vectors in together for vector in vectors]
            assert [one.tokens for one in flat[:40]] == [one.tokens for one in alone]
            assert all(near(one, other) > 0.99999 for one, other in zip(flat, alone, strict=False))
            assert max(near(flat[0], other) for other in flat[1:]) < 0.999

    asyncio.run(run())


def test_tokens_are_taken_as_they_are() -> None:
    async def run() -> None:
        async with engine() as minilm:
            text, tokens = await minilm.embed(["hello world", [7592, 2088]])
            assert near(text, tokens) == pytest.approx(1, abs=1e-6)
            assert (text.tokens, tokens.tokens) == (4, 4)

    asyncio.run(run())


@pytest.mark.parametrize(("length", "fits"), [(510, True), (511, False)])
def test_the_context_is_a_limit(length: int, fits: bool) -> None:
    async def run() -> None:
        async with engine() as minilm:
            if fits:
                assert (await minilm.embed([[7592] * length]))[0].tokens == 512
                return
            with pytest.raises(InputTooLong) as caught:
                await minilm.embed(["fine", "hello " * length])
            assert (caught.value.at, caught.value.tokens) == (1, 513)

    asyncio.run(run())


def test_leaving_takes_back_what_has_not_begun() -> None:
    async def run() -> None:
        async with engine() as minilm:
            many = asyncio.ensure_future(minilm.embed(["a long text of many words " * 20] * 400))
            await asyncio.sleep(0.05)
            many.cancel()
            with pytest.raises(asyncio.CancelledError):
                await many
            async with asyncio.timeout(20):
                assert len(await minilm.embed(["next"])) == 1
            assert minilm.occupancy()[0].waiting == 0

    asyncio.run(run())


def test_too_many_that_wait_are_refused() -> None:
    async def run() -> None:
        async with engine(queue=2) as minilm:
            asked = [asyncio.ensure_future(minilm.embed(["some words " * 50] * 10)) for _ in range(3)]
            results = await asyncio.gather(*asked, return_exceptions=True)
            assert [type(one) for one in results] == [list, list, Unavailable]
            assert len(await minilm.embed(["there is room again"])) == 1

    asyncio.run(run())


def test_lines_of_batches_wait_behind_everybody_else_and_are_no_queue() -> None:
    order: list[str] = []

    async def one(minilm: Onnx, name: str, *, batch: bool) -> None:
        await minilm.embed([f"{name} of many"], batch=batch)
        order.append(name)

    async def run() -> None:
        async with engine(parallel=2, queue=3) as minilm:
            going = threading.Event()
            minilm._batches.thread.submit(going.wait)  # nothing ends before everybody is there
            lines = [asyncio.ensure_future(one(minilm, f"line {number}", batch=True)) for number in range(20)]
            await asyncio.sleep(0)
            lines[7].cancel()
            requests = [asyncio.ensure_future(one(minilm, f"request {number}", batch=False)) for number in range(3)]
            await asyncio.sleep(0)
            places, busy, waiting, of_lines = minilm.occupancy()[0][1:5]
            assert (places, busy, waiting, of_lines) == (2, 1, 3, 1), "what runs is not interrupted"
            with pytest.raises(Unavailable):
                await minilm.embed(["one too many"])
            going.set()
            await asyncio.gather(*lines, *requests, return_exceptions=True)
            assert sorted(order[1:4]) == ["request 0", "request 1", "request 2"]
            assert len(order) == 22
            vectors = await asyncio.gather(*[minilm.embed([f"line {n} of many"], batch=n % 2 == 0) for n in range(6)])
            alone = [await minilm.embed([f"line {n} of many"]) for n in range(6)]
            assert all(near(one[0], other[0]) > 0.99999 for one, other in zip(vectors, alone, strict=True))

    asyncio.run(run())


def test_without_its_vocabulary_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").symlink_to(model_files.minilm().resolve())

    async def run() -> None:
        made = Onnx(tmp_path / "model.onnx", threads=1)
        with pytest.raises(ValueError, match=r"no vocab\.txt"):
            await made.start()
        await made.close()

    asyncio.run(run())
