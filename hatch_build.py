"""At build time: third-party data and libraries, which are never committed, take their places in the package.

The libraries of the dashboard (homeport/dashboard/libraries.toml) are fetched by the puller of `homeport pull` and held
to their digests. The prices of the package genai-prices (MIT) become homeport/gateway/genai_prices.json.

Hatchling runs this for wheels and for editable installs, with the version that pyproject.toml pins. The file is read by
homeport/gateway/pricing.py; without it Homeport knows its own prices only.

    {"source": "genai-prices 0.2.3", "license": "The MIT License ...",
     "models": [{"names": ["gpt-5", ...], "context": 400000,
                 "rows": [{"valid_from": "2025-08-07", PRICES, "modes": {"batch": {PRICES}}}]}]}

Rows are in the order of their days; without a day: ever since. PRICES are dollars as strings, named and meant as in
prices.toml; `long_context` lists those of prompts longer than `above` tokens.

What cannot be told exactly in this form is left out, not approximated: models whose price depends on the hour of the
day, or on what Homeport does not count (requests, pages, seconds of video, characters beside tokens). Searches are a
charge of tools that Homeport does not run, and cached audio and pictures are not counted apart from cached text: those
prices are dropped. Names are those that the package gives in full; it knows more by patterns.
"""

import base64
import hashlib
import json
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib import metadata
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILE = "homeport/gateway/genai_prices.json"
LIBRARIES = "homeport/dashboard/libraries.toml"
VENDOR = "homeport/dashboard/static/vendor"
PACKAGE = "genai-prices"
#: In this order: a name that several have is priced as the first does.
PROVIDERS = ("openai", "anthropic", "google", "mistral", "deepseek", "x-ai", "cohere", "groq")
PRICES = {
    "input_mtok": "input",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
    "output_mtok": "output",
    "input_audio_mtok": "input_audio",
    "output_audio_mtok": "output_audio",
    "input_image_mtok": "input_image",
    "output_image_mtok": "output_image",
    "input_mchars": "per_million_characters",
}
HOURS = ("audio_hours", "input_audio_hours")
DROPPED = frozenset(
    {
        "web_searches_kcount",
        "storage_searches_kcount",
        "cache_write_5m_mtok",
        "cache_write_1h_mtok",
        "cache_audio_read_mtok",
        "cache_image_read_mtok",
    }
)
#: What the package calls OpenAI's batches and service tiers.
MODES = {
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"service_tier": "fast"},
}


class CustomBuildHook(BuildHookInterface):  # type: ignore[misc]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        file = Path(self.root, FILE)
        text = snapshot()
        if not file.exists() or file.read_text("utf-8") != text:
            file.write_text(text, "utf-8")
        bring_libraries(Path(self.root))
        build_data["artifacts"] += ["/" + FILE, "/" + VENDOR]


def bring_libraries(root: Path) -> None:
    """Unless what is there was made from the same list."""
    wanted = (root / LIBRARIES).read_bytes()
    folder = root / VENDOR
    made_from = folder / "made-from"
    digest = hashlib.sha256(wanted).hexdigest()
    if made_from.exists() and made_from.read_text() == digest:
        return
    sys.path.insert(0, str(root))
    from homeport.backends.weights import archive, download, indexes

    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as temporary:
        for library in tomllib.loads(wanted.decode())["libraries"]:
            found = indexes.npm(library["name"], library["version"])
            promised = "sha512:" + base64.b64decode(library["integrity"].removeprefix("sha512-")).hex()
            packed = Path(temporary, "packed")
            download.fetch(
                download.Web(ca_file=found.ca_file), found.url, packed, digest=promised, what=library["name"]
            )
            for member, name in library["files"].items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                archive.extract(packed, member, folder / name)
            packed.unlink()
    made_from.write_text(digest)


class LeftOut(Exception):
    """A model's prices cannot be told in our form."""


def snapshot() -> str:
    """The file's text: the same for the same version of the package."""
    from genai_prices.data import providers

    models = compact({provider.id: provider for provider in providers})
    version = metadata.version(PACKAGE)
    head = f'{{"source": {json.dumps(f"{PACKAGE} {version}")}, "license": {json.dumps(_license())}, "models": [\n'
    return head + ",\n".join(json.dumps(model) for model in models) + "\n]}\n"


def compact(providers: Mapping[str, Any]) -> list[dict[str, Any]]:
    taken: set[str] = set()
    models = []
    for id in PROVIDERS:
        provider = providers[id]
        for model in sorted(provider.models, key=lambda model: model.id):
            names = [name for name in _names(model) if name not in taken and _owner(provider, name) is model]
            try:
                rows = _rows(provider, model)
            except LeftOut:
                continue
            if names and rows:
                taken.update(names)
                entry = {"names": names, "rows": rows}
                models.append(entry | ({"context": model.context_window} if model.context_window else {}))
    return models


def _names(model: Any) -> list[str]:
    """The model's id first, then the names that its pattern spells out."""
    return list(dict.fromkeys([model.id, *sorted(_spelled(model.match))]))


def _spelled(clause: Any) -> Iterator[str]:
    kind = type(clause).__name__
    if kind == "ClauseOr":
        for part in clause.or_:
            yield from _spelled(part)
    elif kind == "ClauseEquals":
        yield clause.equals
    elif kind == "ClauseStartsWith":
        yield clause.starts_with.rstrip("-@")


def _owner(provider: Any, name: str) -> Any:
    """The model that the package itself takes a name for."""
    return next((model for model in provider.models if model.is_match(name)), None)


def _rows(provider: Any, model: Any) -> list[dict[str, Any]]:
    modes = MODES if provider.id == "openai" else {}
    rows: list[dict[str, Any]] = []
    for day in [None, *_days(model, modes)]:
        at = datetime.combine(day or date(2000, 1, 1), time(12), tzinfo=UTC)
        row = _prices(provider, model.get_prices(at))
        if not row:
            continue
        if others := {
            mode: prices
            for mode, context in modes.items()
            if (prices := _prices(provider, model.get_prices(at, context))) != row
        }:
            row["modes"] = others
        if not rows or row != {key: value for key, value in rows[-1].items() if key != "valid_from"}:
            rows.append({"valid_from": day.isoformat(), **row} if day else row)
    return rows


def _days(model: Any, modes: Mapping[str, Mapping[str, str]]) -> list[date]:
    """The days on which a price changes."""
    conditions = [price.constraint for price in model.prices] if isinstance(model.prices, list) else []
    conditions += [variant.constraint for variant in model.price_variants or () if variant.when in modes.values()]
    days = set()
    for condition in conditions:
        if condition is None:
            continue
        if type(condition).__name__ != "StartDateConstraint":
            raise LeftOut
        days.add(condition.start_date)
    return sorted(days)


def _prices(provider: Any, price: Any) -> dict[str, Any]:
    """One ModelPrice in our words, with those of longer prompts."""
    given = {key: value for key, value in vars(price).items() if value is not None and key not in DROPPED}
    starts = sorted({tier.start for value in given.values() for tier in getattr(value, "tiers", ())})
    row = _flat(provider, {key: _at(value, 0) for key, value in given.items()})
    if starts:
        row["long_context"] = [
            {"above": start, **_flat(provider, {key: _at(value, start) for key, value in given.items()})}
            for start in starts
        ]
    return row


def _at(value: Any, start: int) -> Decimal:
    """A price in the tier that begins at `start` tokens."""
    if isinstance(value, Decimal):
        return value
    reached: Sequence[Any] = [tier for tier in value.tiers if tier.start <= start and start]
    price: Decimal = reached[-1].price if reached else value.base
    return price


def _flat(provider: Any, given: Mapping[str, Decimal]) -> dict[str, Any]:
    if any(key in given for key in HOURS):
        return {"per_minute": _plain(_minute(provider, given))}
    if given.keys() - PRICES.keys() or ("input_mchars" in given and len(given) > 1):
        raise LeftOut
    return {PRICES[key]: _plain(given[key]) for key in PRICES if key in given}


def _minute(provider: Any, given: Mapping[str, Decimal]) -> Decimal:
    """Of audio alone, by the hour. Groq bills ten seconds at least, which a price cannot say."""
    hours = {given[key] for key in given}
    if provider.id == "groq" or given.keys() - set(HOURS) or len(hours) != 1:
        raise LeftOut
    hour = hours.pop()
    if (minute := hour / 60) * 60 != hour:
        raise LeftOut
    return minute


def _plain(price: Decimal) -> str:
    return format(price.normalize(), "f")


def _license() -> str:
    files = metadata.files(PACKAGE) or []
    return next((file.read_text() for file in files if file.name == "LICENSE"), "MIT")
