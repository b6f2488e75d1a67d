"""The table of operations: as OpenAI describes it, behind a key, and deaf to wrong input."""

import re
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest

from homeport.api.admin.table import HOMEPORT, ORGANIZATION, Operation
from homeport.api.operations import LARGEST_BODY, Nothing
from tests import openapi
from tests.api.admin.served import Served, refused

#: Areas of the description that Homeport does not have.
LEFT_OUT = re.compile(
    r"/organization/(certificates|groups|roles|data_retention|external_keys|external_storage|workload_identity\w*)(/.*)?"
    r"|/organization/users/\{user_id\}/roles(/.*)?"
    r"|/organization/projects/\{project_id\}/(certificates|groups|data_retention|hosted_tool_permissions)(/.*)?"
    r"|/organization/projects/\{project_id\}/(external_keys|roles|service_tier\w*)(/.*)?"
)
#: Somebody else's part of it.
ELSEWHERE = re.compile(r"/organization/(usage/.*|costs)")
#: Its operations that ask for an admin key.
CHECKPOINTS = "/fine_tuning/checkpoints/"
#: In the SDK, not yet in the description.
OF_THE_SDK = {("POST", "/organization/projects/{project_id}/api_keys/{api_key_id}")}
#: Members beside those of the description: the SDK's, and two limits of our own.
BESIDE = {
    "ProjectCreateRequest": {"geography"},
    "ProjectServiceAccountCreateRequest": {"expires_in_seconds"},
    "ProjectServiceAccountApiKeyCreateRequest": {"expires_in_seconds"},
    "ProjectRateLimitUpdateRequest": {"max_tokens_per_1_day", "max_concurrent_requests"},
}

MONEY: dict[str, Any] = {"threshold_amount": 100, "currency": "USD", "interval": "month"}
ALERT: dict[str, Any] = {**MONEY, "notification_channel": {"type": "email", "recipients": ["a@example.com"]}}
LONG = "x" * 257
#: Type of a body -> a good one, and wrong ones: (what is added to it, param, code).
Wrong = tuple[dict[str, Any], str, str | None]
NAMES: list[Wrong] = [
    ({"name": ""}, "name", "empty_string"),
    ({"name": " \t "}, "name", "invalid_value"),
    ({"name": "a\nb"}, "name", "invalid_value"),
    ({"name": "a\u0000"}, "name", "invalid_value"),
    ({"name": LONG}, "name", "string_above_max_length"),
    ({"name": 7}, "name", "invalid_type"),
]
LIVES: list[Wrong] = [
    ({"expires_in_seconds": 0}, "expires_in_seconds", "integer_below_min_value"),
    ({"expires_in_seconds": 31_536_001}, "expires_in_seconds", "integer_above_max_value"),
    ({"expires_in_seconds": 1.5}, "expires_in_seconds", "invalid_type"),
]
SCOPES: list[Wrong] = [
    ({"scopes": "model"}, "scopes", "invalid_type"),
    ({"scopes": ["model.request", "model.explode"]}, "scopes[1]", "invalid_value"),
    ({"scopes": ["Model Request"]}, "scopes[0]", "invalid_value"),
    ({"scopes": [None]}, "scopes[0]", "invalid_type"),
]
KEYS: list[Wrong] = [
    *NAMES,
    *SCOPES,
    ({"models": []}, "models", "empty_array"),
    ({"models": ["gpt 4"]}, "models[0]", "invalid_value"),
    ({"rate_limits": {"max_requests_per_1_minute": 0}}, "rate_limits.max_requests_per_1_minute", None),
    ({"rate_limits": {"max_jokes_per_1_minute": 1}}, "rate_limits.max_jokes_per_1_minute", "unknown_parameter"),
    ({"rate_limits": []}, "rate_limits", "invalid_type"),
]
AMOUNTS: list[Wrong] = [
    ({"threshold_amount": -1}, "threshold_amount", "integer_below_min_value"),
    ({"threshold_amount": 10**30}, "threshold_amount", "integer_above_max_value"),
    ({"threshold_amount": 1.5}, "threshold_amount", "invalid_type"),
    ({"currency": "EUR"}, "currency", "invalid_value"),
    ({"interval": "week"}, "interval", "invalid_value"),
]
ROLES: list[Wrong] = [({"role": "king"}, "role", "invalid_value"), ({"role": 1}, "role", "invalid_type")]
BODIES: dict[str, tuple[dict[str, Any], list[Wrong]]] = {
    "Nothing": ({}, []),
    "AdminApiKeyCreateRequest": ({"name": "a"}, [*NAMES, *LIVES]),
    "ProjectCreateRequest": (
        {"name": "a"},
        [
            *NAMES,
            ({"residency": "EU_STORAGE_PROCESSING"}, "residency", "unsupported_parameter"),
            ({"geography": "EU"}, "geography", "unsupported_parameter"),
            ({"external_key_id": "k"}, "external_key_id", "unsupported_parameter"),
        ],
    ),
    "ProjectUpdateRequest": ({"name": "a"}, [*NAMES, ({"external_key_id": "k"}, "external_key_id", None)]),
    "ProjectTierRequest": ({"tier": "1"}, [({"tier": "gold"}, "tier", "invalid_value"), ({"tier": 1}, "tier", None)]),
    "ProjectModerationUpdateRequest": (
        {"policy": {}},
        [
            ({"policy": {"input": {"mode": "score"}}}, "policy.input.mode", "invalid_value"),
            ({"policy": {"else": None}}, "policy.else", None),
            ({"threshold": 0}, "threshold", "decimal_below_min_value"),
            ({"model": ""}, "model", None),
        ],
    ),
    "ProjectModelPermissionsUpdateRequest": (
        {"mode": "allow_list", "model_ids": []},
        [
            ({"mode": "maybe"}, "mode", "invalid_value"),
            ({"model_ids": [""]}, "model_ids[0]", None),
            ({"model_ids": ["a", "b\u0000"]}, "model_ids[1]", None),
            ({"model_ids": ["m"] * 1001}, "model_ids", "array_above_max_length"),
        ],
    ),
    "ProjectApiKeyCreateRequest": (
        {"name": "a"},
        [
            *KEYS,
            *LIVES,
            ({"expires_at": 1}, "expires_at", "invalid_value"),
            ({"expires_at": 10**13}, "expires_at", "integer_above_max_value"),
            ({"expires_at": 4_000_000_000, "expires_in_seconds": 60}, "expires_at", "invalid_value"),
            ({"user_id": "user-nobody"}, "user_id", None),
            ({"user_id": "user nobody"}, "user_id", "invalid_value"),
        ],
    ),
    "ProjectApiKeyModifyRequest": ({"name": "a"}, KEYS),
    "ProjectApiKeyUpdateRequest": ({"scopes": []}, [*SCOPES, *LIVES, ({"scopes": None}, "scopes", "invalid_type")]),
    "ProjectApiKeyRotateRequest": (
        {},
        [
            *LIVES,
            ({"overlap_seconds": -1}, "overlap_seconds", "integer_below_min_value"),
            ({"overlap_seconds": None}, "overlap_seconds", "invalid_type"),
        ],
    ),
    "ProjectServiceAccountCreateRequest": (
        {"name": "a"},
        [
            *NAMES,
            *LIVES,
            ({"create_service_account_only": "yes"}, "create_service_account_only", "invalid_type"),
            ({"create_service_account_only": True, "expires_in_seconds": 9}, "expires_in_seconds", "invalid_value"),
        ],
    ),
    "ProjectServiceAccountUpdateRequest": ({"name": "a"}, [*NAMES, *ROLES, ({"role": "none"}, "role", None)]),
    "ProjectServiceAccountApiKeyCreateRequest": ({}, [*NAMES, *SCOPES, *LIVES]),
    "UserRoleUpdateRequest": (
        {"role": "owner"},
        [
            *ROLES,
            ({"role": "member"}, "role", "invalid_value"),
            ({"role_id": "role_1"}, "role_id", "unsupported_parameter"),
            ({"technical_level": "high"}, "technical_level", "unsupported_parameter"),
            ({"developer_persona": "hacker"}, "developer_persona", "unsupported_parameter"),
        ],
    ),
    "ProjectUserCreateRequest": (
        {"role": "member", "user_id": "user-nobody"},
        [
            *ROLES,
            ({"user_id": None}, "user_id", None),
            ({"email": "a@example.com"}, "user_id", None),
            ({"user_id": None, "email": "nowhere"}, "email", "invalid_value"),
        ],
    ),
    "ProjectUserUpdateRequest": ({"role": "member"}, [*ROLES, ({"role": "reader"}, "role", "invalid_value")]),
    "InviteRequest": (
        {"email": "wrong@example.com", "role": "reader"},
        [
            *ROLES,
            ({"email": "nowhere"}, "email", "invalid_value"),
            ({"email": "a@b@c"}, "email", "invalid_value"),
            ({"email": "a\u0000@b"}, "email", "invalid_value"),
            ({"projects": [{"id": "proj_nobody", "role": "member"}]}, "projects[0].id", None),
            ({"projects": [{"id": "proj_nobody", "role": "king"}]}, "projects[0].role", "invalid_value"),
            ({"projects": [{"role": "member"}]}, "projects[0].id", "missing_required_parameter"),
        ],
    ),
    "InviteAcceptRequest": ({"name": "a"}, NAMES),
    "ProjectRateLimitUpdateRequest": (
        {"max_requests_per_1_minute": 5},
        [
            ({"max_requests_per_1_minute": 0}, "max_requests_per_1_minute", "integer_below_min_value"),
            ({"max_tokens_per_1_minute": -5}, "max_tokens_per_1_minute", "integer_below_min_value"),
            ({"batch_1_day_max_input_tokens": 10**20}, "batch_1_day_max_input_tokens", "integer_above_max_value"),
            ({"max_images_per_1_minute": "many"}, "max_images_per_1_minute", "invalid_type"),
        ],
    ),
    "SpendLimitRequest": (
        MONEY,
        [
            *AMOUNTS,
            ({"threshold_amount": 0}, "threshold_amount", "integer_below_min_value"),
            ({"interval": "total"}, "interval", "invalid_value"),
        ],
    ),
    "AnySpendLimitRequest": (MONEY, AMOUNTS),
    "CreateCheckpointPermissionRequest": (
        {"project_ids": ["proj_nobody"]},
        [
            ({"project_ids": []}, "project_ids", "empty_array"),
            ({"project_ids": ["proj nobody"]}, "project_ids[0]", "invalid_value"),
            ({"project_ids": "proj_nobody"}, "project_ids", "invalid_type"),
            ({"project_ids": ["p"] * 101}, "project_ids", "array_above_max_length"),
        ],
    ),
    "SpendAlertRequest": (
        ALERT,
        [
            *AMOUNTS,
            ({"notification_channel": {"type": "sms", "recipients": ["a@b"]}}, "notification_channel.type", None),
            ({"notification_channel": {"type": "email"}}, "notification_channel.recipients", None),
            ({"notification_channel": {"type": "email", "recipients": []}}, "notification_channel.recipients", None),
            (
                {"notification_channel": {"type": "email", "recipients": ["x"]}},
                "notification_channel.recipients[0]",
                None,
            ),
        ],
    ),
}


def label(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


def described() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """What of the description is ours to answer: method, path, operation."""
    for path, operations in openapi.description()["paths"].items():
        elsewhere = LEFT_OUT.fullmatch(path) or ELSEWHERE.fullmatch(path)
        if path.startswith(("/organization/", CHECKPOINTS)) and not elsewhere:
            for method, operation in operations.items():
                if method in ("get", "post", "put", "patch", "delete"):
                    yield method.upper(), path, operation


def schema_of(operation: dict[str, Any]) -> dict[str, Any]:
    """Of the body."""
    if "requestBody" not in operation:
        return {}
    (media,) = operation["requestBody"]["content"].values()
    schema: dict[str, Any] = media["schema"]
    if "$ref" in schema:
        schema = openapi.description()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def test_every_operation_is_there_as_described(served: Served) -> None:
    ours = {(one.method, re.sub(r":path}", "}", one.path)): one for one in served.operations}
    wanted = {(method, path): operation for method, path, operation in described()}
    paths = {(method, path.removeprefix("/v1")) for method, path in ours if not path.startswith(HOMEPORT)}
    assert paths == {*wanted, *OF_THE_SDK}
    for (method, path), operation in wanted.items():
        own = ours[method, f"/v1{path}"]
        parameters = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"}
        assert {re.sub(r"^emails\[]$", "emails", re.sub(r"\[(gte?|lte?)]$", "", one)) for one in own.query} == (
            parameters
        ), path
        schema = schema_of(operation)
        members = {field.encode_name: field.required for field in msgspec.structs.fields(own.body)}
        assert set(members) - BESIDE.get(own.body.__name__, set()) == set(schema.get("properties", ())), path
        assert {name for name, required in members.items() if required} == set(schema.get("required", ())), path


def test_enumerations_are_as_described(served: Served) -> None:
    """Where the description lists the values of a member, ours are the same."""
    seen = 0
    for method, path, operation in described():
        own = next(
            one for one in served.operations if one.method == method and one.path.replace(":path", "") == f"/v1{path}"
        )
        types = {field.encode_name: field.type for field in msgspec.structs.fields(own.body)}
        for name, member in schema_of(operation).get("properties", {}).items():
            if "enum" in member:
                assert literals(types[name]) == set(member["enum"]), (path, name)
                seen += 1
    assert seen > 5


def literals(kind: Any) -> set[str]:
    """The values of a Literal, or of one beside None."""
    parts = get_args(kind)
    return {value for value in parts if isinstance(value, str)}.union(
        *(literals(part) for part in parts if not isinstance(part, str))
    )


def test_everything_is_behind_the_key(served: Served) -> None:
    with served.nothing_changes():
        for operation in served.operations:
            path = re.sub(r"{.*?}", "x", operation.path)
            good, _ = BODIES[operation.body.__name__]
            for key in (None, "sk-wrong"):
                body = good if operation.method == "POST" else None
                refused(served.ask(operation.method, path, body, key=key), 401, code="invalid_api_key")


@pytest.fixture
def world(served: Served, project: str) -> dict[str, str]:
    """One of each, by the names that the paths have for them."""
    path = f"/v1/organization/projects/{project}"
    email = f"{project}@example.com"
    account = served.make("POST", f"{path}/service_accounts", {"name": "robot"})
    invite = served.make("POST", f"{ORGANIZATION}/invites", {"email": f"to-{email}", "role": "owner"})
    user = served.make_user(email)["id"]
    served.make("POST", f"{path}/users", {"user_id": user, "role": "member"})
    served.make("POST", f"{path}/spend_limit", MONEY)
    served.make("POST", f"{ORGANIZATION}/spend_limit", MONEY)
    key = served.make("POST", f"{HOMEPORT}/projects/{project}/api_keys", {"name": "app"})["id"]
    served.make("POST", f"{HOMEPORT}/projects/{project}/api_keys/{key}/spend_limit", MONEY)
    served.make("POST", f"{path}/rate_limits/rl-gpt-4", {"max_requests_per_1_minute": 5})
    model = served.make_model(served.default_project)
    sharing = f"/v1{CHECKPOINTS}{model}/permissions"
    (permission,) = served.make("POST", sharing, {"project_ids": [project]})["data"]
    return {
        "project_id": project,
        "key_id": served.make("POST", f"{ORGANIZATION}/admin_api_keys", {"name": "CI"})["id"],
        "api_key_id": key,
        "service_account_id": account["id"],
        "user_id": user,
        "invite_id": invite["id"],
        "rate_limit_id": "rl-gpt-4",
        "alert_id": served.make("POST", f"{path}/spend_alerts", ALERT)["id"],
        "fine_tuned_model_checkpoint": model,
        "permission_id": permission["id"],
        "organizations_alert_id": served.make("POST", f"{ORGANIZATION}/spend_alerts", ALERT)["id"],
    }


def at(operation: Operation, world: dict[str, str], **other: str) -> str:
    """The path, with what is there."""
    names = dict(world)
    if "{project_id}" not in operation.path:
        names["alert_id"] = world["organizations_alert_id"]
    return operation.path.replace(":path", "").format(**{**names, **other})


def test_ids_that_nothing_has(served: Served, world: dict[str, str]) -> None:
    checked = 0
    with served.nothing_changes():
        for operation in served.operations:
            body = BODIES[operation.body.__name__][0] if operation.method == "POST" else None
            for name in re.findall(r"{(\w+)", operation.path):
                for nobody in ("nothing_has_this", "x%00y", "%F0%9F%90%A2", "x" * 2000):
                    answer = served.ask(operation.method, at(operation, world, **{name: nobody}), body)
                    refused(answer, 404, name)
                    checked += 1
    assert checked > 150


def test_bodies_that_are_wrong(served: Served, world: dict[str, str]) -> None:
    """Of every operation that takes one: an error that says where, and nothing is changed."""
    with served.nothing_changes():
        for operation in served.operations:
            if operation.method != "POST":
                continue
            path = at(operation, world)
            good, wrong = BODIES[operation.body.__name__]
            assert wrong or operation.body is Nothing, label(operation)
            for added, param, code in wrong:
                refused(served.ask("POST", path, {**good, **added}), 400, param, code=code)
            for name in (field.encode_name for field in msgspec.structs.fields(operation.body) if field.required):
                less = {key: value for key, value in good.items() if key != name}
                refused(served.ask("POST", path, less), 400, name, code="missing_required_parameter")
            refused(served.ask("POST", path, {**good, "surprise": 1}), 400, None, words="surprise")
            for raw in (b"{", b"[]", b'"x"', b"\xff", b'{"\\ud800": 1}', b"[" * 100_000):
                refused(served.ask("POST", path, raw), 400, None, words="not valid JSON")
            headers = {"Content-Type": "text/plain"}
            refused(served.ask("POST", path, good, headers=headers), 415, code="unsupported_content_type")
            headers = {"Content-Encoding": "gzip"}
            refused(served.ask("POST", path, good, headers=headers), 415, code="unsupported_content_encoding")
            refused(served.ask("POST", path, b" " * (LARGEST_BODY + 1)), 413)


def test_queries_that_are_wrong(served: Served, world: dict[str, str]) -> None:
    with served.nothing_changes():
        for operation in served.operations:
            path = at(operation, world)
            body = BODIES[operation.body.__name__][0] if operation.method == "POST" else None
            answer = served.ask(operation.method, f"{path}?surprise=1", body)
            refused(answer, 400, "surprise", code="unknown_parameter")
            wrong = {
                "limit": ["-1", "1001", "x", "1.5", "", "%C2%B2", "99999999999999999999"],
                "after": ["nothing_has_this", "x%00y", ""],
                "before": ["nothing_has_this", "x%00y", ""],
                "order": ["up", "ASC", ""],
                "include_archived": ["yes", "1", ""],
                "owner_project_access": ["maybe"],
                "interval": ["week"],
            }
            for name, values in wrong.items():
                if name in operation.query:
                    for value in values:
                        refused(served.ask(operation.method, f"{path}?{name}={value}"), 400, name)
                    again = f"{path}?{name}={values[0]}&{name}={values[0]}"
                    refused(served.ask(operation.method, again), 400, name, code="invalid_value", words="twice")


def test_what_is_left_out_is_unknown(served: Served, project: str) -> None:
    for path in ("certificates", "groups", f"projects/{project}/hosted_tool_permissions", "roles", "data_retention"):
        refused(served.ask("GET", f"{ORGANIZATION}/{path}"), 404, code="unknown_url", words="Invalid URL")
    refused(served.ask("PUT", f"{ORGANIZATION}/projects"), 405, code="method_not_supported")
