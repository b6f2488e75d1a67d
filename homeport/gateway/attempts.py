"""Trying targets in order until one begins to answer. After the first byte there is no way back."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from homeport.backends.capabilities import Call, Frame
from homeport.errors import HomeportError, Unavailable, UpstreamFailed, UpstreamRefused
from homeport.gateway.endpoints import Endpoint
from homeport.gateway.routing import Target

if TYPE_CHECKING:
    from homeport.gateway.ledger import Entry

_ANOTHER_MAY_DO_BETTER = frozenset({408, 409, 429, 500, 502, 503, 504})


def answer(endpoint: Endpoint, targets: Sequence[Target], call: Call, entry: "Entry") -> AsyncGenerator[Frame, None]:
    """The frames of the first target that gives one. Raises the last target's refusal when none does."""
    if len(targets) == 1:
        return _ask(endpoint, targets[0], call, entry)
    return _first_to_answer(endpoint, targets, call, entry)


def _ask(endpoint: Endpoint, target: Target, call: Call, entry: "Entry") -> AsyncGenerator[Frame, None]:
    call.model = target.model
    entry.target = target
    return endpoint.answer(target.backend, call)


async def _first_to_answer(
    endpoint: Endpoint, targets: Sequence[Target], call: Call, entry: "Entry"
) -> AsyncGenerator[Frame, None]:
    for place, target in enumerate(targets, start=1):
        try:
            answer = _ask(endpoint, target, call, entry)
            first = await anext(answer)
        except HomeportError as error:
            if place < len(targets) and worth_another(error):
                continue
            raise
        async with aclosing(answer):
            yield first
            async for frame in answer:
                yield frame
            return


def worth_another(error: HomeportError) -> bool:
    """The fault is the target's, not the request's."""
    if isinstance(error, UpstreamRefused):
        return error.upstream_status in _ANOTHER_MAY_DO_BETTER
    return isinstance(error, UpstreamFailed | Unavailable)
