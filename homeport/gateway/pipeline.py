"""The straight line: the one way from an authenticated request to an answer.

access     the key may call this endpoint and use this model
routing    the name becomes one or more targets
limits     requests, tokens and money are reserved in one step, or the request is refused with 429
ledger     an entry is opened, and closed exactly once
steps      cache, recording, attempts: each answers, or asks the next (`Step`)
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from homeport import clock
from homeport.backends.capabilities import Answer, Call, Frame, Outlet
from homeport.errors import HomeportError, Unavailable
from homeport.gateway.endpoints import Endpoint
from homeport.gateway.keyring import Principal
from homeport.gateway.routing import Router
from homeport.gateway.watching import Aside, status_of

if TYPE_CHECKING:
    from homeport.gateway.budgets import Budgets
    from homeport.gateway.ledger import Entry, Ledger
    from homeport.gateway.limits import Limits

#: Gives the answer to an admitted request, once it has begun. Raises HomeportError; cancelling it cancels the work.
Step = Callable[["Entry"], Awaitable[Answer]]


class StraightLine:
    def __init__(self, *, router: Router, budgets: "Budgets", limits: "Limits", ledger: "Ledger", answer: Step) -> None:
        """answer: the first of the steps that answer; what is switched off is not among them."""
        self.router = router
        self.budgets = budgets
        self.limits = limits
        self.ledger = ledger
        self._answer = answer

    async def plain(self, endpoint: Endpoint, principal: Principal, call: Call) -> Frame:
        """The whole answer, booked. Errors are the HTTP error; `call.told` holds headers by then.

        Cancelling it cancels the work, frees what was reserved and closes the ledger's entry.
        """
        with await self._admitted(endpoint, principal, call) as entry:
            frame = (await self._answer(entry)).first
            entry.observe(frame)
            return frame

    async def stream(self, endpoint: Endpoint, principal: Principal, call: Call, outlet: Outlet) -> None:
        """Frames of the answer into the outlet, as `plain`: errors before the first are the HTTP error."""
        with await self._admitted(endpoint, principal, call) as entry:
            await (await self._answer(entry)).pour(entry.observe, outlet)

    async def _admitted(self, endpoint: Endpoint, principal: Principal, call: Call) -> "Entry":
        """Leaving its `with` block settles what was reserved and closes the ledger's entry."""
        began = clock.monotonic()
        try:
            principal.may(endpoint.scope)
            principal.may_use(call.name)
            if call.name.startswith("ft:"):
                await self.router.look_for(call.name)
            targets = self.router.targets(call.name, principal.project)
            wanted = self.budgets.wanted(endpoint, principal, call, targets)
            grant = await self.limits.admit(principal, call.name, wanted, call.told)
            try:
                return self.ledger.entry(endpoint, principal, call, grant, targets)
            except Unavailable:
                with grant:
                    grant.used, grant.cost = 0, 0
                raise
        except BaseException as error:
            self._refused(endpoint, principal, call, error, clock.monotonic() - began)
            raise

    def _refused(
        self, endpoint: Endpoint, principal: Principal, call: Call, error: BaseException, seconds: float
    ) -> None:
        refusal = error if isinstance(error, HomeportError) else None
        self.ledger.watchers.aside(
            Aside(
                call.request_id,
                endpoint.name,
                "POST",
                call.name,
                principal,
                status_of(error),
                refusal,
                seconds,
                call.batch,
            )
        )
