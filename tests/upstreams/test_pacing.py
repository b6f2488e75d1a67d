"""What upstreams say of their limits, as they spell it, and what nobody can mean."""

from math import inf

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from homeport.backends.upstreams.pacing import Bucket, Room, again, duration, may_pass, retry_after
from tests import clocks

NOW = 1000.0
#: Of the wall clock: Sat, 28 Nov 2026 12:00:00 GMT.
WALL = 1_795_867_200.0
NONSENSE = [
    b"",
    b" ",
    b"-1",
    b"+1",
    b"1e3",
    b"nan",
    b"inf",
    b"0x10",
    b"1.",
    b".5",
    b"1.2.3",
    b"soon",
    b"1 2",
    b"1,5",
    b"\xff\xfe",
    "１".encode(),
    b"1" * 16,
    b"1" * 5000,
]


@pytest.fixture(autouse=True)
def wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks.own(monkeypatch, "backends.upstreams.pacing", now=lambda: WALL)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"1s", 1.0),
        (b"6m0s", 360.0),
        (b"120ms", 0.12),
        (b"1m26.4s", 86.4),
        (b"8.64s", 8.64),
        (b"1h2m3s", 3723.0),
        (b"17ns", 17e-9),
        (b"3us", 3e-6),
        ("5µs".encode(), 5e-6),  # the micro sign
        ("5μs".encode(), 5e-6),  # the Greek letter, as Go writes it
        (b"0s", 0.0),
        (b"2", 2.0),
        (b"0.25", 0.25),
    ],
)
def test_durations(value: bytes, seconds: float) -> None:
    assert duration(value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value", [*NONSENSE, b"s", b"1s 2", b"1d", b"1m-2s", b"-1s", b"1s" * 100, b"2026-11-28T12:00:00Z"]
)
def test_what_is_no_duration(value: bytes) -> None:
    assert duration(value) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([(b"retry-after", b"7")], 7.0),
        ([(b"retry-after", b"0.5")], 0.5),
        ([(b"retry-after", b"0")], 0.0),
        ([(b"retry-after-ms", b"1500")], 1.5),
        ([(b"retry-after", b"2"), (b"retry-after-ms", b"1500.5")], 1.5005),
        ([(b"retry-after-ms", b"soon"), (b"retry-after", b"2")], 2.0),
        ([(b"retry-after", b"Sat, 28 Nov 2026 12:00:30 GMT")], 30.0),
        ([(b"retry-after", b"Sat, 28 Nov 2026 14:00:30 +0200")], 30.0),
        ([(b"retry-after", b"Saturday, 28-Nov-26 12:00:30 GMT")], 30.0),
        ([(b"retry-after", b"Sat Nov 28 12:00:30 2026")], 30.0),
        ([(b"retry-after", b"Fri, 27 Nov 2026 12:00:00 GMT")], 0.0),
        ([(b"x-other", b"7")], None),
        ([], None),
    ],
)
def test_retry_after_in_seconds_in_milliseconds_and_as_a_date(
    headers: list[tuple[bytes, bytes]], seconds: float | None
) -> None:
    assert retry_after(headers) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    "value", [*NONSENSE, b"Sat, 99 Nov 2026 12:00:00 GMT", b"Sat, 28 Nov 99999 12:00:00 GMT", b"Sat, 28 Nov", b"1" * 90]
)
def test_a_retry_after_that_cannot_be_read_is_none(value: bytes) -> None:
    assert retry_after([(b"retry-after", value)]) is None
    assert retry_after([(b"retry-after-ms", value)]) is None


@given(st.one_of(st.binary(max_size=80), st.text("0123456789:,-+. GMTSatNovFri", max_size=40).map(str.encode)))
@example(b"Mon, 01 Jan 0001 00:00:00 +9999")
@example(b"1 Jan 1 0 +")
def test_whatever_comes_is_read_or_not(value: bytes) -> None:
    """By whatever: no exception, no negative wait, nothing endless."""
    for seconds in (retry_after([(b"retry-after", value)]), duration(value)):
        assert seconds is None or 0.0 <= seconds < inf


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 520, 529])
def test_what_may_pass_is_asked_again(status: int) -> None:
    assert may_pass(status)
    assert again(status, []) == 0.0
    assert again(status, [(b"retry-after", b"3")]) == 3.0
    assert again(status, [(b"retry-after", b"soon")]) == 0.0


@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404, 413, 415, 422, 501, 505])
def test_what_does_not_pass_is_not(status: int) -> None:
    assert not may_pass(status)
    assert again(status, []) is None
    assert again(status, [(b"retry-after", b"3")]) is None


def test_the_upstream_knows_better() -> None:
    assert again(500, [(b"x-should-retry", b"false"), (b"retry-after", b"1")]) is None
    assert again(400, [(b"x-should-retry", b"true")]) == 0.0
    assert again(400, [(b"x-should-retry", b"true"), (b"retry-after-ms", b"250")]) == 0.25
    assert again(500, [(b"x-should-retry", b"perhaps")]) == 0.0
    assert again(400, [(b"x-should-retry", b"perhaps")]) is None


def bucket(left: float, limit: float | None, reset: float) -> Bucket:
    """Told at NOW."""
    made = Bucket()
    made.told(left, limit, reset, NOW)
    return made


def test_a_bucket_of_which_nothing_is_known_has_room() -> None:
    made = Bucket()
    made.take(1_000_000)
    assert (made.wait(1, NOW), made.level(NOW)) == (0.0, inf)


def test_a_bucket_fills_evenly() -> None:
    made = bucket(0, 60, 60.0)
    assert [made.level(NOW + seconds) for seconds in (0, 1, 30, 60, 1000)] == [0, 1, 30, 60, 60]
    assert made.wait(1, NOW) == 1.0
    assert made.wait(10, NOW + 4) == 6.0
    assert made.wait(10, NOW + 10) == 0.0


def test_half_full_it_fills_by_what_is_missing() -> None:
    """OpenAI's reset is the time until all of it is back."""
    assert bucket(149_984, 150_000, 0.0064).wait(150_000, NOW) == pytest.approx(0.0064)
    assert bucket(30, 60, 10.0).wait(33, NOW) == pytest.approx(1.0)


def test_what_is_taken_is_missing() -> None:
    made = bucket(2, 60, 58.0)
    made.take(1)
    made.take(1)
    assert made.wait(1, NOW) == pytest.approx(1.0)
    made.take(1)
    assert made.wait(1, NOW) == pytest.approx(2.0), "below nothing: somebody waits for what comes first"


def test_without_a_limit_it_is_all_back_at_once() -> None:
    made = bucket(1, None, 5.0)
    assert made.wait(1, NOW) == 0.0
    made.take(1)
    assert made.wait(1, NOW + 2) == 3.0
    assert made.wait(1, NOW + 5) == 0.0


def test_more_than_the_limit_waits_until_it_is_full() -> None:
    assert bucket(40, 100, 60.0).wait(5000, NOW) == pytest.approx(60.0)
    assert bucket(100, 100, 0.0).wait(5000, NOW) == 0.0


@pytest.mark.parametrize(
    ("left", "limit", "reset"), [(0, 0, 0.0), (5, 0, 1.0), (60, 60, 1.0), (90, 60, 1.0), (0, 60, 0.0)]
)
def test_odd_words_keep_nobody_out(left: float, limit: float, reset: float) -> None:
    """A limit of nothing, more left than the limit, nothing left and nothing to wait for."""
    made = bucket(left, limit, reset)
    for seconds in (1, 30):
        assert made.wait(1, NOW + seconds) == 0.0
        assert made.level(NOW + seconds) >= 0.0


def test_what_waits_is_not_counted_twice_when_the_upstream_speaks() -> None:
    made = bucket(0, 60, 60.0)
    made.take(3)
    made.owed += 3
    made.told(1, 60, 59.0, NOW)
    assert made.left == -2
    made.owed -= 3
    made.told(1, 60, 59.0, NOW)
    assert made.left == 1


def told(**values: str) -> list[tuple[bytes, bytes]]:
    """`remaining_requests="1"` is `x-ratelimit-remaining-requests: 1`."""
    return [(f"x-ratelimit-{name.replace('_', '-')}".encode(), value.encode()) for name, value in values.items()]


def room(**values: str) -> Room:
    """Told at NOW."""
    made = Room()
    made.told(told(**values), NOW)
    return made


REQUESTS = {"limit_requests": "60", "remaining_requests": "0", "reset_requests": "1m0s"}
TOKENS = {"limit_tokens": "6000", "remaining_tokens": "100", "reset_tokens": "59s"}


def test_a_request_needs_room_for_itself_and_for_its_tokens() -> None:
    assert room(**REQUESTS).wait(1, NOW) == pytest.approx(1.0)
    assert room(**TOKENS).wait(100, NOW) == 0.0
    assert room(**TOKENS).wait(200, NOW) == pytest.approx(1.0)
    assert room(**REQUESTS, **TOKENS).wait(400, NOW) == pytest.approx(3.0)
    assert room(**REQUESTS, **TOKENS).wait(1, NOW) == pytest.approx(1.0)


def test_the_share_that_is_left_is_that_of_the_scarcer() -> None:
    assert Room().share(NOW) == 1.0
    assert room(**TOKENS).share(NOW) == pytest.approx(100 / 6000)
    assert room(**REQUESTS, **TOKENS).share(NOW) == 0.0
    assert room(**REQUESTS, **TOKENS).share(NOW + 60) == 1.0
    owing = room(**REQUESTS)
    owing.take(1)
    assert owing.share(NOW) == 0.0
    assert room(limit_requests="0", remaining_requests="0", reset_requests="1s").share(NOW) == 1.0


@pytest.mark.parametrize("value", NONSENSE)
@pytest.mark.parametrize("name", [b"remaining-requests", b"reset-requests"])
def test_nonsense_leaves_all_as_it_was(name: bytes, value: bytes) -> None:
    made = room(**REQUESTS)
    changed = dict(told(limit_requests="60", remaining_requests="50", reset_requests="1s"))
    changed[b"x-ratelimit-" + name] = value
    made.told(list(changed.items()), NOW)
    assert made.wait(1, NOW) == pytest.approx(1.0)


@pytest.mark.parametrize("value", NONSENSE)
def test_a_nonsensical_limit_is_none(value: bytes) -> None:
    made = Room()
    made.told([(b"x-ratelimit-limit-requests", value), *told(remaining_requests="0", reset_requests="5s")], NOW)
    assert made.wait(1, NOW) == 5.0


def test_a_part_of_the_headers_is_enough_for_its_part() -> None:
    made = room(remaining_tokens="0", reset_tokens="3s", remaining_requests="0")
    assert made.tokens.wait(1, NOW) == 3.0
    assert made.requests.wait(1, NOW) == 0.0
