"""A parameter that stands in a body twice, or is escaped, is found however it is written; no other body is refused."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeport.errors import InvalidRequest
from homeport.wire.envelope import open_envelope

TWICE = [
    (b'{"model":"a","model":"b"}', "model"),
    (b'{"model":"a","model":"a"}', "model"),
    (b'{ "model": "a", "stream": true, "stream": false }', "stream"),
    (b'{"model":"a","max_tokens":1,"n":1,"max_tokens":12}', "max_tokens"),
    (b'{"model":"a","max_tokens":12,"n":1,"max_tokens":1}', "max_tokens"),
    (b'{"model": "a", "messages": [1], "x": {"n": 1}, "messages": []}', "messages"),
    (b'{"model":"a","n":1,"\\u006e":2}', "n"),
    (b'{"model":"a","\\u006e":2}', "\\u006e"),
    (b'{"model":"a","service\\u005ftier":"priority"}', "service\\u005ftier"),
    (b'{"\\u0022":1,"\\u0022\\u0022":1,"model":"a", "model":"b"}', "\\u0022"),
]


@pytest.mark.parametrize(("body", "param"), TWICE)
def test_is_refused_by_name(body: bytes, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        open_envelope(body)
    assert (refused.value.status, refused.value.param, refused.value.code) == (400, param, "ambiguous_parameter")
    assert f"'{param}' stands in the body more than once" in refused.value.message


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a"}',
        b'{\n  "model" : "a" ,\r\n\t"n" : 1\n}\n',
        b'{"model":"a","messages":[{"content":"\\"model\\": \\u0041","model":"b"},{"content":"\\\\"}]}',
        b'{"model": "a", "tools": [{"a": 1, "a": 2}], "x-y": "z/\\/"}',
        '{"model": "a", "größe": "ä\\u00e4"}'.encode(),
        b'{"model": "a", "": {}}',
    ],
)
def test_what_is_read_in_one_way_passes(body: bytes) -> None:
    assert open_envelope(body).body is body


def test_a_large_body_too() -> None:
    messages = json.dumps([{"role": "user", "content": 'say "hello"\n'}] * 1000)
    opened = open_envelope(f'{{"messages": {messages}, "model": "a", "n": 2, "max_tokens": 3}}'.encode())
    assert (opened.model, opened.choices, opened.max_tokens) == ("a", 2, 6)
    with pytest.raises(InvalidRequest, match="'n' stands"):
        open_envelope(f'{{"n": 1, "messages": {messages}, "model": "a", "n": 2}}'.encode())


def test_more_names_than_are_searched() -> None:
    names = ",".join(f'"x{number}":1' for number in range(2000))
    assert open_envelope(f'{{"model":"a",{names}}}'.encode()).model == "a"
    with pytest.raises(InvalidRequest, match="one of them stands"):
        open_envelope(f'{{"model":"a",{names},"model":"b"}}'.encode())


NAMES = st.sampled_from(["model", "n", "stream", "x", 'a"b', '"""', "\\", "é", "\n", ""])
VALUES = st.sampled_from(["1", "12", "true", '"a,b}"', '{"n":1,"n":2}', "[1, 2]", '"\\u0041"', "1.0", "{ }", '"\\""'])
SPACES = st.sampled_from(["", " ", "\n\t"])


@st.composite
def objects(draw: st.DrawFn) -> tuple[str, bool]:
    """A JSON object as text, and whether a reader could be misled by it."""
    names = ["model", *draw(st.lists(NAMES, max_size=6))]
    values = ['"m"'] + [draw(VALUES) for _ in names[1:]]
    values = ['"m"' if name == "model" else value for name, value in zip(names, values, strict=True)]
    spaced = draw(st.booleans())
    members, misleads = [], len(set(names)) < len(names)
    for name, value in zip(names, values, strict=True):
        key = json.dumps(name, ensure_ascii=False)
        if name and draw(st.integers(0, 5)) == 0:
            key = '"' + "".join(f"\\u{ord(character):04x}" for character in name) + '"'
            misleads = True
        gaps = [draw(SPACES) if spaced else "" for _ in range(4)]
        members.append(f"{gaps[0]}{key}{gaps[1]}:{gaps[2]}{value}{gaps[3]}")
    return "{" + ",".join(members) + "}", misleads


@settings(max_examples=1000, deadline=None)
@given(objects())
def test_every_object(made: tuple[str, bool]) -> None:
    text, misleads = made
    refusal: Any = None
    try:
        open_envelope(text.encode())
    except InvalidRequest as error:
        refusal = error.code
    expected = {"ambiguous_parameter"} if misleads else {None, "invalid_type"}
    assert refusal in expected
