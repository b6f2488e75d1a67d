"""Writes the pages that are made from the code: docs/configuration.md and docs/compatibility.md.

`make docs` runs it; tests/docs compare the committed pages with what it would write.
"""

import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from homeport import settings  # noqa: E402
from homeport.api.admin.routes import operations  # noqa: E402
from homeport.api.admin.table import HOMEPORT, ORGANIZATION  # noqa: E402
from homeport.api.assistants import Assistants  # noqa: E402
from homeport.api.batches import Batches  # noqa: E402
from homeport.api.containers import Containers  # noqa: E402
from homeport.api.conversations import Conversations  # noqa: E402
from homeport.api.files import Files  # noqa: E402
from homeport.api.fine_tuning import FineTuning  # noqa: E402
from homeport.api.input_tokens import InputTokens  # noqa: E402
from homeport.api.responses import Responses  # noqa: E402
from homeport.api.runs import Runs  # noqa: E402
from homeport.api.threads import Threads  # noqa: E402
from homeport.api.uploads import Uploads  # noqa: E402
from homeport.api.vector_store_search import VectorStoreSearch  # noqa: E402
from homeport.api.vector_stores import VectorStores  # noqa: E402
from homeport.backends.local.parameters import CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS  # noqa: E402
from homeport.control.changes import Changes  # noqa: E402
from homeport.control.usage_pages import PAGES  # noqa: E402
from homeport.gateway.endpoints import ENDPOINTS, SCOPES, Endpoint  # noqa: E402
from homeport.gateway.tiers import Tiers  # noqa: E402
from homeport.wire.admin_usage import CostsParameters, ModelParameters  # noqa: E402
from homeport.wire.limits import LimitsParameters  # noqa: E402
from homeport.wire.requests import RequestsParameters  # noqa: E402

_NOTE = "<!-- Made by `make docs` from the code; edit there. -->\n"


def configuration() -> str:
    lines = [
        "# Configuration",
        _NOTE,
        "Homeport needs none. What you set comes from `homeport.toml` in the working folder (or `--config FILE`, or",
        "`HOMEPORT_CONFIG`), then from the environment, then from the command line; the last one wins. A name",
        "that does not exist is refused with the nearest right one.",
        "",
        "```toml",
        "[upstreams.openai]                 # one setting more: OpenAI answers every name that is not local",
        'api_key = "sk-..."                 # better: HOMEPORT_UPSTREAMS_OPENAI_API_KEY in the environment',
        "",
        "[upstreams.farm]                   # vLLM, Ollama, another Homeport: anything OpenAI-compatible",
        'base_url = "http://127.0.0.1:9000/v1"',
        'models = ["qwen3-32b"]',
        "",
        "[models.house]                     # a GGUF of yours",
        'path = "~/models/house.gguf"',
        "",
        "[aliases]",
        '"gpt-4o" = ["qwen3-32b", "house"]  # the second is tried when the first fails before its first byte',
        "```",
        "",
        "`HOMEPORT_API_KEY` presets the first key, `HOMEPORT_ADMIN_KEY` one of the Admin API. `HF_ENDPOINT` and",
        "`HF_TOKEN` are read by `homeport pull hf:...`. How keys, tiers, budgets and prices are used:",
        "[keys and limits](keys-and-limits.md).",
    ]
    section = None
    for name, kind, default in settings.walk():
        table = name.rpartition(".")[0] or (name if name == "aliases" else "")
        if table != section:
            section = table
            lines += ["", f"## `[{table}]`" if table else "## Above all tables", ""]
            lines += ["| setting | type | default | meaning |", "| --- | --- | --- | --- |"]
        shown = "" if default is None else f"`{_value(default)}`"
        lines.append(f"| `{name.rpartition('.')[2]}` | {_type(kind)} | {shown} | {_meaning(kind)} |")
    return "\n".join([*lines, ""])


def compatibility() -> str:
    lines = [
        "# Compatibility",
        _NOTE,
        "## Endpoints",
        "",
        "| path | Azure style | capability | in batches |",
        "| --- | --- | --- | --- |",
        *(
            f"| `POST {one.path}` | {_azure(one)} | {one.capability} | {'yes' if one.batch else 'no'} |"
            for one in ENDPOINTS
        ),
        "| `POST /v1/responses` | `/openai/responses` | chat, as often as it takes ([responses](responses.md)) | yes |",
        "| `GET /v1/models`, `GET /v1/models/{model}` | `/openai/models`, `/openai/models/{model}` | | |",
        "",
        *_owned(),
        *_admin(),
        "## Parameters of local models",
        "",
        "An upstream gets every parameter as it came. A local model honours a parameter or refuses it with a 400 that",
        "names it.",
        "",
    ]
    tables = {
        "chat completions": CHAT,
        "completions": COMPLETIONS,
        "embeddings": EMBEDDINGS,
        "moderations": MODERATIONS,
    }
    for endpoint, parameters in tables.items():
        lines += [f"### {endpoint.capitalize()}", "", "| parameter | here | how |", "| --- | --- | --- |"]
        lines += [f"| `{name}` | {one.verdict} | {one.note} |" for name, one in sorted(parameters.items())]
        lines.append("")
    return "\n".join(lines)


def _azure(endpoint: Endpoint) -> str:
    return f"`/openai/deployments/{{deployment}}{endpoint.azure}`" if endpoint.azure is not None else ""


def _owned() -> list[str]:
    nothing: Any = None
    found: dict[str, dict[str, Sequence[str]]] = {}
    owned = (
        *(Files(nothing, nothing), Uploads(nothing, nothing), Batches(nothing)),
        *(VectorStores(nothing, nothing, nothing), VectorStoreSearch(nothing)),
        FineTuning(nothing, nothing, nothing),
        *(Assistants(nothing), Threads(nothing, nothing), Runs(nothing, nothing, poll_ms=0)),
        *(Responses(nothing), InputTokens(nothing, nothing, largest=0)),
        *(Conversations(nothing, nothing, largest=0), Containers(nothing, nothing)),
    )
    for one in (operation for those in owned for operation in those.operations()):
        found.setdefault(one.path, {})[one.method] = one.query
    return [
        "## What projects own",
        "",
        "Azure's clients find the same below `/openai`, with their `api-version`. [Files and uploads](files.md),",
        "[batches](batches.md): of the endpoints above those that are marked so; [vector stores](vector-stores.md) and",
        "[their search](file-search.md); [fine-tuning](fine-tuning.md), whose checkpoints the Admin API shares;",
        "[assistants, threads](assistants.md) and [runs](assistants-runs.md), whose requests say `OpenAI-Beta:",
        "assistants=v2` (Azure's need not); [responses](responses.md), [conversations](conversations.md) and",
        "[containers](hosted-tools.md).",
        "",
        *_table(found),
        "",
    ]


def _admin() -> list[str]:
    nothing: Any = None
    tiers: Any = Tiers()
    found: dict[str, dict[str, Sequence[str]]] = {}
    for one in operations(Changes(nothing), tiers=tiers, scopes=SCOPES, reached=nothing, organization=""):
        found.setdefault(one.path, {})[one.method] = one.query
    for page in PAGES:
        found[f"{ORGANIZATION}/usage/{page.name}"] = {"GET": page.parameters.__struct_fields__}
    found[f"{ORGANIZATION}/costs"] = {"GET": CostsParameters.__struct_fields__}
    found[f"{HOMEPORT}/receipts/{{request_id}}"] = {"GET": ()}
    found[f"{HOMEPORT}/requests"] = {"GET": RequestsParameters.__struct_fields__}
    found[f"{HOMEPORT}/limits"] = {"GET": LimitsParameters.__struct_fields__}
    found[f"{HOMEPORT}/costs"] = {"GET": ModelParameters.__struct_fields__}
    found[f"{HOMEPORT}/cache"] = {"GET": (), "DELETE": ()}
    found[f"{HOMEPORT}/savings"] = {"GET": ModelParameters.__struct_fields__}
    ours = {path: methods for path, methods in found.items() if path.startswith(HOMEPORT)}
    return [
        "## Admin API",
        "",
        "OpenAI's, for admin keys and the operator's. [How to use it](keys-and-limits.md). Not here, on purpose:",
        "certificates, groups and roles, data retention, external keys and storage, workload identity, service tiers",
        "and hosted tools; they answer 404.",
        "",
        *_table({path: methods for path, methods in found.items() if path not in ours}),
        "",
        "What OpenAI has no word for:",
        "",
        *_table(ours),
        "",
    ]


def _table(paths: Mapping[str, Mapping[str, Sequence[str]]]) -> list[str]:
    """paths: path -> method -> parameters of the query."""
    rows = ["| path | methods | parameters |", "| --- | --- | --- |"]
    for path, methods in paths.items():
        parameters = ", ".join(f"`{name}`" for query in methods.values() for name in query)
        rows.append(f"| `{path.replace(':path', '')}` | {', '.join(methods)} | {parameters} |")
    return rows


_TOML = {
    str: "text",
    int: "whole number",
    Decimal: "number",
    float: "number",
    bool: "true or false",
    tuple: "list of texts",
    dict: "table",
}


def _type(kind: Any) -> str:
    """In TOML's words; an optional setting is described by what it is when it is there."""
    if get_origin(kind) is Annotated:
        return _type(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    if get_origin(kind) is tuple and get_args(kind)[0] is settings.RouteTarget:
        return "list of tables"
    if get_origin(kind) in (Union, UnionType):
        return _type(next(one for one in get_args(kind) if one is not type(None)))
    return _TOML[get_origin(kind) or kind]


def _meaning(kind: Any) -> str:
    return " ".join(one.description for one in get_args(kind)[1:] if getattr(one, "description", None))


def _value(default: Any) -> str:
    if isinstance(default, tuple):
        return "[" + ", ".join(f'"{item}"' for item in default) + "]"
    return str(default).lower() if isinstance(default, bool) else str(default)


MADE = {"configuration.md": configuration, "compatibility.md": compatibility}

if __name__ == "__main__":
    for name, make in MADE.items():
        (HERE / name).write_text(make(), "utf-8")
