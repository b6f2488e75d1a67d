"""What went wrong of late, each kind of failure once: who failed, with what, how often, and when last.

Only our own words are kept: what an upstream says may have a prompt in it.
"""

from typing import TYPE_CHECKING

from homeport import clock
from homeport.errors import HomeportError, UpstreamRefused
from homeport.gateway.watching import Aside, status_of
from homeport.wire.status import Incident

if TYPE_CHECKING:
    from homeport.gateway.ledger import Ending, Entry
    from homeport.store.usage_row import UsageRow

#: Kinds of failures; the one that has not happened for the longest goes first.
MOST = 50
_FAILED, _LIMITED = 500, 429
#: Characters of a model's name.
_LONGEST = 100


class Incidents:
    """A Watcher."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, int, str], Incident] = {}

    @property
    def latest(self) -> list[Incident]:
        """The latest first."""
        return list(self._found.values())[::-1]

    def tried(self, entry: "Entry", error: HomeportError, then: str) -> None:
        status = status_of(error)
        if status >= _FAILED or (status == _LIMITED and isinstance(error, UpstreamRefused)):
            self._note(entry.target.name if entry.target is not None else "", entry.name, status, _words(error))

    def ended(self, ending: "Ending", row: "UsageRow") -> None:
        """What fails before its first frame was tried."""
        if row.status >= _FAILED and ending.entry.first_at is not None:
            self._note(row.backend, row.model, row.status, "It failed in the midst of its answer.")

    def aside(self, aside: Aside) -> None:
        if aside.status >= _FAILED:
            message = _words(aside.error) if aside.error is not None else f"It was answered with {aside.status}."
            self._note("", aside.model[:_LONGEST], aside.status, message)

    def _note(self, backend: str, model: str, status: int, message: str) -> None:
        key, now = (backend, model, status, message), clock.now()
        found = self._found.pop(key, None) or Incident(backend, model, status, message, 0, now, now)
        found.count += 1
        found.last_at = now
        self._found[key] = found
        if len(self._found) > MOST:
            del self._found[next(iter(self._found))]


def _words(error: HomeportError) -> str:
    if isinstance(error, UpstreamRefused):
        return f"It answered with status {error.upstream_status}."
    return (
        error.message if type(error) is not HomeportError else "A fault of Homeport's own: the server's log says more."
    )
