"""Which questions mean the same: what the guard sees, and what is found by vectors."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from homeport.errors import Unavailable
from homeport.gateway.semantic import Place, Semantic
from homeport.gateway.semantic_guard import comparable, difference, features
from homeport.settings import Semantic as Settings

SAME = [
    ("How do I reset my password?", "how can I reset my password"),
    ("What is the capital of France?", "What's the capital of France?"),
    ("Please explain how photosynthesis works.", "Explain how photosynthesis works"),
    ("Summarise the plot of Hamlet", "Give me a summary of the plot of Hamlet"),
    ("Don't you think cats are nice pets?", "Do you not think cats are nice pets?"),
    ("How to center a div in CSS?", "How do I center a div with CSS"),
    ("How can I bake sourdough bread at home?", "What is the best method for making a sourdough loaf in my kitchen?"),
    ("You cannot enter this room", "you can't enter this room"),
]
DIFFERENT = [
    ("Is it safe to eat raw eggs?", "Is it not safe to eat raw eggs?", "negations"),
    ("Is water pure with salt", "Is water pure without salt", "negations"),
    ("Can I drive after one beer", "Can't I drive after one beer", "negations"),
    ("Darf ich hier heute parken", "Darf ich hier heute nicht parken", "negations"),
    ("Convert 5 miles to km", "Convert 7 miles to km", "odd"),
    ("Convert 5 and 7 to binary", "Convert 7 and 5 to binary", "odd"),
    ("Who was president in 1990?", "Who was president in 1991?", "odd"),
    ("what does foo_bar do here", "what does foo_baz do here", "odd"),
    ("what is at example.com now", "what is at example.org now", "odd"),
    ("What is five plus two", "What is five plus three", "numerals"),
    ("Convert 10 miles to kilometers", "Convert 10 miles to meters", "numerals"),
    ("How many days are in March", "How many days are in April", "numerals"),
    ("What will the weather be today", "What will the weather be tomorrow", "numerals"),
    ("Which flights go from Paris to London", "Which flights go from London to Paris", "names"),
    ("What's the price of AAPL stock", "What's the price of MSFT stock", "names"),
    ("explain it in German please", "explain it in French please", "names"),
    ('spell the word "hello there" for me', 'spell the word "hello friend" for me', "quoted"),
    ("When did Rome fall exactly", "Why did Rome fall exactly", "hinges"),
    ("Who is the president of France", "Who was the president of France", "hinges"),
    ("tea and coffee for guests", "tea or coffee for guests", "hinges"),
    ("Do I owe you money", "Do you owe me money", "persons"),
    ("how do I enable dark mode", "how do I disable dark mode", "opposites"),
    ("is this legal in Texas", "is this illegal in Texas", "opposites"),
    ("does the dog bite the man", "does the man bite the dog", "word order"),
    ("weather in paris right here", "weather in london right here", "one word"),
    ("The best red wine for fish", "The best wine for fish", "one word"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_another_wording_passes(one: str, other: str) -> None:
    assert difference(one, other) is None
    assert difference(other, one) is None


@pytest.mark.parametrize(("one", "other", "why"), DIFFERENT)
def test_what_makes_the_difference_is_found(one: str, other: str, why: str) -> None:
    assert difference(one, other) == why
    assert difference(other, one) == why


WORDS = "cheese bridge copper garden violin planet silver window lantern castle river button"
sentences = st.lists(st.sampled_from(WORDS.split()), min_size=4, max_size=8, unique=True)


@given(sentences, st.sampled_from(["not", "never", "without", "no", "kein", "jamais"]), st.randoms())
def test_a_negation_more_is_seen_wherever_it_stands(words: list[str], negation: str, dice: random.Random) -> None:
    place = dice.randrange(len(words) + 1)
    assert difference(" ".join(words), " ".join([*words[:place], negation, *words[place:]])) == "negations"


@given(sentences, st.integers(0, 10**9), st.integers(0, 10**9), st.sampled_from(["", "%", "km", "$", ".5"]))
def test_another_number_is_seen(words: list[str], one: int, other: int, unit: str) -> None:
    assume(one != other)
    text = " ".join(words)
    assert difference(f"{text} {one}{unit}?", f"{text} {other}{unit}?") == "odd"


@given(sentences, st.randoms())
def test_two_words_that_change_places_are_seen(words: list[str], dice: random.Random) -> None:
    i, j = dice.sample(range(len(words)), 2)
    swapped = list(words)
    swapped[i], swapped[j] = swapped[j], swapped[i]
    assert difference(" ".join(words), " ".join(swapped)) is not None


@given(sentences, st.sampled_from(["Please ", "Could you tell me: ", ""]), st.sampled_from(["", "?", " .", " thanks!"]))
def test_politeness_and_marks_make_none(words: list[str], before: str, after: str) -> None:
    text = " ".join(words)
    assert difference(text, f"{before}{text}{after}") is None


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_two_texts_can_be_compared_in_either_order(one: str, other: str) -> None:
    comparable(one)
    assert difference(one, other) == difference(other, one)
    assert difference(one, one) is None
    features.cache_clear()


@pytest.mark.parametrize(
    "text", ["yes please", "```\nprint(1)\n``` what is this", "что это такое сегодня", "これは何 です か", ""]
)
def test_what_the_guard_cannot_see_is_left_alone(text: str) -> None:
    assert not comparable(text)


QUESTION = {"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "how is the sea"}]}


def semantic(vectors: Mapping[str, Sequence[float]] | None = None, **settings: Any) -> Semantic:
    async def embed(text: str) -> Sequence[float]:
        if vectors is None:
            raise Unavailable("no vectors today")
        return vectors[text]

    return Semantic(Settings(enabled=True, **settings), embed)


def test_all_but_the_last_message_has_to_be_the_same() -> None:
    turn = semantic().turn(QUESTION)
    assert turn is not None
    assert turn.text == "how is the sea"
    again = semantic().turn(
        {**QUESTION, "messages": [QUESTION["messages"][0], {"role": "user", "content": "how is sea"}]}
    )
    assert again is not None
    assert again.rest == turn.rest
    parts = [{"type": "text", "text": "how is the sea"}]
    assert semantic().turn({"messages": [{"role": "user", "content": parts}]}) is not None


@pytest.mark.parametrize(
    "more",
    [
        {"tools": []},
        {"seed": 1},
        {"n": 2},
        {"logprobs": True},
        {"own": 1},
        {"temperature": 1.1},
        {"response_format": {"type": "json_object"}},
        {"messages": []},
        {"messages": "how is the sea"},
        {"messages": [{"role": "assistant", "content": "how is the sea"}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        {"messages": [{"role": "user", "content": "how is the sea " * 200}]},
    ],
)
def test_only_plain_questions_have_a_meaning(more: dict[str, Any]) -> None:
    assert semantic().turn({**QUESTION, **more}) is None


def places(found: Semantic, *given: tuple[str, bytes, bytes]) -> list[Place]:
    async def make() -> list[Place]:
        made = [
            await found.place(turn, bucket, key) for text, bucket, key in given if (turn := found.turn(asked(text)))
        ]
        return [one for one in made if one is not None]

    return asyncio.run(make())


def asked(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


ONE, OTHER = b"1" * 32, b"2" * 32
TEXTS = {
    "how is the sea here": (2.0, 0.0),
    "how is the sea there": (2.0, 0.1),
    "what about this sea": (1.0, 0.2),
    "how is my sea": (0.0, 1.0),
    "how is not the sea": (2.0, 0.0),
}


def test_the_nearest_that_passes_the_guard_is_found_among_its_own() -> None:
    found = semantic(TEXTS, threshold=0.9)
    keys = {text: bytes([number]) * 32 for number, text in enumerate(TEXTS)}
    first, *rest = places(found, *((text, ONE, keys[text]) for text in TEXTS))
    for place in rest:
        found.remember(place)
    near = found.near(first)
    assert [one.key for one in near] == [keys["how is the sea there"], keys["what about this sea"]]
    assert [round(one.similarity, 3) for one in near] == [0.999, 0.981]
    assert found.near(first._replace(bucket=OTHER)) == []
    found.forget(near[0].key)
    assert [one.key for one in found.near(first)] == [keys["what about this sea"]]
    found.clear()
    assert found.near(first) == []


def test_the_oldest_questions_make_room() -> None:
    found = semantic(TEXTS, max_entries=100)
    (place,) = places(found, ("how is the sea here", ONE, b""))
    for number in range(250):
        found.remember(place._replace(key=b"%d" % number))
        found.remember(place._replace(key=b"%d" % number))
    assert len(found) == 100
    assert {one.key for one in found.near(place)} <= {b"%d" % number for number in range(150, 250)}


def test_without_vectors_only_the_same_question_is_the_same() -> None:
    assert places(semantic(), ("how is the sea here", ONE, b"")) == []
