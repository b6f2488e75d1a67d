"""Whatever is written: something is understood or nothing, in time that grows with the length, and never too much."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeport.backends.scene.colours import COLOURS
from homeport.backends.scene.describing import MOST_GROUPS, MOST_THINGS
from homeport.backends.scene.description import Description
from homeport.backends.scene.lexicon import MEANINGS
from homeport.backends.scene.reading import Reader
from homeport.backends.scene.saying import said
from tests.backends.scene.vocabulary import vocabulary

WORDS = [
    *(phrase for phrase in MEANINGS if phrase.isascii()),
    *"cat dogs tree houses apple pears balloons theremin xyz 3 100 , . ; ! but a the an and of with on it 🐱".split(),
]
LONGEST = 32_000


def sound(description: Description) -> None:
    """What every description promises."""
    groups = description.groups
    assert len(groups) <= MOST_GROUPS
    assert sum(group.count for group in groups) <= MOST_THINGS
    for at, group in enumerate(groups):
        assert group.count >= 1
        assert group.word
        assert group.colour is None or group.colour in COLOURS
        if group.related is not None:
            assert at not in group.related.to
            assert all(0 <= one < len(groups) for one in group.related.to)
            assert len(group.related.to) == (2 if group.related.relation == "between" else 1)
    assert _ends(description)
    for told in (description.unknown, description.ignored, description.left_out, description.without):
        assert len(told) <= 24
        assert all(0 < len(one) <= 80 for one in told)
    assert len(said(description)) < 12_000


def _ends(description: Description) -> bool:
    """Nothing stands to itself, by way of others."""
    left = {at: set(group.related.to) if group.related else set() for at, group in enumerate(description.groups)}
    while left:
        free = [at for at, to in left.items() if not to & left.keys()]
        if not free:
            return False
        for at in free:
            del left[at]
    return True


@given(st.text(max_size=300), st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_text_can_be_read(text: str, edit: bool) -> None:
    sound(Reader(vocabulary()).read_words(text, edit=edit))


@given(st.lists(st.sampled_from(WORDS), max_size=60), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_row_of_known_words_can_be_read(words: list[str], edit: bool) -> None:
    text = " ".join(words)
    description = Reader(vocabulary()).read_words(text, edit=edit)
    sound(description)
    assert Reader(vocabulary()).read_words(text, edit=edit) == description


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "part",
    [
        "a cat and ",
        "a cat on a dog ",
        "a cat with a hat on it, ",
        "the cat is on the dog. ",
        "a ",
        "red and ",
        "red, ",
        "no cats or ",
        "between ",
        "in the style of ",
        "of ",
        "'s ",
        "a cat's ",
        "9",
        "a",
        "-",
        "a-",
        "'",
        "a'",
        ".",
        "\n",
        "\u0301",
        "東京",
        "🐱",
        "wine glasses ",
        "a bunch of ",
        "theremin ",
        "twenty ",
        "one hundred ",
        "the ",
        "replace the ",
        "is red ",
        "it ",
    ],
)
def test_the_longest_prompt_of_one_thing_again_and_again_is_read(part: str) -> None:
    sound(Reader(vocabulary()).read_words((part * LONGEST)[:LONGEST]))


def test_the_longest_prompt_of_anything_is_read() -> None:
    chosen = random.Random(8)
    text = " ".join(chosen.choice(WORDS) for _ in range(LONGEST // 4))[:LONGEST]
    sound(Reader(vocabulary()).read_words(text))


def test_what_is_too_much_is_said() -> None:
    names = [word for word, art in vocabulary().words.items() if " " not in word and word.isalpha()][:400]
    description = Reader(vocabulary()).read_words(", ".join(f"a {name}" for name in names))
    assert len(description.groups) == MOST_GROUPS
    assert description.left_out
    assert description.left_out[0] in said(description)
