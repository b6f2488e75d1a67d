"""Money as text: picodollars (10^-12 of a US dollar) in, exact decimals out."""

PICO_PER_DOLLAR = 10**12
PICO_PER_NANO = 1000
#: Cents are what OpenAI's spend limits are told in; budgets are counted in nanodollars.
NANO_PER_CENT = 10_000_000


def dollars(pico: int) -> str:
    """A plain decimal of US dollars, exact, without trailing zeros: `0.000123`."""
    whole, rest = divmod(pico, PICO_PER_DOLLAR)
    return f"{whole}.{rest:012d}".rstrip("0").rstrip(".")
