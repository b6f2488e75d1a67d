"""Who signs in to the dashboard and out of it, in the audit log: OpenAI's `login.*` and `logout.*`.

Whoever fails needs no key, and must not fill the database: one row a minute of an address (of IPv6 its /64), and
`_MOST_AN_HOUR` of all, in each process. What fails in between is counted, and the address's next row says how many
times there were.
"""

import ipaddress
from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from typing import Final

from homeport import clock
from homeport.control.changes import Actor, Changes

_APART = 60.0
_HOUR = 3600.0
_MOST_AN_HOUR = 100
_MOST_ADDRESSES = 1000

_NO_KEY = "What was given is no key of this server, or one that does not hold any more."
_ELSEWHERE = "A page of another site asked for it."


class SignIns:
    """address: from which somebody comes, everywhere. Every method raises Unavailable."""

    def __init__(self, changes: Changes) -> None:
        self._changes: Final = changes
        self._failures: Final = Failures()

    async def succeeded(self, actor: Actor, address: str) -> None:
        await self._tell("login.succeeded", replace(actor, address=address))

    async def failed(self, address: str) -> None:
        """The key is none, so nobody is known."""
        await self._tell_failure("login.failed", Actor(address=address), "invalid_api_key", _NO_KEY)

    async def left(self, actor: Actor, address: str) -> None:
        await self._tell("logout.succeeded", replace(actor, address=address))

    async def stayed(self, actor: Actor, address: str) -> None:
        """Another site's page wanted somebody out."""
        await self._tell_failure("logout.failed", replace(actor, address=address), "cross_site_request", _ELSEWHERE)

    async def _tell_failure(self, kind: str, actor: Actor, code: str, message: str) -> None:
        attempts = self._failures.count(actor.address or "", clock.monotonic())
        if attempts:
            await self._tell(kind, actor, error_code=code, error_message=message, attempts=attempts)

    async def _tell(self, kind: str, actor: Actor, **details: str | int) -> None:
        async with self._changes.change(actor) as change:
            change.log(kind, actor.id, details=details)


@dataclass(slots=True)
class _Known:
    told_at: float
    untold: int = 0


class Failures:
    """Which of many is told of."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._told: deque[float] = deque(maxlen=_MOST_AN_HOUR)

    def count(self, address: str, now: float) -> int:
        """Of how many the row is that is to be written now; 0: none is."""
        network = _network(address)
        known = self._known.pop(network, None) or _Known(now - _APART)
        self._known[network] = known
        if len(self._known) > _MOST_ADDRESSES:
            self._known.popitem(last=False)
        known.untold += 1
        full = len(self._told) == _MOST_AN_HOUR and now - self._told[0] < _HOUR
        if full or now - known.told_at < _APART:
            return 0
        attempts, known.untold, known.told_at = known.untold, 0, now
        self._told.append(now)
        return attempts


def _network(address: str) -> str:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)
