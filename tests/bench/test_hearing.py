"""The bench of what is heard counts wrong words as others do, and its goals follow from its figures."""

import pytest

from bench import recordings
from bench.hearing import Errors, Hearing


@pytest.mark.parametrize(
    ("said", "heard", "wrong"),
    [
        ("And so, my fellow Americans", "and so my fellow Americans.", 0),
        ("ask not what your country can do", "ask what your country can do", 1),
        ("one two three", "one too three four", 2),
        ("su contraseña", "Su contrasena", 0),
        ("l'été", "l ete", 0),
        ("three words here", "", 3),
    ],
)
def test_wrong_words(said: str, heard: str, wrong: int) -> None:
    assert recordings.wrong(said, heard) == wrong


def test_goals() -> None:
    cpu = {"http": [2.0, 4.0], "direct": [2.0, 5.0], "http, told": [3.0], "direct, told": [2.0]}
    found = Hearing([Errors("English", "whisper-base", 2, 50, 1)], 10.0, cpu, peak=20_000_000)
    goals = {goal.name: goal for goal in found.goals()}
    assert [goal.value for goal in goals.values()] == [0.9, 1.5, 2.0, 20.0]
    assert [goal.verdict for goal in goals.values()] == ["target", "MISSED", "target", "target"]
    table = found.table()
    assert "| English, whisper-base |          2 |    50 | 2.0 % |" in table
    assert "0.300" in table
