"""`GET /v1/homeport/receipts/{request_id}`: what a request used, what it cost, and the arithmetic."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from homeport import clock
from homeport.api.json import json_answer
from homeport.api.openai import bearer_of
from homeport.errors import InvalidRequest, NotFound
from homeport.gateway.keyring import Keyring
from homeport.store.usage_rows import UsageRow
from homeport.wire.money import dollars

#: Seconds that somebody may wait for a receipt, and from one look for it to the next.
_LONGEST_WAIT, _LOOK_SECONDS = 30, 0.1

Find = Callable[[str], Awaitable[UsageRow | None]]


class Receipts:
    def __init__(self, keyring: Keyring, find: Find) -> None:
        self._keyring = keyring
        self._find = find

    async def retrieve(self, request: Request) -> Response:
        """Of a request of the caller's own project; the operator's key and admin keys see every one. `wait`: seconds
        that the receipt may take to come, where the answer has only just ended."""
        caller = self._keyring.anybody(bearer_of(request))
        request_id = request.path_params["request_id"]
        row = await self._within(_wait(request), request_id)
        if row is None or (caller.kind == "project" and row.project_id != caller.project):
            raise NotFound(
                f"There is no receipt for the request {request_id!r}. It is there once its answer has ended."
            )
        return json_answer(receipt(row))

    async def _within(self, seconds: float, request_id: str) -> UsageRow | None:
        end = clock.monotonic() + seconds
        while True:
            row = await self._find(request_id)
            if row is not None or clock.monotonic() >= end:
                return row
            await asyncio.sleep(_LOOK_SECONDS)


def _wait(request: Request) -> int:
    wait = request.query_params.get("wait", "0")
    if not wait.isdecimal() or not wait.isascii() or not int(wait[:9]) <= _LONGEST_WAIT:
        raise InvalidRequest(f"'wait' is a whole number of seconds, up to {_LONGEST_WAIT}: not {wait!r}.", param="wait")
    return int(wait)


def receipt(row: UsageRow) -> dict[str, Any]:
    """Amounts are exact decimals in text. `total` is null where nobody knows the price of the model; `saved` is what an
    answer from the cache would have cost; `listed` is what it costs at list price under the name that was asked for,
    null where no list has that."""
    return {
        "object": "homeport.receipt",
        "id": row.request_id,
        "request_id": row.request_id,
        "created_at": int(row.started_at),
        "project_id": row.project_id,
        "user_id": row.user_id or None,
        "api_key_id": row.key_id,
        "endpoint": row.endpoint,
        "model": row.model,
        "ran": row.ran,
        "backend": row.backend,
        "tries": row.tries,
        "stream": row.stream,
        "outcome": row.outcome,
        "status": row.status,
        "estimated": row.estimated,
        "cache_hit": row.cache_hit,
        "batch": row.batch,
        "service_tier": row.service_tier,
        "first_ms": row.first_ms,
        "total_ms": row.total_ms,
        "usage": {
            "input_tokens": row.input_tokens,
            "cached_tokens": row.cached_tokens,
            "cache_write_tokens": row.cache_write_tokens,
            "input_audio_tokens": row.input_audio_tokens,
            "input_image_tokens": row.input_image_tokens,
            "output_tokens": row.output_tokens,
            "output_audio_tokens": row.output_audio_tokens,
            "output_image_tokens": row.output_image_tokens,
            "images": row.images,
            "characters": row.characters,
            "milliseconds": row.milliseconds,
            "size": row.size or None,
        },
        "currency": "usd",
        "lines": [
            {
                "item": item,
                "quantity": quantity,
                "unit": unit,
                "unit_price": format(Decimal(unit_price), "f"),
                "amount": dollars(pico),
            }
            for item, quantity, unit, unit_price, pico in row.price_lines or ()
        ],
        "total": None if row.cost_pico is None else dollars(row.cost_pico),
        "saved": None if row.saved_pico is None else dollars(row.saved_pico),
        "listed": None if row.list_pico is None else dollars(row.list_pico),
        "price_rule": row.price_rule,
    }
