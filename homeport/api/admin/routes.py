"""The Admin API's operations, as data: OpenAI's under `/v1/organization`, our own under `/v1/homeport`; who else may
use a fine-tuned model is said where those are.

Not here, on purpose: certificates, groups and roles, data retention, external keys and storage, workload identity,
service tiers and hosted tools. They answer 404, as any unknown URL does.
"""

from collections.abc import Collection, Sequence

from starlette.routing import Route

from homeport.api.admin.admin_api_keys import AdminApiKeys
from homeport.api.admin.api_keys import ApiKeys
from homeport.api.admin.audit_logs import AuditLogs
from homeport.api.admin.checkpoint_permissions import CheckpointPermissions
from homeport.api.admin.invites import Invites
from homeport.api.admin.project_users import ProjectUsers
from homeport.api.admin.projects import Projects
from homeport.api.admin.rate_limits import RateLimits
from homeport.api.admin.service_accounts import ServiceAccounts
from homeport.api.admin.spend_alerts import SpendAlerts
from homeport.api.admin.spend_limits import SpendLimits
from homeport.api.admin.table import Authorize, Operation
from homeport.api.admin.users import Users
from homeport.api.operations import routes_of
from homeport.control import (
    admin_api_keys,
    api_keys,
    audit_logs,
    checkpoint_permissions,
    invites,
    project_users,
    projects,
    rate_limits,
    service_accounts,
    spend_alerts,
    spend_limits,
    users,
)
from homeport.control.changes import Changes
from homeport.control.idempotency import Idempotency
from homeport.control.rate_limits import Tiers
from homeport.control.spend_limits import Spent
from homeport.settings import Moderation


def operations(
    changes: Changes,
    *,
    tiers: Tiers,
    scopes: Collection[str],
    spent: Spent,
    organization: str,
    moderation: Moderation | None = None,
) -> Sequence[Operation]:
    """tiers: the limits of projects. scopes: those of keys that mean something here. spent: what has been.

    organization: its id, as the audit log names it. moderation: of projects that have no rule of their own;
    None: nothing is.
    """
    keys = api_keys.ApiKeys(changes, scopes)
    return [
        *AdminApiKeys(admin_api_keys.AdminApiKeys(changes)).operations(),
        *Projects(projects.Projects(changes, tiers.names, moderation)).operations(),
        *ApiKeys(keys).operations(),
        *ServiceAccounts(service_accounts.ServiceAccounts(changes, keys)).operations(),
        *ProjectUsers(project_users.ProjectUsers(changes)).operations(),
        *RateLimits(rate_limits.RateLimits(changes, tiers)).operations(),
        *SpendLimits(spend_limits.SpendLimits(changes, spent, organization=organization)).operations(),
        *SpendAlerts(spend_alerts.SpendAlerts(changes, organization=organization)).operations(),
        *Users(users.Users(changes)).operations(),
        *Invites(invites.Invites(changes)).operations(),
        *AuditLogs(audit_logs.AuditLogs(changes.database)).operations(),
        *CheckpointPermissions(checkpoint_permissions.CheckpointPermissions(changes)).operations(),
    ]


def routes(
    changes: Changes,
    authorize: Authorize,
    *,
    tiers: Tiers,
    scopes: Collection[str],
    spent: Spent,
    organization: str,
    moderation: Moderation | None = None,
) -> list[Route]:
    """authorize: who asks, of every request."""
    table = operations(
        changes, tiers=tiers, scopes=scopes, spent=spent, organization=organization, moderation=moderation
    )
    return routes_of(table, authorize, Idempotency(changes.database))
