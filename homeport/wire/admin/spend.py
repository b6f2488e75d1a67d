"""Spend limits and alerts. Source: OrganizationSpendLimitResource, ProjectSpendLimitResource, CreateSpendAlertBody."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from homeport.wire.admin_usage import Amount
from homeport.wire.fields import MOST_CENTS, Email, Request

Interval = Literal["month", "total"]


class SpendLimitEnforcement(Struct):
    """`enforcing` once the limit is reached: requests are refused until the month is over or the limit is raised."""

    status: Literal["inactive", "enforcing"]


class SpendLimit(Struct, kw_only=True):
    """object: `organization.spend_limit`, `project.spend_limit`; of a key `project.api_key.spend_limit`, our own.

    threshold_amount: cents. spent: of it, in Homeport's own lists.
    """

    object: str
    threshold_amount: int
    interval: Interval
    enforcement: SpendLimitEnforcement
    currency: Literal["USD"] = "USD"
    spent: Amount | UnsetType = UNSET


class SpendLimitList(Struct):
    """Of Homeport: all that hold for a project or a key."""

    data: list[SpendLimit]
    object: Literal["list"] = "list"


class SpendLimitRequest(Request):
    threshold_amount: Annotated[int, Meta(ge=1, le=MOST_CENTS)]
    currency: Literal["USD"]
    interval: Literal["month"]


class AnySpendLimitRequest(Request):
    """Of Homeport: the same, and `total`, which never starts again."""

    threshold_amount: Annotated[int, Meta(ge=1, le=MOST_CENTS)]
    currency: Literal["USD"]
    interval: Interval


class SpendLimitDeleted(Struct):
    object: str
    deleted: bool = True


class SpendAlertNotificationChannel(Struct, forbid_unknown_fields=True):
    type: Literal["email"]
    recipients: Annotated[list[Email], Meta(min_length=1, max_length=100)]
    subject_prefix: Annotated[str, Meta(max_length=256, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")] | None = None


class SpendAlert(Struct, kw_only=True):
    """object: `organization.spend_alert` or `project.spend_alert`. threshold_amount: cents."""

    id: str
    object: str
    threshold_amount: int
    interval: Literal["month"]
    notification_channel: SpendAlertNotificationChannel
    currency: Literal["USD"] = "USD"


class SpendAlertRequest(Request):
    threshold_amount: Annotated[int, Meta(ge=0, le=MOST_CENTS)]
    currency: Literal["USD"]
    interval: Literal["month"]
    notification_channel: SpendAlertNotificationChannel
