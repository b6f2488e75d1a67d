"""What the ledger writes down of a request, and that a record fits its slot whatever clients call things."""

import msgspec
import pytest

from homeport.backends.capabilities import Usage
from homeport.gateway import ledger
from homeport.gateway.ledger import LONGEST_NAME, Opening, dollars, nano, short, units
from homeport.gateway.pricing import Line
from homeport.store.journal import LARGEST_CLOSING, LARGEST_OPENING
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
        2**40,
        2**40,
        2**60,
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
        outcome="completed",
        cost_pico=2**60,
        price_lines=lines,
        price_rule=f"{text}@2024-10-02 genai-prices 0.2.3",
    )
    assert len(ledger._record(row)) <= LARGEST_CLOSING


def test_classes_of_tokens_are_disjoint_and_add_up() -> None:
    used = units(Usage(prompt=100, completion=50, cached=30, input_audio=20, output_audio=10))
    assert (used.input, used.cached, used.input_audio) == (50, 30, 20)
    assert (used.output, used.output_audio) == (40, 10)
    assert used.prompt == 100


@pytest.mark.parametrize(
    ("pico", "text"),
    [(0, "0"), (1, "0.000000000001"), (73_500_000, "0.0000735"), (10**12, "1"), (12_340 * 10**9, "12.34")],
)
def test_dollars_are_exact(pico: int, text: str) -> None:
    assert dollars(pico) == text


def test_a_budget_is_never_counted_short() -> None:
    assert [nano(pico) for pico in (None, 0, 1, 999, 1000, 1001)] == [0, 0, 1, 1, 1, 2]
