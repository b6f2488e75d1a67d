"""A row of the ledger, as it is made when a request ends."""

from collections.abc import Sequence
from decimal import Decimal

import msgspec


class UsageRow(msgspec.Struct, array_like=True, kw_only=True, frozen=True, gc=False):
    """What is kept of a request: the columns of `usage`, in their order; what they mean stands there.

    status: 0 when none was sent. price_lines: line item, quantity, unit, dollars a unit, picodollars; together they are
    the cost.
    """

    request_id: str
    started_at: float
    ended_at: float
    key_id: str
    project_id: str
    user_id: str
    endpoint: str
    page: str
    model: str
    ran: str
    backend: str = ""
    stream: bool = False
    batch: bool = False
    service_tier: str = "default"
    cache_hit: bool = False
    outcome: str
    status: int = 0
    estimated: bool = False
    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    input_audio_tokens: int = 0
    input_image_tokens: int = 0
    output_tokens: int = 0
    output_audio_tokens: int = 0
    output_image_tokens: int = 0
    images: int = 0
    characters: int = 0
    milliseconds: int = 0
    size: str = ""
    cost_pico: int | None = None
    saved_pico: int | None = None
    price_lines: Sequence[tuple[str, int, str, Decimal, int]] | None = None
    price_rule: str | None = None
    first_ms: int = 0
    total_ms: int = 0
    tries: int = 0
    list_pico: int | None = None
