"""Asking targets, in order and again where that is safe, until one begins to answer. After that there is no way back.

A backend says whether the same request may be sent to it again (`HomeportError.again`); how often and when is the
target's `Retries`; whether another target may do better is decided here. While another one is left, none is waited for
that asks to be left alone for longer than a moment.
"""

import logging
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from homeport import clock
from homeport.backends.capabilities import Answer
from homeport.errors import HomeportError, Unavailable, UpstreamFailed, UpstreamRefused

if TYPE_CHECKING:
    from homeport.gateway.ledger import Entry
    from homeport.gateway.routing import Target

log = logging.getLogger("homeport.attempts")

#: Seconds that a target is waited for while another one is left.
PATIENCE = 0.25
_ANOTHER_MAY_DO_BETTER = frozenset({408, 409, 429, 500, 502, 503, 504})


class _Refusal(NamedTuple):
    target: "Target"
    error: HomeportError

    def tells_more_than(self, other: "_Refusal") -> bool:
        """What an upstream said tells more than that it cannot be reached. Of two alike, the one that says that it will
        be over sooner, or the later one."""
        said, others = _said(self.error), _said(other.error)
        if said != others:
            return said > others
        return _retry_after(self.error) <= _retry_after(other.error)


async def answer(entry: "Entry") -> Answer:
    """Of the first target that gives one. Raises the most telling refusal when none does."""
    call, targets = entry.call, entry.targets
    telling: _Refusal | None = None
    try:
        for target in targets:
            call.model = target.model
            entry.target = target
            retries = target.retries
            if entry.started < retries.ends:
                retries.requests += 1
            else:
                retries.count(entry.started)
            if len(targets) > 1:
                call.patience = PATIENCE if target is not targets[-1] else inf
            tried = 0
            while True:
                try:
                    return await entry.endpoint.answer(target.backend, call)
                except HomeportError as error:
                    tried += 1
                    now, patience = clock.monotonic(), call.patience
                    wait = retries.wait(error, tried, began=entry.started, now=now, patience=patience)
                    _log(entry, error, tried, wait)
                    entry.tried(error, _then(error, wait, others=target is not targets[-1]))
                    if wait is None:
                        if len(targets) == 1 or not worth_another(error):
                            raise
                        refusal = _Refusal(target, error)
                        if telling is None or refusal.tells_more_than(telling):
                            telling = refusal
                        del refusal
                        break
                await clock.sleep(wait)
        assert telling is not None, "a name has one target at least"
        entry.target, call.model = telling.target, telling.target.model
        raise telling.error
    finally:
        telling = None  # its traceback leads here


def _then(error: HomeportError, wait: float | None, *, others: bool) -> str:
    if wait is not None:
        return "retry"
    return "fallback" if others and worth_another(error) else "none"


def worth_another(error: HomeportError) -> bool:
    """The fault is the target's, not the request's."""
    if isinstance(error, UpstreamRefused):
        return error.upstream_status in _ANOTHER_MAY_DO_BETTER
    return isinstance(error, UpstreamFailed | Unavailable)


def _said(error: HomeportError) -> bool:
    return isinstance(error, UpstreamRefused)


def _retry_after(error: HomeportError) -> float:
    value = dict(error.headers).get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 10 else inf


def _log(entry: "Entry", error: HomeportError, tried: int, wait: float | None) -> None:
    """Nothing that the upstream said: there may be a prompt in it."""
    if not log.isEnabledFor(logging.INFO) or not isinstance(error, UpstreamRefused | UpstreamFailed):
        return
    what = f"status {error.upstream_status}" if isinstance(error, UpstreamRefused) else error.code
    name = entry.target.name if entry.target is not None else ""
    then = "given up" if wait is None else f"again in {wait:.2f} s"
    log.info("%s: try %d at %s: %s, %s", entry.call.request_id, tried, name, what, then)
