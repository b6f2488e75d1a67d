"""The straight line: the one way from an authenticated request to an answer.

access     the key may call this endpoint and use this model
routing    the name becomes one or more targets
limits     requests, tokens and money are reserved in one step, or the request is refused with 429
ledger     an entry is opened, and closed exactly once
cache      the same question may have an answer already
attempts   the first target that begins to answer gives the answer
"""

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from homeport.backends.capabilities import Call, Frame
from homeport.gateway import attempts
from homeport.gateway.cache import Cache
from homeport.gateway.endpoints import Endpoint
from homeport.gateway.keyring import Principal
from homeport.gateway.routing import Router

if TYPE_CHECKING:
    from homeport.gateway.budgets import Budgets
    from homeport.gateway.ledger import Ledger
    from homeport.gateway.limits import Limits


class StraightLine:
    def __init__(self, *, router: Router, budgets: "Budgets", limits: "Limits", ledger: "Ledger", cache: Cache) -> None:
        self.router = router
        self.budgets = budgets
        self.limits = limits
        self.ledger = ledger
        self.cache = cache

    async def run(self, endpoint: Endpoint, principal: Principal, call: Call) -> AsyncGenerator[Frame, None]:
        """Frames of the answer. Errors before the first frame are the HTTP error; `call.told` holds headers by then.

        Closing the generator cancels the work, frees what was reserved and closes the ledger's entry.
        """
        principal.may(endpoint.scope)
        principal.may_use(call.name)
        targets = self.router.targets(call.name)
        wanted = self.budgets.wanted(endpoint, principal, call, targets)
        grant = await self.limits.admit(principal, call.name, wanted, call.told)
        with grant, self.ledger.entry(endpoint, principal, call, grant, targets) as entry:
            key = self.cache.key(principal, call)
            kept = self.cache.find(key)
            if kept is not None:
                entry.cache_hit = True
                call.told.append(b"x-homeport-cache: hit\r\n")
                for frame in kept:
                    entry.observe(frame)
                    yield frame
                return
            answer = attempts.answer(endpoint, targets, call, entry)
            if key is not None:
                answer = self.cache.keep(key, answer)
            try:
                async for frame in answer:
                    entry.observe(frame)
                    yield frame
            finally:
                await answer.aclose()
