"""How far it is: one moving line on a terminal, few plain lines elsewhere."""

import io

import pytest

from homeport.backends.weights.progress import Progress
from tests import clocks


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_every_tenth_where_nobody_watches() -> None:
    out = io.StringIO()
    progress = Progress("m.gguf", 1000, out=out)
    for done in range(0, 1001, 5):
        progress.at(done)
    progress.done(1000)
    lines = out.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == [str(tenth * 10) for tenth in range(11)]
    assert "\r" not in out.getvalue()


def test_one_moving_line_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    clocks.own(monkeypatch, "backends.weights.progress", monotonic=lambda: now[0])
    out = Terminal()
    progress = Progress("m.gguf", 4_000_000, out=out)
    for done in range(0, 4_000_001, 1_000_000):
        progress.at(done)
        progress.at(done)
        now[0] += 1
    progress.done(4_000_000)
    shown = out.getvalue().split("\r\x1b[K")[1:]
    assert len(shown) == 6
    assert "2.0 of 4.0 MB  1.0 MB/s  2 s left" in shown[2]
    assert out.getvalue().count("\n") == 1


def test_an_unknown_length() -> None:
    out, terminal = io.StringIO(), Terminal()
    for stream in (out, terminal):
        progress = Progress("m.gguf", 0, out=stream)
        progress.at(500_000)
        progress.done(1_500_000)
    assert out.getvalue() == ""
    assert "1.5 MB" in terminal.getvalue()
    assert "%" not in terminal.getvalue()


def test_what_was_here_already_does_not_count_as_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    clocks.own(monkeypatch, "backends.weights.progress", monotonic=lambda: now[0])
    out = Terminal()
    progress = Progress("m.gguf", 100_000_000, out=out)
    progress.at(90_000_000)
    now[0] = 1.0
    progress.at(91_000_000)
    assert "1.0 MB/s  9 s left" in out.getvalue()
