"""Trying targets in order until one begins to answer. After the first byte there is no way back."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from homeport.backends.capabilities import Call, Frame
from homeport.errors import HomeportError, Unavailable, UpstreamFailed, UpstreamRefused
from homeport.gateway.endpoints import Endpoint
from homeport.gateway.ledger import Entry
from homeport.gateway.routing import Target

_ANOTHER_MAY_DO_BETTER = frozenset({408, 409, 429, 500, 502, 503, 504})


async def first_to_answer(
    endpoint: Endpoint, targets: Sequence[Target], call: Call, entry: Entry
) -> AsyncGenerator[Frame, None]:
    """The frames of the first target that gives one. Raises the last target's refusal when none does."""
    for place, target in enumerate(targets, start=1):
        call.model = target.model
        entry.target = target
        try:
            answer = endpoint.answer(target.backend, call)
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
