"""Embedding models in GGUF: the published figures of one, and the promises of vectors.VectorEngine."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from homeport.backends.engines import gguf_header
from homeport.backends.engines.llama_vectors import LlamaVectors
from homeport.backends.vectors import InputTooLong
from homeport.errors import InvalidRequest, ModelNotReady, SettingsError, Unavailable
from tests import bert_gguf, model_files
from tests.engines import similarities
from tests.engines.similarities import near

pytest.importorskip("xllamacpp")
pytest.importorskip("gguf")


@asynccontextmanager
async def engine(file: Path | None = None, **settings: Any) -> AsyncIterator[LlamaVectors]:
    made = LlamaVectors(file or model_files.minilm_gguf(), threads=1, **settings)
    try:
        await made.start()
        yield made
    finally:
        await made.close()


def test_the_published_similarities() -> None:
    async def run() -> None:
        async with engine() as minilm:
            await similarities.check(minilm)

    asyncio.run(run())


def test_company_changes_no_vector() -> None:
    """Many requests at once, of all lengths, give what each alone gives; in their order. Kernels for one row and for
    several round differently."""
    texts = [" ".join(["word", "tree", "seven", "blue"][: n % 4 + 1] * (n % 13 + 1)) + f" {n}" for n in range(60)]

    async def run() -> None:
        async with engine() as minilm:
            alone = [(await minilm.embed([text]))[0] for text in texts[:16]]
            together = await asyncio.gather(*[minilm.embed(texts[at : at + 4]) for at in range(0, 60, 4)])
            flat = [vector for vectors in together for vector in vectors]
            assert [one.tokens for one in flat[:16]] == [one.tokens for one in alone]
            assert all(near(one, other) > 0.9995 for one, other in zip(flat, alone, strict=False))
            assert max(near(flat[0], other) for other in flat[1:]) < 0.999

    asyncio.run(run())


def test_tokens_are_taken_as_they_are() -> None:
    async def run() -> None:
        async with engine() as minilm:
            text, tokens, marked = await minilm.embed(["hello world", [7592, 2088], "[CLS] hello"])
            assert near(text, tokens) == pytest.approx(1, abs=1e-6)
            assert (text.tokens, tokens.tokens) == (4, 4)
            assert marked.tokens > 4, "names of special tokens are text like any other"

    asyncio.run(run())


@pytest.mark.parametrize(("settings", "most"), [({}, 512), ({"context_length": 20}, 20)])
def test_the_context_is_a_limit(settings: dict[str, Any], most: int) -> None:
    """One that is longer has never come to the library, which would call it a failure of its own."""

    async def run() -> None:
        async with engine(**settings) as minilm:
            assert (await minilm.embed([[7592] * (most - 2)]))[0].tokens == most
            with pytest.raises(InputTooLong) as caught:
                await minilm.embed(["fine", "hello " * (most - 1)])
            assert (caught.value.at, caught.value.tokens) == (1, most + 1)

    asyncio.run(run())


def test_too_many_that_wait_are_refused_and_who_leaves_is_not_waited_for() -> None:
    async def run() -> None:
        async with engine(queue=2, parallel=2) as minilm:
            asked = [asyncio.ensure_future(minilm.embed(["some words " * 20] * 4)) for _ in range(3)]
            results = await asyncio.gather(*asked, return_exceptions=True)
            assert [type(one) for one in results].count(Unavailable) == 1
            many = asyncio.ensure_future(minilm.embed(["some words " * 20] * 200))
            while not minilm.occupancy()[0].busy:  # noqa: ASYNC110 (nothing tells a test of that moment)
                await asyncio.sleep(0.001)
            assert minilm.occupancy()[0][:3] == ("llama_cpp", 2, 2)
            many.cancel()
            with pytest.raises(asyncio.CancelledError):
                await many
            assert len(await minilm.embed(["there is room again"])) == 1
            assert minilm.occupancy()[0].waiting == 0

    asyncio.run(run())


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As those models are that continue texts and were trained to make vectors: the last token's. Its weights are
    nobody's."""
    file = tmp_path_factory.mktemp("decoder") / "decoder.gguf"
    bert_gguf.write_decoder(file, model_files.minilm().with_name("vocab.json"))
    return file


def test_a_decoder_sees_what_comes_before(decoder: Path) -> None:
    """Batches follow one another in one cache, and none sees another's texts. Of 1,024 tokens the library keeps one."""
    texts = [f"the harbour number {n} " + "is quiet and wide " * (n % 20) for n in range(40)]

    async def run() -> None:
        async with engine(decoder, parallel=8) as made:
            alone = [(await made.embed([text]))[0] for text in texts]
            for _ in range(3):
                together = await made.embed(texts)
                assert all(near(one, other) > 0.999 for one, other in zip(together, alone, strict=True))
            long = (await made.embed([[7592] * (made.card.context_length - 2)]))[0]
            assert long.tokens == made.card.context_length == 1023
            assert near((await made.embed(texts[:1]))[0], alone[0]) > 0.999

    asyncio.run(run())


def test_which_files_make_vectors(decoder: Path, smollm2_file: Path) -> None:
    heads = {file: gguf_header.read(file) for file in (model_files.minilm_gguf(), decoder, smollm2_file)}
    assert [gguf_header.makes_vectors(head) for head in heads.values()] == [True, True, False]
    for file, head in heads.items():
        short = gguf_header.read(file, tokenizer=False)
        assert gguf_header.makes_vectors(short) == gguf_header.makes_vectors(head)
        assert len(short) < len(head)


def test_a_reranker_is_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "reranker.gguf"
    bert_gguf.write_decoder(file, model_files.minilm().with_name("vocab.json"), pooling=gguf_header.RANK)

    async def run() -> None:
        async with engine(file):
            pass

    with pytest.raises(SettingsError, match="is a reranker"):
        asyncio.run(run())


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "half.gguf"
    file.write_bytes(model_files.minilm_gguf().read_bytes()[:4_000_000])

    async def run() -> None:
        async with engine(file):
            pass

    with pytest.raises(ModelNotReady, match=r"half\.gguf"):
        asyncio.run(run())


def test_what_has_no_token_is_refused(decoder: Path) -> None:
    """A model that puts nothing around a text has nothing to look at in white space."""

    async def run() -> None:
        async with engine(decoder) as made:
            made._before, made._after = [], []
            with pytest.raises(InvalidRequest, match=r"input\[1\]"):
                await made.embed(["words", " "])

    asyncio.run(run())
