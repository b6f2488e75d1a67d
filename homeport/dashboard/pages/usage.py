"""Usage and costs over time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from starlette.requests import Request

from homeport import clock
from homeport.dashboard.client import Client
from homeport.dashboard.page import Page
from homeport.dashboard.pages.names import key_names, project_names

HOUR, DAY = 3600, 86_400
#: What is asked for -> seconds of a bucket, how many there are, and how many of them are a bar.
RANGES = {"24h": (HOUR, 24, 1), "7d": (HOUR, 168, 6), "30d": (DAY, 30, 1), "90d": (DAY, 90, 1)}
#: How it may be grouped -> as the API says it.
GROUPS = {"model": "model", "project": "project_id", "key": "api_key_id"}
#: Groups that a chart tells apart; the others are one.
SERIES = 7
#: Buckets of a page of the API, at most.
_MOST = {HOUR: 168, DAY: 31}
_WIDTHS = {HOUR: "1h", DAY: "1d"}
_LONGEST = 366


class Span(NamedTuple):
    """name: of RANGES, or `custom`. start, end: unix seconds. width: of a bucket; bar: of several."""

    name: str
    start: int
    end: int
    width: int
    bar: int

    @property
    def bars(self) -> Sequence[int]:
        return range(self.start, self.end, self.bar)

    def bar_of(self, at: int) -> int:
        return at - (at - self.start) % self.bar


@dataclass
class Sums:
    requests: int = 0
    input: int = 0
    output: int = 0
    cost: float = 0.0
    saved: float = 0.0
    listed: float = 0.0
    unpriced: int = 0
    unlisted: int = 0

    def add(self, other: "Sums") -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass
class Group:
    """name: for people, as far as there is one. sums: by the start of a bar."""

    id: str
    name: str = ""
    project: str = ""
    sums: dict[int, Sums] = field(default_factory=dict)

    def at(self, start: int) -> Sums:
        return self.sums.setdefault(start, Sums())

    @property
    def total(self) -> Sums:
        return _total(self.sums.values())


async def _usage(client: Client, request: Request) -> Mapping[str, Any]:
    span, group = _span(request), request.query_params.get("group", "model")
    group = group if group in GROUPS else "model"
    found = await _groups(client, span, GROUPS[group])
    await _name(client, group, found)
    groups = sorted(found.values(), key=lambda one: _weight(one.total), reverse=True)
    return {
        "span": span,
        "ranges": RANGES,
        "group": group,
        "rows": groups,
        "total": _total(one.total for one in groups),
        "first": _day(span.start),
        "last": _day(span.end - 1),
        "today": _day(int(clock.now())),
        "chart": _chart(span, groups),
        "question": _question(span) | {"group_by": [GROUPS[group]]},
    }


def _span(request: Request) -> Span:
    now, name = int(clock.now()), request.query_params.get("range", "30d")
    if name == "custom":
        first, last = (_parsed(request.query_params.get(param, ""), now) for param in ("from", "to"))
        first, last = min(first, last), max(first, last)
        first = max(first, last - timedelta(days=_LONGEST - 1))
        start, end = (int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) for day in (first, last))
        days = (last - first).days + 1
        width, hours = (HOUR, 1 if days == 1 else 6) if days <= 7 else (DAY, 1)
        return Span(name, start, end + DAY, width, hours * width)
    name = name if name in RANGES else "30d"
    width, count, together = RANGES[name]
    end = now // width * width + width
    return Span(name, end - count * width, end, width, together * width)


def _parsed(text: str, now: int) -> date:
    """Today, where it is no date."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return datetime.fromtimestamp(now, UTC).date()


def _day(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def _question(span: Span) -> dict[str, Any]:
    return {
        "start_time": span.start,
        "end_time": span.end,
        "bucket_width": _WIDTHS[span.width],
        "limit": _MOST[span.width],
    }


async def _groups(client: Client, span: Span, group: str) -> dict[str, Group]:
    """By id. Keys are asked for with their projects, which know their names."""
    by = [group, "project_id"] if group == "api_key_id" else [group]
    found: dict[str, Group] = {}
    for bucket in await _buckets(client, _question(span) | {"group_by": by}):
        for result in bucket["results"]:
            id = result[group] or ""
            one = found.setdefault(id, Group(id, project=result["project_id"] or ""))
            one.at(span.bar_of(bucket["start_time"])).add(_sums(result))
    return found


async def _buckets(client: Client, question: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    page = None
    while True:
        answer = await client.get("/v1/homeport/costs", **question, page=page)
        found += answer["data"]
        page = answer["next_page"]
        if page is None:
            return found


def _sums(result: Mapping[str, Any]) -> Sums:
    amount, saved, listed = (float(result[name]["value"]) for name in ("amount", "saved", "listed"))
    return Sums(
        requests=result["num_model_requests"],
        input=result["input_tokens"],
        output=result["output_tokens"],
        cost=amount,
        saved=saved,
        listed=listed,
        unpriced=result["num_unpriced_requests"],
        unlisted=result["num_unlisted_requests"],
    )


async def _name(client: Client, group: str, found: Mapping[str, Group]) -> None:
    """What has been deleted is called by its id, as a model is."""
    projects = await project_names(client) if group != "model" else {}
    keys = await key_names(client, {one.project for one in found.values()}) if group == "key" else {}
    for one in found.values():
        one.name = (projects | keys).get(one.id) or one.id or "unknown"
        if group == "key" and one.project in projects:
            one.name += f" · {projects[one.project]}"


def _total(sums: Iterable[Sums]) -> Sums:
    total = Sums()
    for one in sums:
        total.add(one)
    return total


def _weight(sums: Sums) -> tuple[float, int]:
    return max(sums.cost, sums.listed), sums.input + sums.output + sums.requests


def _chart(span: Span, groups: Sequence[Group]) -> Mapping[str, Any]:
    """For usage.js: the heaviest groups by themselves, the others as one."""
    shown, rest = groups[:SERIES], groups[SERIES:]
    series = [{"name": one.name, **_values(span, [one])} for one in shown]
    if rest:
        series.append({"name": f"{len(rest)} others", **_values(span, rest)})
    return {"x": list(span.bars), "days": span.width == DAY, "series": series}


def _values(span: Span, groups: Sequence[Group]) -> Mapping[str, Sequence[float]]:
    sums = [_total(one.sums[start] for one in groups if start in one.sums) for start in span.bars]
    return {
        "cost": [one.cost for one in sums],
        "listed": [one.listed for one in sums],
        "tokens": [one.input + one.output for one in sums],
        "requests": [one.requests for one in sums],
    }


PAGES = [Page("/usage", "usage", "Usage", "admin", _usage, group="Observe", icon="chart")]
