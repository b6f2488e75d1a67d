from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.wire.money import dollars


@pytest.mark.parametrize(
    ("pico", "text"),
    [(0, "0"), (1, "0.000000000001"), (73_500_000, "0.0000735"), (10**12, "1"), (12_340 * 10**9, "12.34")],
)
def test_dollars_are_exact(pico: int, text: str) -> None:
    assert dollars(pico) == text


@given(st.integers(0, 10**24))
def test_no_digit_is_lost_and_none_is_added(pico: int) -> None:
    assert Decimal(dollars(pico)) * 10**12 == pico
    assert dollars(pico) == format(Decimal(pico).scaleb(-12).normalize(), "f")
