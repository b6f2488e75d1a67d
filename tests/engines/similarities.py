"""What was published of all-MiniLM-L6-v2: how near sentences are, in sentence-transformers' documentation and on the
model's card. Weights of 8 bits move it a little."""

import math
import struct
from collections.abc import Sequence

import pytest

from homeport.backends.vectors import Vector, VectorEngine

WEATHER = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
PERSON = ["That is a happy person", "That is a very happy person", "That is a happy dog"]


def numbers(vector: Vector) -> Sequence[float]:
    return struct.unpack(f"<{len(vector.data) // 4}f", vector.data)


def near(one: Vector, other: Vector) -> float:
    return math.fsum(a * b for a, b in zip(numbers(one), numbers(other), strict=True))


async def check(minilm: VectorEngine) -> None:
    lovely, sunny, stadium = await minilm.embed(WEATHER)
    person, very, dog = await minilm.embed(PERSON)
    assert near(lovely, sunny) == pytest.approx(0.6660, abs=0.005)
    assert near(lovely, stadium) == pytest.approx(0.1046, abs=0.005)
    assert near(sunny, stadium) == pytest.approx(0.1411, abs=0.005)
    assert near(person, very) == pytest.approx(0.943, abs=0.005)
    assert near(person, dog) == pytest.approx(0.695, abs=0.005)
    assert near(lovely, lovely) == pytest.approx(1, abs=1e-6)
    assert (minilm.card.width, minilm.card.context_length, minilm.card.vocabulary) == (384, 512, 30522)
    assert [one.tokens for one in (lovely, sunny, stadium)] == [8, 9, 8]
