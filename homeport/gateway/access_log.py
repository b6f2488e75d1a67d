"""The access log: a line for each request, with what the ledger knows of it; no prompt, answer, key or header."""

import logging
from typing import TYPE_CHECKING, Any

from homeport.errors import HomeportError
from homeport.gateway.watching import Aside

if TYPE_CHECKING:
    from homeport.gateway.ledger import Ending, Entry
    from homeport.store.usage_row import UsageRow

log = logging.getLogger("homeport.access")

#: Asked every few seconds by machines: their lines would bury the others.
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
PICO = 10**12
#: Characters of a model's name that nobody knows.
LONGEST_NAME = 80


class AccessLog:
    """A Watcher."""

    def __init__(self) -> None:
        log.setLevel(logging.INFO)  # it was asked for, whatever else is said

    def ended(self, ending: "Ending", row: "UsageRow") -> None:
        prompt = row.input_tokens + row.cached_tokens + row.cache_write_tokens
        fields: dict[str, Any] = {
            "request_id": row.request_id,
            "endpoint": row.endpoint,
            "model": row.model,
            "ran": row.ran,
            "upstream": row.backend or None,
            "status": row.status,
            "outcome": row.outcome,
            "stream": row.stream,
            "ms": row.total_ms,
            "first_ms": row.first_ms if ending.entry.first_at is not None else None,
            "input_tokens": prompt + row.input_audio_tokens + row.input_image_tokens,
            "cached_tokens": row.cached_tokens,
            "output_tokens": row.output_tokens + row.output_audio_tokens + row.output_image_tokens,
            "cost_usd": row.cost_pico / PICO if row.cost_pico is not None else None,
            "cache_hit": row.cache_hit,
            "batch": row.batch,
            "failed_tries": ending.entry.tries,
            "key_id": row.key_id,
            "project_id": row.project_id,
        }
        log.info("request", extra={"fields": fields})

    def aside(self, aside: Aside) -> None:
        if aside.endpoint in PROBES:
            return
        principal = aside.principal
        fields: dict[str, Any] = {
            "request_id": aside.request_id,
            "method": aside.method,
            "endpoint": aside.endpoint or None,
            "model": aside.model[:LONGEST_NAME] or None,
            "status": aside.status,
            "code": aside.error.code if aside.error is not None else None,
            "ms": round(aside.seconds * 1000),
            "batch": aside.batch,
            "key_id": principal.key_id if principal is not None else None,
            "project_id": principal.project if principal is not None else None,
        }
        log.info("request", extra={"fields": fields})

    def tried(self, entry: "Entry", error: HomeportError, then: str) -> None:
        """attempts.py has a line of its own for it."""
