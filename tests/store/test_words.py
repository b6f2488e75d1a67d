"""Words of texts and of queries."""

import pytest

from homeport.store.words import apart, words


@pytest.mark.parametrize("text", ["", "plain words", "naïve Café, 3.14", "हिन्दी भाषा"])
def test_texts_with_spaces_stay_as_they_are(text: str) -> None:
    assert apart(text) is None


def test_chinese_becomes_pairs_and_the_last_sign() -> None:
    assert apart("在東京都 (Tokyo).") == "在東 東京 京都 都 Tokyo"


def test_a_query_has_each_word_once_in_lower_case() -> None:
    assert words('Run "run" OR col:x* -y 東京都 猫') == ["run", "or", "col", "x", "y", "東京", "京都", "猫*"]


def test_marks_belong_to_their_letters() -> None:
    assert words("हिन्दी") == ["हिन्दी"]
