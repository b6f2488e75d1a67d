"""Calls of tools as models write them."""

import pytest

from homeport.jobs.call_deltas import CodeText
from homeport.store.calls import code_of


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ('{"code": "print(1)"}', "print(1)"),
        ('{"code": "a\nb"}', "a\nb"),
        ('{"code": "```python\\nx = 1\\ny\\n```"}', "x = 1\ny"),
        ('{"input": "print(2)"}', "print(2)"),
        ("print('raw')", "print('raw')"),
        ("```\nprint(3)\n```", "print(3)"),
        ("[1, 2]", "[1, 2]"),
        ('"a" + "b"', '"a" + "b"'),
        ('"print(4)"', "print(4)"),
        ('{"code": "print(\'\\ud83d\\ude00 \\ud83d\')"}', "print('\U0001f600 \N{REPLACEMENT CHARACTER}')"),
        ('{"code": "5", "why": ' + "[" * 50_000, '{"code": "5", "why": ' + "[" * 50_000),
    ],
)
def test_code_however_a_model_writes_it(arguments: str, code: str) -> None:
    assert code_of(arguments)[0] == code


@pytest.mark.parametrize("arguments", ["", "{}", '{"code": ""}', '{"code": 5}', '{"a": "x", "b": "y"}'])
def test_no_code(arguments: str) -> None:
    code, wrong = code_of(arguments)
    assert not code
    assert "no code" in wrong


@pytest.mark.parametrize("code", ["x = 1", "\n\nx = '\\ud83d\\ude00' + '\\udc00'", "```py\nx = 1\n```", "`x`"])
def test_code_piece_by_piece(code: str) -> None:
    arguments = '{"code": "' + code.replace("\n", "\\n") + '"}'
    writing = CodeText()
    said = "".join(map(writing.feed, arguments))
    assert said + writing.end(arguments) == code_of(arguments)[0]
