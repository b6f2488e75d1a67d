"""Writes the pages that are made from the code: docs/configuration.md and docs/compatibility.md.

`make docs` runs it; tests/docs compare the committed pages with what it would write.
"""

import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import msgspec  # noqa: E402
from starlette.routing import BaseRoute  # noqa: E402

from homeport import app, settings  # noqa: E402
from homeport.api import conformance  # noqa: E402
from homeport.api.conformance import Shown  # noqa: E402

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
    shown = conformance.catalogue(_routes())
    count = conformance.counts(shown)
    theirs = [one for one in shown if one.name is not None]
    ours = [one for one in shown if one.name is None]
    lines = [
        "# Compatibility",
        _NOTE,
        f"Of the {count['openai']} operations of OpenAI's description {count['supported']} are here, with all their",
        "parameters: each is honoured, or refused by a 400 that names it, and none is dropped in silence. The same is",
        "told by `GET /v1/homeport/conformance` (for any key), and by the dashboard's page Conformance.",
        "",
        "Azure's clients find the same below `/openai`, with their `api-version`. How things are done is told in",
        "[chat and completions](upstreams.md), [responses and conversations](responses.md), [audio](audio.md),",
        "[images](images.md), [moderations](moderations.md), [files and uploads](files.md), [batches](batches.md),",
        "[vector stores](vector-stores.md) and [their search](file-search.md), [fine-tuning](fine-tuning.md),",
        "[assistants and threads](assistants.md), [runs](assistants-runs.md), [hosted tools](hosted-tools.md) and",
        "[keys and limits](keys-and-limits.md), the Admin API's.",
        "",
        "## Operations",
        "",
    ]
    for resource in dict.fromkeys(one.resource for one in theirs):
        lines += _resource(resource, [one for one in theirs if one.resource == resource])
    lines += [
        "## What OpenAI has no word for",
        "",
        *_operations(ours),
        "",
        *_refusals(shown),
        *_local(shown),
        *_tools(),
    ]
    return "\n".join(lines)


def _routes() -> Sequence[BaseRoute]:
    """Of a Homeport with everything that needs no weights."""
    with TemporaryDirectory() as folder:
        table = {"server": {"data": folder}, "models": {"echo": {"engine": "echo"}}, "dashboard": {"enabled": False}}
        asgi: Any = app.build(msgspec.convert(table, settings.Settings)).asgi
        routes: Sequence[BaseRoute] = asgi._app.routes
        return routes


def _resource(name: str, shown: Sequence[Shown]) -> list[str]:
    here = [one for one in shown if one.supported]
    missing = [one for one in shown if not one.supported]
    lines = [f"### {name}", ""]
    if here:
        lines += [*_operations(here), ""]
    if missing:
        paths = ", ".join(f"`{one.method} {one.path}`" for one in missing)
        lines += [f"Not here: {paths}. {missing[0].why}", ""]
    return lines


def _operations(shown: Sequence[Shown]) -> list[str]:
    rows = ["| operation | parameters | for | more |", "| --- | --- | --- | --- |"]
    for one in shown:
        rows.append(f"| `{one.method} {one.path}` | {_parameters(one)} | {_whose(one)} | {_more(one)} |")
    return rows


def _parameters(shown: Shown) -> str:
    """Of what models answer they have a section of their own."""
    if shown.capability is not None and shown.parameters:
        return f"[below](#{_anchor(shown)})"
    return ", ".join(f"`{one.name}`" for one in shown.parameters if one.place != "path")


def _whose(shown: Shown) -> str:
    if shown.key == "project":
        return f"`{shown.scope}`"
    return {"admin": "admin keys", "any": "any key", "none": "everybody"}[shown.key or "none"]


def _more(shown: Shown) -> str:
    told = [
        f"Azure: `{shown.azure}`" if shown.azure is not None and "deployments" in shown.azure else "",
        "streams" if shown.streams else "",
        "in batches" if shown.batch else "",
        f"`OpenAI-Beta: {shown.beta}`" if shown.beta else "",
    ]
    return ", ".join(filter(None, told))


def _refusals(shown: Sequence[Shown]) -> list[str]:
    rows = [
        "## Refused by everybody",
        "",
        "| operation | parameter | why |",
        "| --- | --- | --- |",
    ]
    for one in shown:
        for parameter in one.parameters:
            support = parameter.support.get("homeport")
            if support is not None and support.verdict == "refused":
                rows.append(f"| `{one.method} {one.path}` | `{parameter.name}` | {support.note} |")
    return [*rows, ""]


def _anchor(shown: Shown) -> str:
    """As GitHub makes it of the heading."""
    return f"post-{shown.path.replace('/', '')}"


def _local(shown: Sequence[Shown]) -> list[str]:
    lines = [
        "## Parameters of models",
        "",
        "An upstream gets every parameter as it came. A local model honours a parameter or refuses it with a 400 that",
        "names it.",
        "",
    ]
    for one in shown:
        if one.capability is None or not one.parameters:
            continue
        lines += [f"### POST {one.path}", "", "| parameter | of a local model | how |", "| --- | --- | --- |"]
        for parameter in one.parameters:
            support = parameter.support.get("local") or parameter.support["homeport"]
            lines.append(f"| `{parameter.name}` | {support.verdict} | {support.note} |")
        lines.append("")
    return lines


def _tools() -> list[str]:
    lines = ["## Tools", "", "| type | who does what models call for | here |", "| --- | --- | --- |"]
    for one in conformance.tools():
        where = f"in {' and '.join(one.where)}" if one.supported else "no: refused by its name"
        lines.append(f"| `{one.type}` | {'the server' if one.hosted else 'the client'} | {where} |")
    return [*lines, ""]


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
