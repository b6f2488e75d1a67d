"""Chunks: all of the text, in order, within their size, each with its place."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeport import openai_tokens
from homeport.documents import chunking
from homeport.documents.chunking import Chunk, chunks
from homeport.documents.document import Document, Page, UnreadableFile

#: Words, ends of sentences and paragraphs, and characters that tokens are cut through.
PIECES = st.sampled_from(
    [
        "word ",
        "longer words, ",
        "end. ",
        "end!\n",
        "\n\n",
        "\n",
        "   ",
        "你好。",
        "世界",
        "😀👩‍👩‍👧",
        "ก็",
        "a" * 40,
        "ض",
        "𝔘",
        "1234567",
    ]
)
TEXTS = st.lists(PIECES, min_size=1, max_size=120).map("".join)


def _document(*texts: str) -> Document:
    return Document("application/pdf", [Page(text, number) for number, text in enumerate(texts, 1)])


def _check(document: Document, made: list[Chunk], size: int, overlap: int) -> None:
    text = document.text
    encoding = openai_tokens.encoding("cl100k_base")
    assert encoding is not None
    ends = _token_ends(text)
    assert [chunk.number for chunk in made] == list(range(len(made)))
    assert all(chunk.text == text[chunk.begins : chunk.ends] != "" for chunk in made)
    assert all(0 < chunk.tokens <= size for chunk in made)
    assert made[0].begins == 0
    assert made[-1].ends == len(text)
    for one, following in pairwise(made):
        assert one.begins < following.begins <= one.ends < following.ends
        common = text[: one.ends].encode(), text[: following.begins].encode()
        assert sum(len(common[1]) < end < len(common[0]) for end in ends) <= overlap
    begins = [text.index(page.text, 0) for page in document.pages] if len(document.pages) > 1 else [0]
    for chunk in made:
        assert chunk.page == sum(begin <= chunk.begins for begin in begins)


def _token_ends(text: str) -> list[int]:
    encoding = openai_tokens.encoding("cl100k_base")
    assert encoding is not None
    ends, at = [], 0
    for token in encoding.encode_ordinary(text):
        at += len(encoding.decode_single_token_bytes(token))
        ends.append(at)
    return ends


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.integers(chunking.SMALLEST, 60), st.data())
def test_chunks_cover_the_text_within_their_bounds(text: str, size: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, size // 2))
    document = _document(text)
    _check(document, list(chunks(document, size, overlap)), size, overlap)


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1, max_size=300), st.integers(chunking.SMALLEST, 30))
def test_any_text_at_all(text: str, size: int) -> None:
    document = _document(text)
    _check(document, list(chunks(document, size, size // 2)), size, size // 2)


def test_a_chunk_is_of_the_page_that_it_begins_on() -> None:
    document = _document(*(f"Page {number}. " + "Some words of text. " * 20 for number in range(1, 9)))
    made = list(chunks(document, 60, 30))
    _check(document, made, 60, 30)
    assert {chunk.page for chunk in made} == set(range(1, 9))


def test_a_document_without_pages_has_chunks_without() -> None:
    assert [chunk.page for chunk in chunks(Document("text/plain", [Page("text", None)]), 100, 0)] == [None]


def test_a_chunk_ends_where_a_paragraph_does_else_a_sentence_a_line_a_word() -> None:
    filling = "word " * 88
    for ending, other in (("one.\n\n", "two. "), ("one. ", "two\n"), ("one\n", "two "), ("one ", "two-")):
        first = next(chunks(_document(filling + ending + other + "x" * 2000), 100, 0))
        assert first.text.endswith(ending)


def test_neighbours_overlap_by_about_what_was_asked_for_and_begin_with_a_word() -> None:
    made = list(chunks(_document("Several words of running text without an end " * 500), 800, 400))
    for one, following in pairwise(made):
        assert 330 <= (one.ends - following.begins) // 6 <= 480
        assert following.text[0] != " "
        assert one.text[following.begins - one.begins - 1] == " "


@pytest.mark.parametrize(
    "text", ["x" * 1_200_000, " " * 1_200_000 + "x", "字" * 400_000, "A1b2C3d4" * 100_000, "\n" * 1_100_000]
)
def test_long_runs_without_spaces(text: str) -> None:
    made = list(chunks(_document(text), 800, 400))
    assert made[-1].ends == len(text)
    assert all(one.ends >= following.begins for one, following in pairwise(made))


def test_more_tokens_than_a_file_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunking, "TOKENS_AT_MOST", 1000)
    assert len(list(chunks(_document("word " * 999), 800, 400))) == 2
    with pytest.raises(UnreadableFile, match="too large. A file may have 1,000 tokens") as refused:
        list(chunks(_document("word " * 1100), 800, 400))
    assert refused.value.code == "invalid_file"


@pytest.mark.parametrize(("size", "overlap"), [(15, 0), (100, 51), (100, -1)])
def test_sizes_that_make_no_sense(size: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="overlap"):
        next(chunks(_document("text"), size, overlap))
