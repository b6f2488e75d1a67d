"""What a file says of a drawing is believed only where it can be drawn."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeport.backends.scene import note as notes
from homeport.backends.scene.art import Art
from tests.backends.scene.drawings import described, group, laid_out

Note = dict[str, Any]


@pytest.fixture
def said(art: Art) -> Note:
    description = described(group("cat", 2, "on", 1), group("house", colour="red"), ground="meadow")
    written: Note = json.loads(notes.written(laid_out(description, art)))
    return written


def put(path: str, value: object) -> Callable[[Note], None]:
    """A value at a path of the note."""

    def change(note: Note) -> None:
        *steps, last = path.split(".")
        at: Any = note
        for step in steps:
            at = at[int(step)] if isinstance(at, list) else at[step]
        at[int(last) if isinstance(at, list) else last] = value

    return change


def test_what_was_written_is_read(art: Art) -> None:
    note = laid_out(described(group("cat", 60), group("house"), ground="city", weather="rain"), art, ratio=0.5625)
    written = notes.written(note)
    assert notes.read(written, art.names) == note
    assert len(written) < notes.LONGEST / 4


@pytest.mark.parametrize(
    "change",
    [
        put("version", 2),
        put("seed", -1),
        put("seed", 2**63),
        put("ratio", 0),
        put("ratio", 1e308),
        put("ratio", 9),
        put("description.groups.0.art", "../../etc/passwd"),
        put("description.groups.0.colour", "url(#x)"),
        put("description.groups.0.count", 3),
        put("description.groups.0.count", 10**9),
        put("description.groups.0.count", 0),
        put("description.groups.0.size", "endless"),
        put("description.groups.0.word", "x" * 10_000),
        put("description.groups.0.word", "a\x00b"),
        put("description.groups.0.related", {"relation": "on", "to": [7]}),
        put("description.groups.0.related", {"relation": "on", "to": [-1]}),
        put("description.groups.0.related", {"relation": "on", "to": []}),
        put("description.groups.0.related", {"relation": "on", "to": [1] * 50}),
        put("description.groups", [{"word": "cat", "art": "cat"}] * 100),
        put("description.ground", "moon"),
        put("description.ground_colour", '"/><script/>'),
        put("description.unknown", ["x"] * 10_000),
        put("placed.0.group", 5),
        put("placed.0.group", -1),
        put("placed.0.x", 1e300),
        put("placed.0.y", -50),
        put("placed.0.side", 0),
        put("placed.0.side", 900),
        put("placed.0.turned", 1e9),
        put("placed", []),
    ],
)
def test_what_cannot_be_drawn_is_not_believed(art: Art, said: Note, change: Callable[[Note], None]) -> None:
    assert notes.read(json.dumps(said), art.names) is not None
    changed = copy.deepcopy(said)
    change(changed)
    assert notes.read(json.dumps(changed), art.names) is None


@pytest.mark.parametrize("text", [None, "", "null", "[]", "{", "[" * 200_000, "NaN", '{"seed": NaN}', "\ud800"])
def test_what_is_no_note(art: Art, text: str | None) -> None:
    assert notes.read(text, art.names) is None


def test_a_note_that_is_too_long(art: Art, said: Note) -> None:
    assert notes.read(json.dumps(said) + " " * notes.LONGEST, art.names) is None


@settings(max_examples=200, deadline=None)
@given(
    text=st.text(max_size=300) | st.recursive(st.none() | st.integers() | st.text(max_size=9), st.lists).map(json.dumps)
)
def test_anything_may_come(art: Art, text: str) -> None:
    assert notes.read(text, art.names) is None
