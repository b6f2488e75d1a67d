"""`GET /v1/homeport/requests`: the receipts of the latest requests, the newest first."""

from collections.abc import Mapping, Sequence

from starlette.requests import Request
from starlette.responses import Response

from homeport.api.json import json_answer
from homeport.api.openai import bearer_of
from homeport.api.receipts import Find, receipt
from homeport.errors import InvalidRequest
from homeport.gateway.keyring import Keyring, Principal
from homeport.store.usage_newest import UsageNewest
from homeport.store.usage_row import UsageRow
from homeport.wire.admin_usage import read
from homeport.wire.requests import RequestsParameters

#: Parameter -> the column that it chooses by.
_CHOSEN = {
    "project_ids": "project_id",
    "api_key_ids": "key_id",
    "models": "model",
    "endpoints": "endpoint",
    "outcomes": "outcome",
}
SCOPE = "usage.read"


class Requests:
    def __init__(self, keyring: Keyring, newest: UsageNewest, find: Find) -> None:
        self._keyring = keyring
        self._newest = newest
        self._find = find

    async def list(self, request: Request) -> Response:
        """Of the caller's own project; the operator's key and admin keys see every one."""
        caller = self._keyring.anybody(bearer_of(request))
        caller.may(SCOPE)
        asked = read(RequestsParameters, request.query_params.multi_items())
        rows = await self._newest.find(
            asked.limit + 1,
            only=_only(caller, asked),
            start=asked.start_time,
            end=asked.end_time,
            after=await self._place(caller, asked.after),
        )
        data = [receipt(row) for row in rows[: asked.limit]]
        return json_answer(
            {
                "object": "list",
                "data": data,
                "first_id": data[0]["id"] if data else None,
                "last_id": data[-1]["id"] if data else None,
                "has_more": len(rows) > asked.limit,
            }
        )

    async def _place(self, caller: Principal, after: str | None) -> UsageRow | None:
        """Raises InvalidRequest."""
        if after is None:
            return None
        row = await self._find(after)
        if row is None or (caller.kind == "project" and row.project_id != caller.project):
            raise InvalidRequest(
                f"Invalid 'after': there is no request {after!r} in this list.", param="after", code="invalid_value"
            )
        return row


def _only(caller: Principal, asked: RequestsParameters) -> Mapping[str, Sequence[str]]:
    chosen = {column: getattr(asked, name) for name, column in _CHOSEN.items()}
    if caller.kind == "project":
        projects = chosen["project_id"]
        chosen["project_id"] = [one for one in projects or [caller.project] if one == caller.project]
    return {column: values for column, values in chosen.items() if values is not None}
