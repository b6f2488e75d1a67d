"""Texts in windows, and how long these may be learnt to be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.errors import ContextLengthExceeded, HomeportError, InvalidRequest, UpstreamRefused
from homeport.jobs.embedding import Windows, cut, is_too_long

SENTENCES = "One is here. Two is there! Is three anywhere? Four."


@given(st.text(alphabet="ab .!\n\t。ü", max_size=300), st.integers(min_value=1, max_value=50))
def test_windows_are_the_text_less_white_space(text: str, most: int) -> None:
    windows = list(cut(text, most))
    assert all(0 < len(one) <= most for one in windows)
    assert "".join("".join(windows).split()) == "".join(text.split())
    assert bool(windows) == bool(text)


@pytest.mark.parametrize(
    ("most", "windows"),
    [
        (len(SENTENCES), [SENTENCES]),
        (30, ["One is here. Two is there! ", "Is three anywhere? Four."]),
        (16, ["One is here. ", "Two is there! ", "Is three ", "anywhere? Four."]),
    ],
)
def test_a_window_ends_with_a_sentence_or_else_with_a_word(most: int, windows: list[str]) -> None:
    assert list(cut(SENTENCES, most)) == windows


def test_a_word_that_is_too_long_is_cut_anywhere() -> None:
    assert list(cut("x" * 25, 10)) == ["x" * 10, "x" * 10, "x" * 5]


OPENAIS = (
    "This model's maximum context length is 8192 tokens, however you requested 10000 tokens (10000 in your prompt)."
)
OURS = "This model's maximum context length is 256 tokens, however you requested 800 tokens in input[1]. Please reduce."
VLLMS = "This model's maximum context length is 512 tokens. However, you requested 1024 tokens in the input."
TEIS = "`inputs` must have less than 512 tokens. Given: 1024"


@pytest.mark.parametrize(
    ("error", "most"),
    [
        (ContextLengthExceeded(OURS), int(400 * 256 / 800 * 0.9)),
        (UpstreamRefused(400, {"message": OPENAIS, "code": None}), int(1000 * 0.8192 * 0.9)),
        (UpstreamRefused(400, {"message": VLLMS, "code": 400}), 450),
        (UpstreamRefused(413, {"message": TEIS, "code": None}), 450),
        (UpstreamRefused(400, {"message": "No.", "code": "context_length_exceeded"}), 500),
        (UpstreamRefused(500, {"message": "input is too large to process", "code": None}), 500),
    ],
    ids=["ours", "OpenAI's", "vLLM's", "TEI's", "a code", "llama.cpp's"],
)
def test_a_refusal_says_how_long_a_window_may_be(error: HomeportError, most: int) -> None:
    windows = Windows()
    assert is_too_long(error)
    assert windows.shorten(["a" * 1000, "b" * 400], error)
    assert windows.most == most


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("The maximum context length is something else."),
        UpstreamRefused(400, {"message": "No.", "code": "invalid_value"}),
        UpstreamRefused(404, {"message": "The maximum context length is 1.", "code": None}),
    ],
)
def test_other_refusals_are_none_of_it(error: HomeportError) -> None:
    assert not is_too_long(error)


def test_windows_become_shorter_to_the_end() -> None:
    """Whatever is said: a model that reads nothing is told apart."""
    windows = Windows()
    texts = ["x" * 1000]
    times = 0
    while windows.shorten([one for text in texts for one in windows.of(text)], ContextLengthExceeded(OPENAIS)):
        times += 1
        assert times < 60
    assert windows.most == 16
