"""Whatever is cut off, or thrown together: a document or a refusal, and nothing else.

Documents go through the real child, pieces of them and random bytes through its own function here, without sealing this
process: so that there can be many of them.
"""

import io

import docx
import openpyxl
import pptx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeport.documents import answers, child, confinement, kinds
from homeport.documents.document import UnreadableFile
from tests.documents import made
from tests.documents.conftest import Read


def _word() -> bytes:
    written = docx.Document()
    written.add_paragraph("Some text. " * 50)
    return _saved(written)


def _deck() -> bytes:
    deck = pptx.Presentation()
    deck.slides.add_slide(deck.slide_layouts[6]).shapes.add_textbox(0, 0, 9, 9).text_frame.text = "text"
    return _saved(deck)


def _book() -> bytes:
    book = openpyxl.Workbook()
    book.active.append(["text", 1])
    return _saved(book)


def _saved(written: object) -> bytes:
    saved = io.BytesIO()
    written.save(saved)  # type: ignore[attr-defined]
    return saved.getvalue()


WHOLE = {
    "pdf": made.pdf([["Some text"] * 5] * 3),
    "docx": _word(),
    "pptx": _deck(),
    "xlsx": _book(),
}


@pytest.mark.parametrize("suffix", WHOLE)
@pytest.mark.parametrize("share", [0.001, 0.3, 0.8, 0.99])
def test_a_document_that_is_cut_off(read: Read, suffix: str, share: float) -> None:
    content = WHOLE[suffix]
    try:
        kind = read(content[: int(len(content) * share)], f"a.{suffix}", seconds=30).kind
    except UnreadableFile as refused:
        kind = refused.code
    # pdfium finds the pages again that are there
    assert kind in ("invalid_file", "unsupported_file", *(["application/pdf"] if suffix == "pdf" else []))


@pytest.mark.parametrize("suffix", WHOLE)
def test_a_document_with_bytes_changed(suffix: str, unsealed: None) -> None:
    """The same ones in every run, over the whole of it."""
    content = WHOLE[suffix]
    for start in range(40):
        changed = bytearray(content)
        for at in range(start * 7 % len(content), len(content), 997):
            changed[at] ^= 0x55
        _read_here(bytes(changed), suffix)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=2000),
    st.sampled_from(
        [b"", b"PK\3\4", b"%PDF-1.4\n", b"From: a\nDate: b\nSubject: c\n", b"<html>", b'{"nbformat":1,"cells":']
    ),
    st.sampled_from(["", "txt", "csv", "html", "json", "ipynb", "eml"]),
)
def test_random_bytes(content: bytes, begin: bytes, suffix: str) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(confinement, "seal", lambda parent: None)
        _read_here(begin + content, suffix)


@settings(max_examples=300, deadline=None)
@given(
    st.text(st.sampled_from('<>/"&;=-![]{}|,\\ \n\tabtdrphué你😀0x'), max_size=400),
    st.sampled_from(list(kinds.SUFFIXES)),
)
def test_random_texts(text: str, suffix: str) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(confinement, "seal", lambda parent: None)
        _read_here(text.encode(), suffix)


@pytest.fixture
def unsealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confinement, "seal", lambda parent: None)


def _read_here(content: bytes, suffix: str) -> None:
    packed = answers.packed(child._answer(io.BytesIO(content), suffix, 0))
    try:
        said = answers.document(packed).text
    except UnreadableFile as refused:
        said = refused.message if refused.code in ("invalid_file", "unsupported_file") else ""
    assert said.strip()
