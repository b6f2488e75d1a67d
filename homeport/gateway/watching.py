"""Who is told of every request, once, when it has ended: metrics, the access log, traces.

    admitted                     the ledger tells, with the row that it writes                      ended
    refused at admission         the straight line does                                             aside
    refused before, replayed,    whoever answered it: the exchange, or what is outside of it        aside
    or no inference at all

Watchers are called in the event loop, one after the other, and must not wait.
"""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from homeport.errors import HomeportError, UpstreamRefused

if TYPE_CHECKING:
    from homeport.gateway.keyring import Principal
    from homeport.gateway.ledger import Ending, Entry
    from homeport.store.usage_row import UsageRow

log = logging.getLogger("homeport.watching")

#: Of a request whose client left before it was answered: nobody has seen it.
LEFT = 499


class Aside(NamedTuple):
    """A request without an entry in the ledger.

    endpoint: of the table of endpoints, or the pattern of its path; empty where nobody answers. model: as it was asked
    for; empty where that is not known. error: what it was refused with. seconds: that it took. batch: it is
    the line of one.
    """

    request_id: str
    endpoint: str
    method: str
    model: str
    principal: "Principal | None"
    status: int
    error: HomeportError | None
    seconds: float
    batch: bool = False


class Watcher(Protocol):
    def ended(self, ending: "Ending", row: "UsageRow") -> None: ...

    def aside(self, aside: Aside) -> None: ...

    def tried(self, entry: "Entry", error: HomeportError, then: str) -> None:
        """A target has failed. then: `retry` it, `fallback` to the next, or `none`: the client gets the error."""
        ...


class Watchers:
    """All of them as one. One that fails is said in the log, and nobody's request fails with it.

    running: requests that were admitted and have not ended.
    """

    def __init__(self, watchers: Sequence[Watcher] = ()) -> None:
        self._watchers = tuple(watchers)
        self._ended = tuple([watcher.ended for watcher in self._watchers])
        self.running = 0

    def ended(self, ending: "Ending", row: "UsageRow") -> None:
        for tell in self._ended:
            try:
                tell(ending, row)
            except Exception as error:
                _say(error)

    def aside(self, aside: Aside) -> None:
        for watcher in self._watchers:
            try:
                watcher.aside(aside)
            except Exception as error:
                _say(error)

    def tried(self, entry: "Entry", error: HomeportError, then: str) -> None:
        for watcher in self._watchers:
            try:
                watcher.tried(entry, error, then)
            except Exception as failure:
                _say(failure)


def _say(error: Exception) -> None:
    log.error("what watches requests has failed", exc_info=error)


def status_of(error: BaseException | None) -> int:
    """What the client saw, or would have."""
    if error is None:
        return 200
    if isinstance(error, UpstreamRefused):
        return error.upstream_status
    if isinstance(error, HomeportError):
        return error.status
    return 500 if isinstance(error, Exception) else LEFT
