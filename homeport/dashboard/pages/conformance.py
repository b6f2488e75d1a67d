"""What is supported, operation by operation."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from starlette.requests import Request

from homeport.dashboard.client import Client
from homeport.dashboard.page import Page

#: What a row can be, and how that is said.
KINDS = {
    "supported": "Supported",
    "refusing": "With refused parameters",
    "missing": "Not here",
    "ours": "Beyond OpenAI's",
}


class Row(NamedTuple):
    """kinds: those that apply to it. refused: parameters that somebody refuses. words: by which it is found. asked: its
    parameters, but for those in its path. by_models: models of this machine and upstreams take some of them
    differently."""

    operation: Mapping[str, Any]
    kinds: Sequence[str]
    refused: Sequence[str]
    words: str
    asked: Sequence[Mapping[str, Any]]
    by_models: bool


class Group(NamedTuple):
    """rows: with whether each is shown. shown: one of them is."""

    resource: str
    rows: Sequence[tuple[Row, bool]]
    supported: int
    shown: bool


async def _conformance(client: Client, request: Request) -> Mapping[str, Any]:
    told = await client.get("/v1/homeport/conformance")
    query, kind = request.query_params.get("q", "").strip(), request.query_params.get("show", "")
    resource = request.query_params.get("resource", "")
    rows = [_row(one) for one in told["operations"]]
    return {
        "counts": told["counts"],
        "tools": told["tools"],
        "kinds": KINDS,
        "of_kind": {name: sum(name in row.kinds for row in rows) for name in KINDS},
        "resources": list(dict.fromkeys(one["resource"] for one in told["operations"])),
        "grouped": _grouped([(row, _matches(row, query, kind, resource)) for row in rows]),
        "found": sum(_matches(row, query, kind, resource) for row in rows),
        "query": query,
        "kind": kind,
        "resource": resource,
    }


def _grouped(rows: Sequence[tuple[Row, bool]]) -> Sequence[Group]:
    """By resource, each once, in their order; what is here first."""
    found: dict[str, list[tuple[Row, bool]]] = {}
    for row, shown in rows:
        found.setdefault(row.operation["resource"], []).append((row, shown))
    return [
        Group(
            name,
            sorted(those, key=lambda one: not one[0].operation["supported"]),
            sum(row.operation["supported"] for row, _ in those),
            any(shown for _, shown in those),
        )
        for name, those in found.items()
    ]


def _row(operation: Mapping[str, Any]) -> Row:
    asked = [one for one in operation["parameters"] if one["in"] != "path"]
    refused = [one["name"] for one in asked if refusals(one)]
    kinds = ["supported" if operation["supported"] else "missing"]
    kinds += ["refusing"] if refused else []
    kinds += [] if operation["name"] else ["ours"]
    words = (operation["method"], operation["path"], operation["name"] or "", operation["resource"])
    names = (one["name"] for one in asked)
    by_models = any("local" in one["support"] for one in asked)
    return Row(operation, kinds, refused, " ".join((*words, *names)).lower(), asked, by_models)


def refusals(parameter: Mapping[str, Any]) -> list[str]:
    """By whom it is refused."""
    return [who for who, support in parameter["support"].items() if support["verdict"] == "refused"]


def _matches(row: Row, query: str, kind: str, resource: str) -> bool:
    """As conformance.js."""
    return (
        all(word in row.words for word in query.lower().split())
        and (not kind or kind in row.kinds)
        and (not resource or row.operation["resource"] == resource)
    )


PAGES = [Page("/conformance", "conformance", "Conformance", "any", _conformance, group="Manage", icon="check")]
