"""What a batch's input must be, line by line."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeport.control import batch_input
from homeport.control.batch_input import Input, lines
from homeport.control.jsonl import LineTooLong

CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"
LONGEST = 4096


def line(number: int = 1, **more: Any) -> dict[str, Any]:
    body = {"model": "echo", "messages": [{"role": "user", "content": f"line {number}"}]}
    return {"custom_id": f"request-{number}", "method": "POST", "url": CHAT, "body": body, **more}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in line().items() if key != name}


async def pieces_of(data: bytes, size: int = 7) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def read(data: bytes | list[Any], endpoint: str = CHAT) -> Input:
    raw = data if isinstance(data, bytes) else "\n".join(json.dumps(one) for one in data).encode()
    found = Input(endpoint)
    asyncio.run(found.read(pieces_of(raw, 1000), longest=LONGEST))
    return found


def test_a_good_file_is_counted_and_cut_into_chunks() -> None:
    found = read([line(number) for number in range(1, 251)])
    assert (found.errors, found.total, found.model) == ([], 250, "echo")
    assert [(one.first, one.last) for one in found.chunks] == [(1, 100), (101, 200), (201, 250)]
    assert [one.begin for one in found.chunks[1:]] == [one.end for one in found.chunks[:-1]]
    bodies = [json.dumps(line(number)["body"]) for number in range(1, 251)]
    assert found.tokens == sum(len(one) // 4 for one in bodies)


def test_long_lines_make_short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_input, "CHUNK_BYTES", 1000)
    found = read([line(number, comment="x" * 400) for number in range(1, 6)])
    assert [(one.first, one.last) for one in found.chunks] == [(1, 2), (3, 4), (5, 5)]


def test_a_large_batch_has_larger_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_input, "LEAST_CHUNKS", 5)

    def sizes(count: int) -> list[int]:
        found = read([line(number) for number in range(1, count + 1)]).chunks
        assert [one.begin for one in found[1:]] == [one.end for one in found[:-1]]
        assert [one.first for one in found[1:]] == [one.last + 1 for one in found[:-1]]
        return [one.last - one.first + 1 for one in found]

    assert sizes(950) == [*[100] * 9, 50]
    assert sizes(1050) == [*[200] * 5, 50]
    assert sizes(5000) == [500] * 10
    monkeypatch.setattr(batch_input, "CHUNK_BYTES", 50_000)
    assert sizes(1000) == [*[200] * 5]
    assert sizes(5000) == [*[300] * 16, 200]


def test_blank_lines_are_passed_over_and_counted() -> None:
    first, second = (json.dumps(line(number)).encode() for number in (1, 2))
    found = read(b"\n" + first + b"\r\n  \n\n" + second + b"\n\n")
    assert (found.errors, found.total) == ([], 2)
    assert [(one.first, one.last) for one in found.chunks] == [(2, 5)]
    assert "line 6" not in read(b"\n" * 5 + b"{").errors[0].message
    assert read(b"\n" * 5 + b"{").errors[0].line == 6


def test_a_mark_at_the_beginning_of_the_file_is_no_part_of_the_first_line() -> None:
    raw = json.dumps(line()).encode()
    assert read(b"\xef\xbb\xbf" + raw).errors == []
    assert read(raw + b"\n\xef\xbb\xbf" + json.dumps(line(2)).encode()).errors[0].code == "invalid_json_line"


@pytest.mark.parametrize(
    ("wrong", "code", "param"),
    [
        (b"{", "invalid_json_line", None),
        (b"[1]", "invalid_json_line", None),
        (b"\xff\xfe{}", "invalid_json_line", None),
        (without("custom_id"), "missing_required_parameter", "custom_id"),
        (without("method"), "missing_required_parameter", "method"),
        (without("url"), "missing_required_parameter", "url"),
        (without("body"), "missing_required_parameter", "body"),
        (line(custom_id=7), "invalid_type", "custom_id"),
        (line(custom_id=""), "empty_string", "custom_id"),
        (line(custom_id="x" * 513), "string_above_max_length", "custom_id"),
        (line(method="GET"), "invalid_method", "method"),
        (line(url=EMBEDDINGS), "invalid_url", "url"),
        (line(url="/chat/completions"), "invalid_url", "url"),
        (line(body=[]), "invalid_type", "body"),
        (line(body=None), "invalid_type", "body"),
        (line(body={}), "missing_required_parameter", "body.model"),
        (line(body={"model": 1}), "invalid_type", "body.model"),
        (line(body={"model": "echo", "stream": True}), "unsupported_parameter", "body.stream"),
    ],
)
def test_what_is_wrong_with_a_line(wrong: Any, code: str, param: str | None) -> None:
    raw = wrong if isinstance(wrong, bytes) else json.dumps(wrong).encode()
    found = read(json.dumps(line(1)).encode() + b"\n" + raw.replace(b"request-1", b"request-2") + b"\n")
    assert [(one.code, one.line, one.param) for one in found.errors] == [(code, 2, param)]
    assert found.errors[0].message


def test_a_custom_id_that_is_there_twice() -> None:
    found = read([line(1), line(2), line(1)])
    assert [(one.code, one.line, one.param) for one in found.errors] == [("duplicate_custom_id", 3, "custom_id")]
    assert "request-1" in found.errors[0].message


def test_a_model_that_is_another() -> None:
    found = read([line(1), line(2, body={"model": "other"}), line(3, body={"model": "third"})])
    assert [(one.code, one.line) for one in found.errors] == [("mismatched_model", 2), ("mismatched_model", 3)]


def test_all_that_is_wrong_is_told_up_to_a_hundred() -> None:
    assert [one.line for one in read(b"{\n" * 3).errors] == [1, 2, 3]
    assert [one.line for one in read(b"{\n" * 300).errors] == [*range(1, 101)]


def test_a_line_that_is_not_json_is_named() -> None:
    raw = [json.dumps(line(number)).encode() for number in range(1, 101)]
    raw[36] = b"no json"
    found = read(b"\n".join(raw))
    assert [(one.code, one.line) for one in found.errors] == [("invalid_json_line", 37)]
    assert found.errors[0].message == "This line is not parseable as valid JSON."


@pytest.mark.parametrize("raw", [b"", b"\n", b" \r\n\n"])
def test_a_file_without_requests(raw: bytes) -> None:
    found = read(raw)
    assert [(one.code, one.line) for one in found.errors] == [("empty_file", None)]
    assert found.chunks == []


def test_more_lines_than_a_batch_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_input, "MOST_LINES", 3)
    assert read([line(number) for number in range(1, 4)]).errors == []
    found = read([line(number) for number in range(1, 7)])
    assert [(one.code, one.line) for one in found.errors] == [("too_many_tasks", 4)]


def test_a_line_that_is_too_long() -> None:
    found = read([line(1), line(2, comment="x" * LONGEST), line(3)])
    assert [(one.code, one.line) for one in found.errors] == [("line_too_long", 2)]


def test_embedding_inputs_are_counted_over_all_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_input, "MOST_INPUTS", 5)

    def request(number: int, given: Any) -> dict[str, Any]:
        return line(number, url=EMBEDDINGS, body={"model": "echo", "input": given})

    five = [request(1, "a"), request(2, ["a", "b"]), request(3, [[1, 2], [3]])]
    assert read(five, EMBEDDINGS).errors == []
    assert read([*five[:2], request(3, [1, 2, 3]), request(4, "a")], EMBEDDINGS).errors == []
    found = read([*five, request(4, "a"), request(5, "a")], EMBEDDINGS)
    assert [(one.code, one.line, one.param) for one in found.errors] == [("too_many_inputs", 4, "body.input")]


@pytest.mark.parametrize("url", ["/chat/completions", CHAT])
def test_azure_s_spelling_takes_both(url: str) -> None:
    assert read([line(1, url=url)], "/chat/completions").errors == []


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from([b"", b" ", b"\r", b"a", b"bc", b"\xef\xbb\xbf", b"defghi"]), max_size=12),
    st.integers(min_value=1, max_value=9),
    st.booleans(),
)
def test_lines_are_cut_as_they_stand(parts: list[bytes], size: int, ended: bool) -> None:
    """However the pieces come, each line has its number and its place."""
    data = b"\n".join(parts) + (b"\n" if ended and parts else b"")

    async def cut() -> list[batch_input.Line]:
        return [one async for one in lines(pieces_of(data, size), longest=100, first=5)]

    found = asyncio.run(cut())
    assert [one.number for one in found] == [at for at, part in enumerate(parts, start=5) if part.strip()]
    for one in found:
        assert data[one.begin : one.end].rstrip(b"\n") == one.raw
        assert data[one.end - 1 : one.end] == b"\n" or one.end == len(data)


def test_a_part_of_a_file_that_has_too_long_a_line() -> None:
    async def cut() -> list[batch_input.Line]:
        return [one async for one in lines(pieces_of(b"x" * 11 + b"\n"), longest=10, first=7)]

    with pytest.raises(LineTooLong) as raised:
        asyncio.run(cut())
    assert raised.value.number == 7
