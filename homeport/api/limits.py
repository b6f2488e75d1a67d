"""`GET /v1/homeport/limits`: how full the rate limits and budgets of projects are."""

from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from homeport.api.json import json_answer
from homeport.api.openai import bearer_of
from homeport.api.requests import SCOPE
from homeport.errors import InvalidRequest
from homeport.gateway.fullness import Full, Fullness, Spent
from homeport.gateway.keyring import Keyring, Principal
from homeport.wire.admin_usage import Amount, read
from homeport.wire.fields import Page
from homeport.wire.limits import BudgetFill, LimitsParameters, ProjectLimits, RateLimitFill
from homeport.wire.money import dollars

_PICO_PER_NANO = 1000


class Limits:
    def __init__(self, keyring: Keyring, fullness: Fullness) -> None:
        self._keyring = keyring
        self._fullness = fullness

    async def list(self, request: Request) -> Response:
        """Of the caller's own project; the operator's key and admin keys see every one that has a key, and the
        organization's budgets beside each project's."""
        caller = self._keyring.anybody(bearer_of(request))
        caller.may(SCOPE)
        asked = read(LimitsParameters, request.query_params.multi_items())
        shown = self._projects(caller, asked)
        data = [await self._project(caller, project, asked) for project in shown[: asked.limit]]
        return json_answer(Page.of(data, has_more=len(shown) > asked.limit))

    def _projects(self, caller: Principal, asked: LimitsParameters) -> Sequence[str]:
        """From where the page begins. Raises InvalidRequest."""
        found = [caller.project] if caller.kind == "project" else self._fullness.projects()
        if asked.project_ids is not None:
            found = [one for one in found if one in asked.project_ids]
        if asked.after is None:
            return found
        if asked.after not in found:
            raise InvalidRequest(
                f"Invalid 'after': there is no project {asked.after!r} in this list.",
                param="after",
                code="invalid_value",
            )
        return found[found.index(asked.after) + 1 :]

    async def _project(self, caller: Principal, project: str, asked: LimitsParameters) -> ProjectLimits:
        full = await self._fullness.limits(project, only=asked.models)
        spent = await self._fullness.budgets(project, organization=caller.kind != "project")
        return ProjectLimits(id=project, rate_limits=[*map(_limit, full)], budgets=[*map(_budget, spent)])


def _limit(full: Full) -> RateLimitFill:
    return RateLimitFill(
        name=full.name,
        model=full.model,
        api_key_id=full.key_id,
        limit=full.limit,
        used=round(full.used, 3),
        remaining=full.remaining,
        reset_seconds=None if full.reset is None else round(full.reset, 3),
    )


def _budget(spent: Spent) -> BudgetFill:
    budget = spent.budget
    return BudgetFill(
        scope=budget.scope,
        api_key_id=budget.subject if budget.scope == "key" else None,
        interval=budget.interval,
        limit=_amount(budget.limit_nano),
        spent=_amount(spent.nano),
        remaining=_amount(max(0, budget.limit_nano - spent.nano)),
        begins_anew=spent.begins_anew,
    )


def _amount(nano: int) -> Amount:
    return Amount(value=msgspec.Raw(dollars(nano * _PICO_PER_NANO).encode()))
