"""`GET /v1/organization/audit_logs`."""

from collections.abc import Sequence

from homeport.api.admin.table import ORGANIZATION, Asked, Operation
from homeport.control.audit_logs import AuditLogs as Rules
from homeport.control.audit_logs import Filters
from homeport.errors import InvalidRequest
from homeport.wire.admin.audit_logs import EVENT_TYPES, TENANT_EVENT_TYPES, AuditLog
from homeport.wire.fields import Page

_BOUNDS = ("gt", "gte", "lt", "lte")
_LISTS = ("project_ids", "event_types", "actor_ids", "actor_emails", "resource_ids")


class AuditLogs:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def operations(self) -> Sequence[Operation]:
        lists = (f"{name}[]" for name in _LISTS)
        bounds = (f"effective_at[{bound}]" for bound in _BOUNDS)
        query = (*lists, *bounds, "tenant_only", "limit", "after", "before")
        return [Operation("GET", f"{ORGANIZATION}/audit_logs", self.list, query=query)]

    async def list(self, asked: Asked) -> Page[AuditLog]:
        _check_event_types(asked)
        bounds = {bound: asked.whole(f"effective_at[{bound}]") for bound in _BOUNDS}
        filters = Filters(
            project_ids=asked.texts("project_ids[]"),
            event_types=asked.texts("event_types[]"),
            actor_ids=asked.texts("actor_ids[]"),
            actor_emails=asked.texts("actor_emails[]"),
            resource_ids=asked.texts("resource_ids[]"),
            effective_at={bound: value for bound, value in bounds.items() if value is not None},
            tenant_only=asked.flag("tenant_only"),
        )
        return await self._rules.list(asked.window(), filters)


def _check_event_types(asked: Asked) -> None:
    """Raises InvalidRequest: no such event, or a tenant's where they were not asked for, or the other way round."""
    tenant_only = asked.flag("tenant_only")
    for kind in asked.texts("event_types[]"):
        if kind not in EVENT_TYPES:
            raise InvalidRequest(
                f"Invalid value: {kind!r} is no event type.", param="event_types", code="invalid_value"
            )
        if (kind in TENANT_EVENT_TYPES) != tenant_only:
            need = "needs" if kind in TENANT_EVENT_TYPES else "cannot be asked for with"
            raise InvalidRequest(
                f"Invalid value: the event type {kind!r} {need} 'tenant_only'.",
                param="tenant_only",
                code="invalid_value",
            )
