"""Nouns without a word of their own, by the default model of embeddings, which is pulled for tests."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from homeport.backends.engines.onnx import Onnx
from homeport.backends.local.embeddings import LocalEmbeddings
from homeport.backends.scene.nearest import Nearest
from homeport.backends.scene.reading import Reader
from homeport.errors import Unavailable
from tests import model_files
from tests.backends.scene.vocabulary import vocabulary

NOUNS = Path(__file__).with_name("nouns.txt")


def _labelled() -> dict[str, list[str]]:
    lines = [line for line in NOUNS.read_text().splitlines() if line and not line.startswith("#")]
    return {noun: right.split() for noun, _, right in (line.partition(":") for line in lines)}


def test_what_stands_for_an_unknown_word_is_nearly_always_right() -> None:
    labelled = _labelled()

    async def find() -> dict[str, str]:
        model = LocalEmbeddings("minilm", Onnx(model_files.minilm(), threads=1))
        await model.start()
        try:
            found = await Nearest(vocabulary(), model.vector).find({noun: (noun,) for noun in labelled})
        finally:
            await model.close()
        return {noun: art.name for noun, art in found.items()}

    found = asyncio.run(find())
    right = {noun for noun, name in found.items() if name in labelled[noun]}
    assert found["surgeon"] == "health-worker"
    assert found["trout"] in ("fish", "tropical-fish")
    assert not {"theremin", "justice", "hammock", "blockchain", "beetroot", "yak"} & found.keys()
    assert len(right) / len(found) >= 0.8
    assert len(right) >= 12


async def _unit(at: int) -> Sequence[float]:
    return [float(at == one) for one in range(4)]


async def _of_fish(text: str) -> Sequence[float]:
    """A model to which a zander is a fish, and nothing else is like anything."""
    return await _unit(0 if text in ("fish", "zander") else 1 if text == "x" else 2)


def test_a_word_that_is_near_to_a_known_one_is_drawn_as_that_and_said() -> None:
    description = asyncio.run(Reader(vocabulary(), _of_fish).read("two zanders in the sea"))
    (group,) = description.groups
    assert (group.word, group.count, group.instead, description.unknown) == ("zander", 2, "tropical fish", ())


def test_a_model_that_cannot_be_asked_leaves_the_word_unknown() -> None:
    async def refuses(text: str) -> Sequence[float]:
        raise Unavailable("busy")

    description = asyncio.run(Reader(vocabulary(), refuses).read("a zander and a cat"))
    assert [group.word for group in description.groups] == ["cat"]
    assert description.unknown == ("zander",)


def test_vectors_of_the_known_words_are_made_once() -> None:
    asked: list[str] = []

    async def counts(text: str) -> Sequence[float]:
        asked.append(text)
        return await _of_fish(text)

    async def read() -> None:
        reader = Reader(vocabulary(), counts)
        await reader.read("a cat")
        assert asked == []
        await asyncio.gather(reader.read("a zander"), reader.read("a zander"))

    asyncio.run(read())
    assert asked.count("fish") == 1
    assert asked.count("zander") == 2


@pytest.mark.parametrize(("unknown", "known"), [("soccer pitch", "soccer ball"), ("hammock", "hamster")])
def test_words_that_share_letters_alone_are_not_near(unknown: str, known: str) -> None:
    async def same(text: str) -> Sequence[float]:
        return await _unit(0 if text in (unknown, known) else 2 if text == "pitch" else 1)

    description = asyncio.run(Reader(vocabulary(), same).read(f"a {unknown}"))
    assert (description.groups, description.unknown) == ((), (unknown,))
