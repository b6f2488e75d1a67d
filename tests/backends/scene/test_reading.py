"""Prompts as people write them, and what is understood."""

from pathlib import Path

import pytest

from homeport.backends.scene.colours import COLOURS
from homeport.backends.scene.curated import NOT_A_NAME, OWN
from homeport.backends.scene.description import Description, Group
from homeport.backends.scene.lexicon import HATS, PAIRS, VESSELS, WORN
from homeport.backends.scene.reading import Reader
from tests.backends.scene.vocabulary import vocabulary

PROMPTS = Path(__file__).with_name("prompts.txt")
EDITS = Path(__file__).with_name("edits.txt")


def written(description: Description) -> str:
    """As in prompts.txt."""
    words = ", ".join(_group(group) for group in description.groups)
    ground = description.ground if description.ground != "plain" else ""
    on = f"on {description.ground_colour}" if description.ground_colour else ""
    time = description.time if description.time != "day" else ""
    weather = description.weather if description.weather != "clear" else ""
    scenery = " ".join(part for part in (ground, on, time, weather) if part)
    words += f" | {scenery}" if scenery else ""
    for sign, told in (
        ("?", description.unknown),
        ("~", description.ignored),
        ("-", description.without),
        ("+", description.left_out),
    ):
        words += f" {sign} {', '.join(told)}" if told else ""
    return words.strip()


def _group(group: Group) -> str:
    size = group.size if group.size != "medium" else None
    colour = group.colour if group.colour and not group.word.startswith("golden retriever") else None
    words = " ".join(part for part in (str(group.count), size, colour, group.word) if part)
    if group.side is not None:
        words += f" @{group.side}"
    if group.related is not None:
        words += f" <{group.related.relation} {' '.join(map(str, group.related.to))}>"
    return words


def _table(file: Path) -> list[tuple[str, str]]:
    lines = [line for line in file.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    return [(prompt, meant.strip()) for prompt, meant in zip(lines[::2], lines[1::2], strict=True)]


@pytest.mark.parametrize(("prompt", "meant"), _table(PROMPTS))
def test_a_prompt_is_understood(prompt: str, meant: str) -> None:
    assert written(Reader(vocabulary()).read_words(prompt)) == meant


@pytest.mark.parametrize(("prompt", "meant"), _table(EDITS))
def test_an_edit_is_understood_as_what_is_to_be_drawn(prompt: str, meant: str) -> None:
    assert written(Reader(vocabulary()).read_words(prompt, edit=True)) == meant


def test_a_table_in_a_picture_that_is_there_is_not_drawn_again() -> None:
    read = Reader(vocabulary()).read_words
    assert [group.word for group in read("a cat on the sofa").groups] == ["cat", "sofa"]
    assert [group.word for group in read("a cat on the sofa", edit=True).groups] == ["cat"]


@pytest.mark.parametrize(
    ("word", "art"),
    [
        *[(art, art) for art in "cat dog horse cow house bird sun star cloud banana key bed".split()],
        ("tree", "deciduous-tree"),
        ("moon", "crescent-moon"),
        ("car", "automobile"),
        ("boat", "sailboat"),
        ("ball", "soccer-ball"),
        ("apple", "red-apple"),
        ("man", "man-standing"),
        ("men", "man-standing"),
        ("woman", "woman-standing"),
        ("child", "child"),
        ("flower", "blossom"),
        ("hat", "top-hat"),
        ("book", "closed-book"),
        ("red heart", "red-heart"),
        ("smiling face", "smiling-face"),
        ("bee", "honeybee"),
        ("kettle", "teapot"),
        ("UFO", "flying-saucer"),
        ("fire engine", "fire-engine"),
        ("wand", "magic-wand"),
        ("female pilot", "woman-pilot"),
        ("dancing woman", "woman-dancing"),
        ("gun", "water-pistol"),
    ],
)
def test_a_word_is_drawn_as_what_one_thinks_of(word: str, art: str) -> None:
    (group,) = Reader(vocabulary()).read_words(f"a {word}").groups
    assert group.art == art


@pytest.mark.parametrize("word", ["cancer", "information", "keycap", "speed", "idea", "love", "Monday", "virgo"])
def test_a_sign_is_no_thing(word: str) -> None:
    assert Reader(vocabulary()).read_words(word).groups == ()


def test_every_word_has_a_drawing_that_is_there() -> None:
    known = vocabulary()
    names = set(known.characters.values())
    assert {art.name for art in known.words.values()} <= {art.name for art in names}
    assert all(art.colour is None or art.colour in COLOURS for art in known.words.values())
    assert not [name for name in OWN if name not in known.words]
    assert {*NOT_A_NAME, *HATS, *WORN, *VESSELS, *PAIRS} <= {art.name for art in names}


def test_what_a_person_is_called_is_not_thirty_drawings() -> None:
    """Skins are drawn only where they are named."""
    tones = ("-light", "-medium", "-dark")
    known = vocabulary()
    assert not [word for word, art in known.words.items() if known.is_person(art.name) and art.name.endswith(tones)]
