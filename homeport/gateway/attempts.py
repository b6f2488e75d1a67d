"""Trying targets in order until one begins to answer. After the first byte there is no way back."""

from typing import TYPE_CHECKING

from homeport.backends.capabilities import Answer
from homeport.errors import HomeportError, Unavailable, UpstreamFailed, UpstreamRefused

if TYPE_CHECKING:
    from homeport.gateway.ledger import Entry

_ANOTHER_MAY_DO_BETTER = frozenset({408, 409, 429, 500, 502, 503, 504})


async def answer(entry: "Entry") -> Answer:
    """Of the first target that gives one. Raises the last target's refusal when none does."""
    call = entry.call
    for target in entry.targets:
        call.model = target.model
        entry.target = target
        try:
            return await entry.endpoint.answer(target.backend, call)
        except HomeportError as error:
            if target is entry.targets[-1] or not worth_another(error):
                raise
    raise AssertionError("a name has one target at least")


def worth_another(error: HomeportError) -> bool:
    """The fault is the target's, not the request's."""
    if isinstance(error, UpstreamRefused):
        return error.upstream_status in _ANOTHER_MAY_DO_BETTER
    return isinstance(error, UpstreamFailed | Unavailable)
