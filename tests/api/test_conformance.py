"""What Homeport says of itself is what it does: compared with OpenAI's description, and with a running server."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests import openapi
from tests.api import owners, raw
from tests.server import KEY, Running, running

PATH = "/v1/homeport/conformance"
#: Parameters that OpenAI's operations have here and not in the description.
OURS = {
    ("POST", "/v1/images/edits"): {"seed"},
    ("POST", "/v1/images/generations"): {"seed"},
    ("POST", "/v1/images/variations"): {"seed"},
    ("GET", "/v1/fine_tuning/jobs/{fine_tuning_job_id}/events"): {"stream"},
    ("GET", "/v1/threads/{thread_id}/runs/{run_id}"): {"stream", "starting_after"},
    ("POST", "/v1/organization/projects"): {"geography"},
    ("POST", "/v1/organization/projects/{project_id}/rate_limits/{rate_limit_id}"): {
        "max_concurrent_requests",
        "max_tokens_per_1_day",
    },
    ("POST", "/v1/organization/projects/{project_id}/service_accounts"): {"expires_in_seconds"},
    ("POST", "/v1/organization/projects/{project_id}/service_accounts/{service_account_id}/api_keys"): {
        "expires_in_seconds"
    },
}
#: The SDK's (openai 3), which is ahead of the description.
OF_USAGE = {"user_ids", "line_items"}
METHODS = ("get", "post", "delete", "put", "patch")
Operations = list[dict[str, Any]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("conformance")) as made:
        yield made


@pytest.fixture(scope="module")
def shown(server: Running) -> Operations:
    answer = raw.ask(server, "GET", PATH)
    assert answer.status == 200
    assert answer.json["object"] == "homeport.conformance"
    operations: Operations = answer.json["operations"]
    return operations


def described() -> dict[tuple[str, str], dict[str, Any]]:
    paths = openapi.description()["paths"]
    return {
        (method.upper(), f"/v1{path}"): operation
        for path, methods in paths.items()
        for method, operation in methods.items()
        if method in METHODS
    }


def members(schema: dict[str, Any]) -> set[str]:
    if "$ref" in schema:
        return members(openapi.description()["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    parts = [part for kind in ("allOf", "oneOf", "anyOf") for part in schema.get(kind, ())]
    return set(schema.get("properties", ())).union(*(members(part) for part in parts))


def parameters(operation: dict[str, Any]) -> set[str]:
    """Of the query and the body; a list, or a member of an object, by its bare name."""
    query = {plain(one["name"]) for one in operation.get("parameters", ()) if one["in"] == "query"}
    contents = operation.get("requestBody", {}).get("content", {}).values()
    return query.union(*(members(content.get("schema", {})) for content in contents))


def plain(name: str) -> str:
    return name.partition("[")[0]


def asked(operation: dict[str, Any]) -> set[str]:
    return {plain(one["name"]) for one in operation["parameters"] if one["in"] != "path"}


def filled(path: str) -> str:
    return re.sub(r"\{\w+\}", "x", path)


def test_every_operation_of_the_description_is_there_and_none_is_invented(shown: Operations) -> None:
    theirs = {(one["method"], one["path"]): one["name"] for one in shown if one["name"] is not None}
    assert theirs == {where: operation["operationId"] for where, operation in described().items()}


def test_every_parameter_is_there_and_none_is_invented(shown: Operations) -> None:
    """Each of them is either honoured or refused: what is not listed is refused as unknown."""
    known = described()
    wrong: dict[tuple[str, str], set[str]] = {}
    for one in shown:
        where = (one["method"], one["path"])
        if one["name"] is None or not one["supported"]:
            continue
        ahead = OF_USAGE if re.search("/(usage|costs)", one["path"]) else set()
        theirs = parameters(known[where])
        listed = asked(one) - OURS.get(where, set()) - (ahead - theirs)
        if listed != theirs:
            wrong[where] = listed ^ theirs
    assert wrong == {}


def test_what_is_not_here_says_why(shown: Operations) -> None:
    for one in shown:
        assert one["supported"] == (one["why"] is None), one
        assert one["supported"] == (one["key"] is not None), one
        assert one["supported"] or one["parameters"] == []


def test_the_routes_agree(server: Running, shown: Operations) -> None:
    """A method that nobody has is told which there are. Azure's style knows no 405: there it is asked without a key."""
    wrong = []
    for one in shown:
        if "?" in one["path"]:
            continue
        answer = raw.ask(server, "PATCH", filled(one["path"]), b"")
        there = answer.status == 405 and one["method"] in answer.headers["allow"]
        if there != one["supported"]:
            wrong.append((one["method"], one["path"], answer.status))
        if one["azure"] is not None:
            path = f"{filled(one['azure'])}?api-version=2024-10-21"
            answer = raw.ask(server, one["method"], path, {}, {"Authorization": None})
            if answer.status != 401:
                wrong.append((one["method"], one["azure"], answer.status))
    assert wrong == []


def test_what_asks_for_the_beta_of_something_is_refused(server: Running, shown: Operations) -> None:
    betas = [one for one in shown if "?" in one["path"]]
    assert len(betas) == 7
    for one in betas:
        body = {"model": "echo", "input": "hello"} if one["method"] == "POST" else None
        answer = raw.ask(server, one["method"], filled(one["path"]), body)
        assert answer.status in (400, 404, 405), one
        assert not one["supported"]


def test_keys_and_scopes_are_as_they_are_said_to_be(server: Running, shown: Operations) -> None:
    restricted = owners.new_key(server, owners.new_project(server, "restricted"), scopes=["model.read"])
    wrong = []
    for one in shown:
        if not one["supported"] or one["path"] in ("/v1/models", "/v1/models/{model}") or _is_form(one):
            continue
        body = {"model": "echo", "messages": [], "input": "x", "prompt": "x"}
        path = filled(one["path"])
        nobody = raw.ask(server, one["method"], path, body, {"Authorization": None})
        theirs = raw.ask(server, one["method"], path, body, {"OpenAI-Beta": "assistants=v2"}, key=restricted)
        missing = theirs.status == 403 and f"Missing scopes: {one['scope']}." in theirs.error["message"]
        found = {
            "none": nobody.status != 401,
            "any": nobody.status == 401 and (theirs.status not in (401, 403) if one["scope"] is None else missing),
            "admin": theirs.status == 403 and "admin API key" in theirs.error["message"],
            "project": missing,
        }
        if not found[one["key"]]:
            wrong.append((one["method"], one["path"], one["key"], one["scope"], theirs.status, theirs.body[:200]))
    assert wrong == []


def _is_form(one: dict[str, Any]) -> bool:
    return any(parameter["in"] == "form" for parameter in one["parameters"])


def test_it_is_for_everybody_who_has_a_key(server: Running) -> None:
    assert raw.ask(server, "GET", PATH, key="sk-nobody").status == 401
    admin = raw.ask(server, "POST", "/v1/organization/admin_api_keys", {"name": "a"}).json["value"]
    assert raw.ask(server, "GET", PATH, key=admin).status == 200
    assert raw.ask(server, "GET", PATH, key=KEY).status == 200


#: Values of parameters that are refused by a local model, or by everybody.
REFUSED: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/v1/chat/completions"): {
        "service_tier": "flex",
        "modalities": ["text", "audio"],
        "audio": {"voice": "alloy", "format": "mp3"},
        "prediction": {"type": "content", "content": "x"},
        "reasoning_effort": "high",
        "verbosity": "low",
        "moderation": {"model": "omni-moderation-latest"},
        "web_search_options": {},
        "prompt_cache_options": {},
    },
    ("POST", "/v1/completions"): {"suffix": "x"},
    ("POST", "/v1/responses"): {
        "prompt": {"id": "pmpt_1"},
        "moderation": {"model": "omni-moderation-latest"},
        "context_management": [{"type": "compaction"}],
        "prompt_cache_options": {},
        "top_logprobs": 1,
        "service_tier": "flex",
        "reasoning": {"effort": "high"},
    },
    ("POST", "/v1/responses/input_tokens"): {"personality": "x"},
    ("POST", "/v1/organization/projects"): {"residency": "x", "geography": "x", "external_key_id": "x"},
}
ENOUGH: dict[str, Any] = {
    "/v1/chat/completions": raw.HELLO,
    "/v1/completions": {"model": "echo", "prompt": "hello"},
    "/v1/responses": {"model": "echo", "input": "hello"},
    "/v1/responses/input_tokens": {"model": "echo", "input": "hello"},
    "/v1/organization/projects": {"name": "x"},
}


@pytest.mark.parametrize("where", REFUSED, ids=lambda where: str(where[1]))
def test_what_is_said_to_be_refused_is_refused(server: Running, shown: Operations, where: tuple[str, str]) -> None:
    one = next(one for one in shown if (one["method"], one["path"]) == where)
    refused = {p["name"] for p in one["parameters"] if any(s["verdict"] == "refused" for s in p["support"].values())}
    assert refused == set(REFUSED[where])
    for name, value in REFUSED[where].items():
        answer = raw.ask(server, where[0], where[1], {**ENOUGH[where[1]], name: value})
        assert answer.status == 400, (name, answer.body)
        assert answer.error["code"] == "unsupported_parameter", (name, answer.error)
        assert answer.error["param"].partition(".")[0] == name


def test_tools_are_those_of_the_description(server: Running) -> None:
    tools = {one["type"]: one for one in raw.ask(server, "GET", PATH).json["tools"]}
    schemas = openapi.description()["components"]["schemas"]
    kinds = [schemas[one["$ref"].rpartition("/")[2]]["properties"]["type"]["enum"] for one in schemas["Tool"]["oneOf"]]
    assert set(tools) == {kind[0] for kind in kinds}
    for kind, one in tools.items():
        answer = raw.ask(server, "POST", "/v1/responses", {"model": "echo", "input": "x", "tools": [{"type": kind}]})
        unknown = answer.status == 400 and "Supported values are" in answer.error["message"]
        assert unknown != one["supported"], (kind, answer.body)
