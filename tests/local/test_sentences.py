"""Texts cut into the sentences that they are spoken in."""

import pytest

from homeport.backends.local.sentences import MOST, sentences


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ('He asked: "Why?" Nobody knew.', ['He asked: "Why?"', "Nobody knew."]),
        ("It won (at last!). So he said.", ["It won (at last!).", "So he said."]),
        ("Yes... maybe. Well… Perhaps.", ["Yes... maybe.", "Well…", "Perhaps."]),
        ("Dr. Smith met J. K. Rowling in the U.S. Army.", ["Dr. Smith met J. K. Rowling in the U.S. Army."]),
        ("On Jan. 5th. But in Jan. He", ["On Jan. 5th.", "But in Jan.", "He"]),
        ("See fig. 3, i.e. the third.", ["See fig. 3, i.e. the third."]),
        ("Is it 5? No. It is 3.14 at v1.2.3.", ["Is it 5?", "No.", "It is 3.14 at v1.2.3."]),
        ("1. First this\n2. Then that", ["1. First this", "2. Then that"]),
        ("Title\n\nA line that is\nwrapped. And\r\nthe end", ["Title", "A line that is wrapped.", "And the end"]),
        ("你好。世界！ Hi", ["你好。", "世界！", "Hi"]),
        (" \n\t\n ", []),
        ("", []),
    ],
)  # fmt: skip
def test_sentences(text: str, found: list[str]) -> None:
    assert sentences(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "one, two, " * 200,
        "word " * 500,
        "x" * 1000,
        "short, " + "then a very long clause without an end " * 20,
        "a。" * 1000,
        "Mr. " * 1000,
        "\n".join(["lower case lines"] * 250),
    ],
    ids=["clauses", "words", "letters", "late", "wide", "abbreviations", "lines"],
)
def test_what_has_no_end_is_cut_and_nothing_is_lost(text: str) -> None:
    found = sentences(text)
    assert all(0 < len(one) <= MOST for one in found)
    assert "".join("".join(found).split()) == "".join(text.split())


def test_it_is_cut_where_one_breathes() -> None:
    assert sentences("aaa bbb, ccc ddd eee", most=12) == ["aaa bbb,", "ccc ddd eee"]
    assert sentences("aaa bbb ccc ddd eee", most=12) == ["aaa bbb ccc", "ddd eee"]


def test_the_first_comes_soon_where_somebody_waits_for_it() -> None:
    text = "When it rained, which it often did, nobody came. When it rained, the others stayed."
    whole = "When it rained, which it often did, nobody came."
    assert sentences(text, first=len(whole))[0] == whole
    assert sentences(text, first=40) == ["When it rained, which it often did,", "nobody came.", text[len(whole) + 1 :]]
    assert sentences("Yes, there is no other comma in what is said here.", first=20)[0][-5:] == "here.", "too short"
    assert sentences(text, first=10)[0] == whole, "there is no comma before that"
    assert sentences("", first=10) == []
