"""Entries of the audit log as sentences: who has done what."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from homeport.dashboard.pages.project import LIMITS

Details = Mapping[str, Any]

#: What happens here, by what it happens to. For the filter, in its order.
KINDS: Mapping[str, tuple[str, ...]] = {
    "API keys": ("api_key.created", "api_key.updated", "api_key.deleted"),
    "Projects": ("project.created", "project.updated", "project.archived"),
    "Rate limits": ("rate_limit.updated", "rate_limit.deleted"),
    "Service accounts": ("service_account.created", "service_account.updated", "service_account.deleted"),
    "Users": ("user.added", "user.updated", "user.deleted"),
    "Invites": ("invite.sent", "invite.accepted", "invite.deleted"),
    "Organization": ("organization.updated",),
    "Signing in": ("login.succeeded", "login.failed", "logout.succeeded", "logout.failed"),
    "Checkpoints": ("checkpoint.permission.created", "checkpoint.permission.deleted"),
}
#: Those in which something is given a name.
NAMING = ("api_key.created", "service_account.created", "invite.sent")


class Entry(NamedTuple):
    """who, says: of the sentence. source: where somebody was (a key, an address). changes: member -> value."""

    id: str
    kind: str
    at: int
    who: str
    says: str
    source: Mapping[str, str]
    project: Mapping[str, str] | None
    resource: str
    changes: Mapping[str, str]
    bad: bool


def entry(raw: Mapping[str, Any], names: Mapping[str, str]) -> Entry:
    """raw: as the API has it. names: of keys, service accounts, users and invites, by their ids."""
    kind, details = raw["type"], raw[raw["type"]]
    who, source = _actor(raw["actor"], names)
    project = raw.get("project")
    told = _SAYS.get(kind)
    says = told(details, _Names(names, details["id"], project)) if told is not None else kind
    return Entry(
        id=raw["id"],
        kind=kind,
        at=raw["effective_at"],
        who=who,
        says=says,
        source=source,
        project=project,
        resource=details["id"],
        changes=dict(_flat({name: value for name, value in details.items() if name != "id"})),
        bad=kind.endswith(".failed"),
    )


def ids(raw: Mapping[str, Any]) -> Iterator[str]:
    """Those in an entry that may have a name."""
    yield raw[raw["type"]]["id"]
    key = raw["actor"].get("api_key")
    if key is not None:
        yield key["id"]


def name(raw: Mapping[str, Any]) -> str:
    """What an entry of NAMING gives."""
    data: Mapping[str, str] = raw[raw["type"]].get("data", {})
    return data.get("name") or data.get("email") or ""


class _Names:
    """Of what a sentence is about."""

    def __init__(self, names: Mapping[str, str], resource: str, project: Mapping[str, str] | None) -> None:
        self._project = project["name"] if project is not None else None
        self.it = _quoted(names.get(resource)) or resource

    @property
    def project(self) -> str:
        return _quoted(self._project) or "the organization"

    @property
    def where(self) -> str:
        return f" in {self.project}" if self._project is not None else ""


def _actor(actor: Mapping[str, Any], names: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    key = actor.get("api_key", {})
    session = actor.get("session", {})
    user = key.get("user") or session.get("user") or {}
    source = {}
    if key:
        source["API key"] = f"{names[key['id']]} ({key['id']})" if key["id"] in names else key["id"]
    if session and user.get("id") != "command_line":
        source["Address"] = session["ip_address"]
    if user.get("email"):
        return user["email"], source
    if key:
        return f"The key {_quoted(names.get(key['id'])) or key['id']}", source
    return ("The command line" if user.get("id") == "command_line" else "Somebody"), source


def _key_updated(details: Details, of: _Names) -> str:
    changes = details.get("changes_requested", {})
    if "rotated_into" in changes:
        return f"rotated the API key {of.it}{of.where}"
    if "spend_limit" in changes:
        return _budget(changes["spend_limit"], f"the API key {of.it}")
    return f"changed {_listed(changes)} of the API key {of.it}{of.where}"


def _project_updated(details: Details, of: _Names) -> str:
    changes = details.get("changes_requested", {})
    if "spend_limit" in changes:
        return _budget(changes["spend_limit"], of.project)
    if "spend_alert" in changes:
        return _alert(changes["spend_alert"], of.project)
    if "name" in changes:
        return f"renamed a project to {_quoted(changes['name'])}"
    if "tier" in changes:
        return f"put {of.project} on " + (f"the tier {changes['tier']}" if changes["tier"] else "the default tier")
    if "model_permissions" in changes:
        return f"changed which models {of.project} may use"
    return f"changed {_listed(changes)} of {of.project}"


def _organization_updated(details: Details, of: _Names) -> str:
    changes = details.get("changes_requested", {})
    if "spend_limit" in changes:
        return _budget(changes["spend_limit"], "the organization")
    if "spend_alert" in changes:
        return _alert(changes["spend_alert"], "the organization")
    return f"changed {_listed(changes)} of the organization"


def _limits_updated(details: Details, of: _Names) -> str:
    model = details["id"].removeprefix("rl-")
    limits = [f"{value:,} {LIMITS.get(name, name)}" for name, value in details.get("changes_requested", {}).items()]
    return f"limited {model}{of.where} to {', '.join(limits)}"


def _failed(details: Details, of: _Names) -> str:
    times = details.get("attempts", 1)
    return "could not sign in" + (f" ({times:,} times)" if times > 1 else "")


def _role(details: Details) -> str:
    role = details.get("data", details.get("changes_requested", {})).get("role")
    return f" as {role}" if role else ""


_SAYS: Mapping[str, Callable[[Details, _Names], str]] = {
    "api_key.created": lambda details, of: (
        f"made the {'API key' if of.where else 'admin key'} {of.it}{of.where}"
        + (" in place of another" if "rotated_from" in details.get("data", {}) else "")
    ),
    "api_key.updated": _key_updated,
    "api_key.deleted": lambda details, of: f"revoked the {'API key' if of.where else 'admin key'} {of.it}{of.where}",
    "project.created": lambda details, of: f"created the project {of.project}",
    "project.updated": _project_updated,
    "project.archived": lambda details, of: f"archived the project {of.project}",
    "organization.updated": _organization_updated,
    "rate_limit.updated": _limits_updated,
    "rate_limit.deleted": lambda details, of: (
        f"gave {details['id'].removeprefix('rl-')}{of.where} the tier's limits again"
    ),
    "service_account.created": lambda details, of: f"created the service account {of.it}{of.where}",
    "service_account.updated": lambda details, of: (
        f"changed {_listed(details.get('changes_requested', {}))} of the service account {of.it}{of.where}"
    ),
    "service_account.deleted": lambda details, of: f"deleted the service account {of.it}{of.where}",
    "user.added": lambda details, of: f"added the user {of.it} to {of.project}{_role(details)}",
    "user.updated": lambda details, of: f"changed the role of the user {of.it}{of.where}",
    "user.deleted": lambda details, of: f"removed the user {of.it} from {of.project}",
    "invite.sent": lambda details, of: f"invited {of.it}{_role(details)}",
    "invite.accepted": lambda details, of: f"accepted the invite of {of.it}",
    "invite.deleted": lambda details, of: f"deleted the invite of {of.it}",
    "login.succeeded": lambda details, of: "signed in",
    "login.failed": _failed,
    "logout.succeeded": lambda details, of: "signed out",
    "logout.failed": lambda details, of: "was to be signed out by a page of another site",
    "checkpoint.permission.created": lambda details, of: f"shared a fine-tuned model with {of.project}",
    "checkpoint.permission.deleted": lambda details, of: f"stopped sharing a fine-tuned model with {of.project}",
}


def _budget(limit: Details, whose: str) -> str:
    which = "monthly budget" if limit.get("interval") == "month" else "whole budget"
    if limit.get("deleted"):
        return f"removed the {which} of {whose}"
    return f"set the {which} of {whose} to ${limit['threshold_amount'] / 100:,.2f}"


def _alert(alert: Details, whose: str) -> str:
    if alert.get("deleted"):
        return f"deleted a spend alert of {whose}"
    return f"set a spend alert of {whose} at ${alert['threshold_amount'] / 100:,.2f}"


def _listed(changes: Details) -> str:
    names = [name.replace("_", " ") for name in changes if name != "title"]
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0] if names else "nothing"


def _quoted(text: str | None) -> str | None:
    return f"“{text}”" if text else None


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """`changes_requested.spend_limit.interval`, without what is the same everywhere."""
    if isinstance(value, Mapping) and value:
        for member, inner in value.items():
            yield from _flat(inner, f"{path}.{member}" if path else member)
    elif isinstance(value, list):
        yield path, ", ".join(str(one) for one in value) or "none"
    else:
        yield path.removeprefix("data.").removeprefix("changes_requested."), _said(value)


def _said(value: Any) -> str:
    if value is None or value == {}:
        return "none"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
