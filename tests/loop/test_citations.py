"""Markers and links in text that comes in pieces, however it is cut."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.loop.citations import Citations, Cited, marker
from homeport.loop.turns import Annotation, MadeFile, Passage, Ran, Searched

FOX, DOG = "【0:0†fox.txt】", "【0:1†dog (1).txt】"
FOUND = Searched(
    queries=["animals"],
    passages=[
        Passage(FOX, "file-fox", "fox.txt", 0.9, "the quick brown fox"),
        Passage(DOG, "file-dog", "dog (1).txt", 0.5, "a lazy dog"),
    ],
)
MADE = Ran(
    container_id="cntr_1",
    code="...",
    logs="",
    files=[
        MadeFile("a.csv", "file-a", "cfile_a", 3),
        MadeFile("a.csv.gz", "file-gz", "cfile_gz", 3),
        MadeFile("out/two words.txt", "file-two", "cfile_two", 3),
    ],
)
LINK = "sandbox:/mnt/data/"


def read(text: str, cuts: Sequence[int] = (), *, keeps_markers: bool = True) -> Cited:
    """As one, of text that is cut at these places."""
    citations = Citations([FOUND, MADE], keeps_markers=keeps_markers)
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [citations.feed(text[begin:end]) for begin, end in pairwise(places)]
    pieces.append(citations.end())
    return Cited("".join(one.text for one in pieces), [one for piece in pieces for one in piece.annotations])


def test_a_marker_stays_and_is_annotated_where_it_stands() -> None:
    text = f"Füchse 🦊 springen{FOX}. Hunde schlafen{DOG}."
    cited = read(text)
    assert cited.text == text
    assert cited.annotations == [
        Annotation("file_citation", FOX, text.index(FOX), text.index(FOX) + len(FOX), "file-fox", "fox.txt"),
        Annotation("file_citation", DOG, text.index(DOG), text.index(DOG) + len(DOG), "file-dog", "dog (1).txt"),
    ]


def test_a_marker_goes_with_the_space_before_it() -> None:
    cited = read(f"Foxes jump {FOX}{DOG}. Dogs sleep.", keeps_markers=False)
    assert cited.text == "Foxes jump. Dogs sleep."
    assert [(one.begins, one.ends, one.file_id) for one in cited.annotations] == [
        (10, 10, "file-fox"),
        (10, 10, "file-dog"),
    ]


@pytest.mark.parametrize("keeps_markers", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        "【7:0†fox.txt】",  # of no search here
        " 【0:2†fox.txt】",
        "【0:0†fox",
        "【【0:0",
        "【0:0†a\nb】",
        "【fox】 says the ",
        f"{LINK}b.csv",
        f"{LINK}a.csvs and {LINK}a.csv/x and {LINK}a.csv.zip",
        "s sandbox:/",
        "trailing  ",
    ],
)
def test_what_is_none_stays_text(text: str, keeps_markers: bool) -> None:
    for cuts in ((), range(len(text))):
        assert read(text, cuts, keeps_markers=keeps_markers) == Cited(text, [])


@pytest.mark.parametrize("label", ["†source", "", "†another name"])
def test_a_marker_is_known_by_its_numbers(label: str) -> None:
    written = f"【0:1{label}】"
    (found,) = read(f"see {written}").annotations
    assert (found.text, found.file_id) == (written, "file-dog")


@pytest.mark.parametrize(
    ("text", "path", "file_id"),
    [
        (f"[here]({LINK}a.csv)", "a.csv", "file-a"),
        (f"{LINK}a.csv.", "a.csv", "file-a"),
        (f"{LINK}a.csv", "a.csv", "file-a"),
        (f"see {LINK}a.csv.gz!", "a.csv.gz", "file-gz"),
        (f"[x]({LINK}out/two words.txt)", "out/two words.txt", "file-two"),
        (f"[x]({LINK}out/two%20words.txt)", "out/two%20words.txt", "file-two"),
    ],
)
@pytest.mark.parametrize("keeps_markers", [True, False])
def test_a_link_to_a_made_file(text: str, path: str, file_id: str, keeps_markers: bool) -> None:
    for cuts in ((), range(len(text))):
        cited = read(text, cuts, keeps_markers=keeps_markers)
        assert cited.text == text
        (found,) = cited.annotations
        begins = text.index(LINK)
        assert (found.text, found.begins, found.ends) == (LINK + path, begins, begins + len(LINK + path))
        assert (found.type, found.file_id, found.container_id) == ("file_path", file_id, "cntr_1")
        assert found.container_file_id == file_id.replace("file-", "cfile_")
        assert found.filename == path.replace("%20", " ").rpartition("/")[2]


@given(
    st.lists(
        st.sampled_from([FOX, DOG, "【", "0:0", "†", "】", " ", "s", LINK, "a.csv", ".gz", "b", "\n"]), max_size=12
    ),
    st.lists(st.integers(0, 200), max_size=12),
    st.booleans(),
)
def test_cuts_change_nothing(parts: list[str], cuts: list[int], keeps_markers: bool) -> None:
    text = "".join(parts)
    whole, cut = read(text, keeps_markers=keeps_markers), read(text, cuts, keeps_markers=keeps_markers)
    assert cut == whole
    for one in whole.annotations:
        assert whole.text[one.begins : one.ends] == (one.text if keeps_markers or one.type == "file_path" else "")


def test_no_more_is_held_back_than_may_be_a_marker() -> None:
    citations = Citations([FOUND])
    sent = "【0:0†" + "x" * 10_000
    shown = sum(len(citations.feed(one).text) for one in sent)
    assert shown == len(sent)


def test_with_nothing_to_cite_text_passes() -> None:
    citations = Citations([])
    assert citations.feed("【0:0†s") == Cited("【0:0†s")
    assert citations.end() == Cited("")


def test_names_cannot_end_their_marker() -> None:
    name = marker(3, 1, "a】【b†\nc" + "d" * 300)
    assert name == f"【3:1†a b c{'d' * 59}】"
