"""Where a long sound is cut, and what becomes of silence."""

import numpy as np
import pytest

from homeport.backends.hearing import RATE
from homeport.backends.local.windows import Cutting, Window, Windows
from tests.sounds import Ears, silence, tone


def windows(*parts: "np.ndarray", cutting: Cutting | None = None, piece: int = 7001) -> list[Window]:
    """Fed in pieces of an odd size."""
    cut = Windows(Ears().speech(), seconds=30.0, cutting=cutting)
    samples = np.concatenate(parts)
    found: list[Window] = []
    for at in range(0, len(samples), piece):
        found += cut.feed(samples[at : at + piece])
    return found + cut.finish()


def lasts(window: Window) -> float:
    return len(window.samples) / RATE


def test_a_short_one_is_a_window_with_its_silences() -> None:
    (one,) = windows(tone(2), silence(1), tone(2))
    assert lasts(one) == pytest.approx(5, abs=0.04)
    assert one.at(3.5) == 3.5
    assert one.at(0) == 0
    assert one.spoken == pytest.approx(5, abs=0.04)


def test_silence_around_it_is_left_out() -> None:
    (one,) = windows(silence(10), tone(2), silence(10))
    assert lasts(one) == pytest.approx(2.8, abs=0.1)
    assert one.at(0) == pytest.approx(9.6, abs=0.05)
    assert one.spoken == pytest.approx(2.4, abs=0.05)
    assert one.at(1.0) == pytest.approx(10.6, abs=0.05)
    assert one.end == pytest.approx(12.4, abs=0.05)


def test_long_silence_within_it_is_left_out_and_times_are_the_files() -> None:
    (one,) = windows(tone(3), silence(20), tone(3), silence(5), tone(2))
    assert lasts(one) == pytest.approx(8 + 2 * 0.8, abs=0.2)
    assert one.at(1.0) == pytest.approx(1.0, abs=0.05)
    assert one.at(3 + 0.8 + 1.0) == pytest.approx(24.0, abs=0.1)
    assert one.end == pytest.approx(33.0, abs=0.1)


def test_a_long_one_is_cut_in_its_silences() -> None:
    parts = [part for _ in range(20) for part in (tone(8), silence(0.6))]
    found = windows(*parts)
    assert all(lasts(one) <= 30 for one in found)
    assert sum(map(lasts, found)) == pytest.approx(20 * 8.6, abs=0.5)
    for one in found[1:]:
        begin = one.at(0) % 8.6
        assert 8.0 < begin < 8.6, "in the silence"
    assert len(found) == 7  # three of them in a window


def test_without_any_silence_it_is_cut_all_the_same() -> None:
    found = windows(tone(95))
    assert all(lasts(one) <= 30 for one in found)
    assert [one.at(0) for one in found[1:]] == pytest.approx([one.end for one in found[:-1]], abs=0.001)
    assert found[-1].end == pytest.approx(95, abs=0.04)


def test_of_silence_there_is_no_window() -> None:
    assert windows(silence(100)) == []
    assert windows(silence(0.01)) == []


def test_what_is_told_where_to_end() -> None:
    cutting = Cutting(before=0.1, after=0.1, silence=0.5, ends=True)
    found = windows(tone(1), silence(0.3), tone(1), silence(0.7), tone(1), silence(0.7), cutting=cutting)
    assert [round(lasts(one), 1) for one in found] == pytest.approx([2.4, 1.2], abs=0.11)
    assert found[1].at(0) == pytest.approx(2.9, abs=0.05)


def test_what_was_not_heard_comes_again() -> None:
    """With what follows, and in windows that are no longer than others."""
    cut = Windows(Ears().speech(), seconds=30.0)
    found = cut.feed(np.concatenate([tone(28), silence(1), tone(29)]))
    (first,) = found
    assert first.end == pytest.approx(28.5, abs=0.05)
    cut.give_back(25.0)
    second, third = cut.finish()
    assert second.at(0) == pytest.approx(25.0, abs=0.04)
    assert lasts(second) <= 30
    assert third.at(0) == pytest.approx(second.end, abs=0.001)
    assert third.end == pytest.approx(58, abs=0.04)
    cut = Windows(Ears().speech(), seconds=30.0)
    (first,) = cut.feed(np.concatenate([tone(28), silence(1), tone(2), silence(5)]))
    cut.give_back(20.0)
    (second,) = cut.finish()
    assert (second.at(0), second.end) == pytest.approx((20.0, 31.4), abs=0.1)


def test_nothing_is_lost_or_doubled() -> None:
    """Whatever the pattern, windows follow one another, and every loud moment is in one."""
    dice = np.random.default_rng(3)
    for _ in range(10):
        parts = [tone(d) if at % 2 else silence(d) for at, d in enumerate(dice.exponential(2.0, 40))]
        samples = np.concatenate(parts)
        heard = np.zeros(len(samples) + RATE, np.int8)
        for one in windows(samples):
            ends = [here for here, _ in one.begins[1:]] + [len(one.samples)]
            for (here, there), end in zip(one.begins, ends, strict=True):
                heard[there : there + end - here] += 1
        assert heard.max() == 1
        assert heard[: len(samples)][np.abs(samples) > 0.1].min() == 1
