"""What the ledger writes down of a request, and that a record fits its slot whatever clients call things."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from homeport.backends.capabilities import Usage
from homeport.gateway import ledger
from homeport.gateway.ledger import LONGEST_NAME, Ledger, Opening, nano, short, units
from homeport.gateway.pricing import Line, Prices
from homeport.store.journal import LARGEST_CLOSING, LARGEST_OPENING, Journal
from homeport.store.usage_batch import COUNTS
from homeport.store.usage_row import UsageRow

NAMES = ["gpt-4o", "m" * 500, "模" * 500, "🏡" * 40, "\ud800" * 90]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_cut_to_whole_characters(name: str) -> None:
    cut = short(name)
    assert len(cut.encode()) <= LONGEST_NAME
    assert name.encode(errors="replace").decode().startswith(cut)


@pytest.mark.parametrize("name", NAMES)
def test_a_record_fits_its_slot(name: str) -> None:
    text = short(name)
    opening = Opening(
        "req_" + "0" * 32,
        1.5e9,
        text,
        "proj_" + "x" * 24,
        "svc_acct_" + "x" * 24,
        "audio.transcriptions",
        "audio_transcriptions",
        text,
        text,
        True,
        True,
        2**40,
        2**40,
        2**60,
        True,
        2**40,
        2**40,
    )
    assert len(msgspec.msgpack.encode(opening)) <= LARGEST_OPENING
    lines = tuple(Line(f"{text}, cached input", 2**40, "tokens", ledger.PICO_PER_NANO, 2**60) for _ in range(9))  # type: ignore[arg-type]
    row = UsageRow(
        request_id="req_" + "0" * 32,
        started_at=1.5e9,
        ended_at=1.5e9,
        key_id=text,
        project_id="proj_" + "x" * 24,
        user_id="svc_acct_" + "x" * 24,
        endpoint="audio.transcriptions",
        page="audio_transcriptions",
        model=text,
        ran=text,
        backend=text,
        service_tier=text,
        outcome="completed",
        **dict.fromkeys(COUNTS, 2**40),  # type: ignore[arg-type]
        cost_pico=2**60,
        price_lines=lines,
        price_rule=f"{text}@2024-10-02 genai-prices 0.2.3",
        tries=2**20,
        list_pico=2**60,
    )
    assert len(ledger._record(row)) <= LARGEST_CLOSING


@pytest.mark.parametrize(("local", "cost"), [(False, 1000 * 30_000_000 + 10 * 60_000_000), (True, None)])
def test_a_killed_request_of_a_model_that_is_called_what_a_hosted_one_is(
    tmp_path: Path, local: bool, cost: int | None
) -> None:
    """gpt-4 costs 30 and 60 dollars a million tokens, and nobody knows what one of this machine does."""
    opening = Opening(
        "req_1",
        1.73e9,
        "key_1",
        "p",
        "",
        "chat.completions",
        "completions",
        "gpt-4",
        "gpt-4",
        local,
        False,
        1000,
        10,
        0,
    )
    killed = Journal(tmp_path)
    killed.open(msgspec.msgpack.encode(opening))
    killed.shut()
    journal = Journal(tmp_path)
    nothing: Any = None
    (row,) = Ledger(nothing, journal, Prices.load()).recover()
    journal.shut()
    assert (row.outcome, row.estimated, row.cost_pico) == ("killed", True, cost)
    assert row.list_pico == 1000 * 30_000_000 + 10 * 60_000_000, "whoever it is that is called so"


@pytest.mark.parametrize(
    ("batch", "money", "cost"),
    [
        (False, 0, 1000 * 2_500_000 + 10 * 10_000_000),
        (True, 0, 1000 * 1_250_000 + 10 * 5_000_000),
        (True, 7, 7 * ledger.PICO_PER_NANO),
    ],
)
def test_a_killed_line_of_a_batch_costs_half(tmp_path: Path, batch: bool, money: int, cost: int) -> None:
    """As it would have ended; gpt-4o costs 2.50 and 10 dollars a million tokens."""
    names = ("req_1", 1.7345e9, "key_1", "p", "", "chat.completions", "completions", "gpt-4o", "gpt-4o")
    opening = Opening(*names, False, False, 1000, 10, money, batch)
    assert recovered(tmp_path, msgspec.msgpack.encode(opening)) == (batch, cost)


def test_a_killed_request_to_hear_costs_by_the_second(tmp_path: Path) -> None:
    """What of it was heard nobody knows; whisper-1 costs 0.6 cents a minute."""
    names = (
        "req_1",
        1.7345e9,
        "key_1",
        "p",
        "",
        "audio.transcriptions",
        "audio_transcriptions",
        "whisper-1",
        "whisper-1",
    )
    opening = Opening(*names, False, False, 0, 0, 0, milliseconds=60_000)
    assert recovered(tmp_path, msgspec.msgpack.encode(opening)) == (False, 6_000_000_000)


def test_a_killed_request_to_draw_costs_its_pictures(tmp_path: Path) -> None:
    """By the picture, or by the tokens that they may have been."""
    names = ("req_1", 1700000000.0, "key_1", "proj_1", "user-1", "images.generations", "images", "dall-e-3", "dall-e-3")
    opening = Opening(*names, False, False, 0, 0, 0, images=2, size="hd 1024x1792")
    assert recovered(tmp_path, msgspec.msgpack.encode(opening)) == (False, 240_000_000_000)


def test_what_the_release_before_batches_left_behind_is_read(tmp_path: Path) -> None:
    names = ("req_1", 1.7345e9, "key_1", "p", "", "chat.completions", "completions", "gpt-4o", "gpt-4o")
    before = msgspec.msgpack.encode((*names, False, False, 1000, 10, 5))
    assert recovered(tmp_path, before) == (False, 5 * ledger.PICO_PER_NANO)


def recovered(folder: Path, left: bytes) -> tuple[bool, int | None]:
    """Of a killed request: was it a line, and its cost."""
    killed = Journal(folder)
    killed.open(left)
    killed.shut()
    journal = Journal(folder)
    nothing: Any = None
    (row,) = Ledger(nothing, journal, Prices.load()).recover()
    journal.shut()
    assert row.outcome == "killed"
    return row.batch, row.cost_pico


def test_classes_of_tokens_are_disjoint_and_add_up() -> None:
    usage = Usage(100, 50, cached=30, cache_write=15, input_audio=20, input_image=5, output_audio=10)
    used = units(usage)
    assert (used.input, used.cached, used.cache_write, used.input_audio, used.input_image) == (30, 30, 15, 20, 5)
    assert (used.output, used.output_audio) == (40, 10)
    assert used.prompt == 100


def test_a_budget_is_never_counted_short() -> None:
    assert [nano(pico) for pico in (None, 0, 1, 999, 1000, 1001)] == [0, 0, 1, 1, 1, 2]
