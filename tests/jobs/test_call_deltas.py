"""Code that a model writes, told while it is written."""

import json

import pytest

from homeport.jobs.call_deltas import CodeText


def told(arguments: str, size: int) -> tuple[str, str]:
    """While it is written, in pieces of a size; and with the end."""
    code = CodeText()
    pieces = [arguments[at : at + size] for at in range(0, len(arguments), size)]
    written = "".join([code.feed(piece) for piece in pieces])
    return written, written + code.end(arguments)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    "code",
    ["print(1)", 'a = "b\\n"\n\tc\\', "\N{GRINNING FACE} ü\u2028", "  x = 1", "print('```')"],
    ids=["plain", "escapes", "characters in two", "white space", "a fence within"],
)
def test_it_is_the_code_however_it_comes_in_pieces(code: str, size: int) -> None:
    for spelled in (json.dumps({"code": code}), json.dumps({"code": code}, ensure_ascii=False)):
        assert told(spelled, size) == (code, code)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ('{"code": "```python\\nprint(1)\\n```"}', "print(1)"),
        ('{"input": "print(1)"}', "print(1)"),
        ("print(1)", "print(1)"),
        ('{"code": 5}', ""),
        ("", ""),
    ],
    ids=["a fence", "another name", "no JSON", "no text", "nothing"],
)
def test_of_what_is_no_such_object_nothing_is_told_until_it_is_whole(arguments: str, code: str) -> None:
    assert told(arguments, 2) == ("", code)


def test_what_is_broken_ends_it() -> None:
    arguments = '{"code": "a = 1\\q = 2"}'
    assert told(arguments, 1)[0] == "a = 1"


def test_half_a_character_is_none() -> None:
    arguments = '{"code": "\\ud83d!"}'
    assert told(arguments, 1) == ("\N{REPLACEMENT CHARACTER}!", "\N{REPLACEMENT CHARACTER}!")
