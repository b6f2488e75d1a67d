"""What `homeport fine-tune` draws."""

import re
import time
from collections.abc import Iterator

import pytest

from homeport.fine_tune import curve
from homeport.fine_tune.frame import frame, plain
from homeport.fine_tune.progress import Progress
from tests.fine_tune.jobs import CREATED, job, message, metrics, progress

NOW = CREATED + 100.0
GOLDEN = """\
ftjob-0123456789abcdefghijklmn  gpt-4o-mini
running  step 40/60  about 1 min 35 s left  67%  ███████████████░░░░░░░
n_epochs 3  batch_size 2  learning_rate_multiplier 1.0  seed 42

loss     train 0.3748  valid 0.4722
  2.333 ┤ ⠉⢢
        ┤   ⠉⠉⢢
        ┤      ⠉⠉⠱⣀⣒⠤⣀⡀
        ┤           ⠑⠤⠬⢍⡒⠤⢄⣀
        ┤               ⠈⠉⠉⠢⠭⠶⡒⠤⠤⣀⣀
        ┤                     ⠈⠉⠉⠢⠤⠝⢍⣒⣒⡤⠤⠤⣀⣀⣀
  0.341 ┤                              ⠈⠉⠉⠉⠒⠒⠛⠭⠭⠳⣒⡂
        └0───────────────────────────────────────────────────────────60

accuracy  train 0.9153  valid 0.6778
  0.915 ┤          ⠤⠤⠤⣀⣀⣀⣀⣀        ⢀⣀⣀⡠⠤⠤⠤⠤⠒⠒⠒⠒⠉⠉⠉⠁
        ┤                  ⢉⣉⡩⠭⠖⠒⠮⠭⣁⣀
        ┤             ⣀⠤⠒⠒⠊⠁         ⠉⠉⠒⠒⠤⢄⣀⡀
        ┤         ⣀⠤⠒⠉                      ⠈⠉⠒⠒⠤⢄⡀
        ┤      ⡠⠒⠉
        ┤   ⣀⠔⠉
  0.482 ┤ ⡠⠊
        └0───────────────────────────────────────────────────────────60

08:00:00  Created fine-tuning job: ftjob-0123456789abcdefghijklmn
08:00:02  Fine-tuning job started
08:00:40  Checkpoint created at step 40
08:00:41  The disk is nearly full
"""
_COLOUR = re.compile(r"\x1b\[\d+m")


@pytest.fixture(autouse=True)
def greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_job_that_is_half_done() -> None:
    lines = frame(progress(), columns=72, rows=30, now=NOW, colours=False)
    assert "\n".join(lines) + "\n" == GOLDEN


def test_colours_change_no_letter() -> None:
    lines = frame(progress(), columns=72, rows=30, now=NOW)
    assert _COLOUR.sub("", "\n".join(lines)) + "\n" == GOLDEN
    assert "\x1b[36mtrain" in lines[4]
    assert "\x1b[33mvalid" in lines[4]


@pytest.mark.parametrize("columns", [20, 41, 80, 200])
@pytest.mark.parametrize("rows", [1, 4, 9, 14, 24, 60])
def test_it_fits_into_the_terminal(columns: int, rows: int) -> None:
    shown = progress(estimated_finish=None)
    shown.trouble = "x" * 300
    shown.add(message(50, "y" * 300))
    lines = frame(shown, columns=columns, rows=rows, now=NOW, colours=False)
    assert len(lines) <= max(1, rows - 1)
    assert all(len(line) < max(columns, 40) for line in lines)


def test_a_job_of_which_nothing_is_known_yet() -> None:
    lines = frame(Progress(job(status="validating_files", estimated_finish=None)), columns=80, rows=24, now=NOW)
    assert "validating_files" in lines[1]
    assert len(lines) == 4


def test_one_step_is_a_point_and_no_line() -> None:
    shown = Progress(job())
    shown.add(metrics(1))
    text = "\n".join(frame(shown, columns=80, rows=24, now=NOW, colours=False))
    assert sum(0x2800 < ord(one) < 0x2900 for one in text) == 2


def test_a_step_that_is_told_of_twice_counts_as_it_was_last() -> None:
    shown = Progress(job())
    shown.add(metrics(1))
    again = metrics(1)
    shown.add({**again, "id": "ftevent-again", "data": {**again["data"], "train_loss": 9.0}})
    assert not shown.add(metrics(1))
    assert "train 9.0000" in "\n".join(frame(shown, columns=80, rows=24, now=NOW, colours=False))


def test_what_a_terminal_would_obey_is_not_shown() -> None:
    evil = message(60, "\x1b[2Jgone\nand\x9b1mbold\x07")
    shown = progress()
    shown.add(evil)
    for line in [*frame(shown, columns=80, rows=40, now=NOW, colours=False), plain(evil)]:
        assert line.isprintable()


def test_plain_lines() -> None:
    assert plain(metrics(10, valid=True)) == (
        "08:00:10  step 10/60  train loss 1.5057  valid loss 1.6481  train accuracy 0.6933  valid accuracy 0.8861"
    )
    assert plain(message(2, "Fine-tuning job started")) == "08:00:02  Fine-tuning job started"
    assert plain({**metrics(3), "data": {"step": 3, "train_loss": True}}) == "08:00:03  step 3"


def test_the_highest_is_at_the_top_and_the_last_at_the_right() -> None:
    rows = curve.cells([[(0.0, 0.0), (9.0, 10.0)]], columns=5, rows=2, right=9.0)
    assert ["".join(cell.text for cell in row) for row in rows] == ["  ⢀⠤⠊", "⡠⠒⠁  "]
