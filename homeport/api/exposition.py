"""Numbers as Prometheus reads them: the text format 0.0.4, or OpenMetrics 1.0.

Source: prometheus.io/docs/instrumenting/exposition_formats; RFC-like text of OpenMetrics 1.0 (openmetrics.io).
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, Protocol

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Buckets(Protocol):
    """A histogram. counts: by bucket, the last one for what is above all bounds (which are inclusive)."""

    @property
    def bounds(self) -> Sequence[float]: ...

    @property
    def counts(self) -> Sequence[int]: ...

    @property
    def sum(self) -> float: ...


class Family(NamedTuple):
    """name: of a counter without its `_total`. labels: names."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """As a query names it."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


#: What a family shows: the values of its labels, and the number. A label that is empty is left out.
Samples = Collection[tuple[tuple[str, ...], float | Buckets]]


def text(families: Iterable[tuple[Family, Samples]], *, open_metrics: bool) -> bytes:
    lines: list[str] = []
    for family, samples in families:
        name = family.name if open_metrics else family.shown
        lines += [f"# HELP {name} {_escaped(family.help)}", f"# TYPE {name} {family.kind}"]
        for values, sample in samples:
            labels = [
                f'{label}="{_escaped(value)}"' for label, value in zip(family.labels, values, strict=True) if value
            ]
            if isinstance(sample, int | float):
                lines.append(f"{family.shown}{_braced(labels)} {_number(sample)}")
            else:
                lines += _histogram(family.name, labels, sample)
    if open_metrics:
        lines.append("# EOF")
    return "\n".join([*lines, ""]).encode()


def _histogram(name: str, labels: list[str], buckets: Buckets) -> Iterator[str]:
    below = 0
    for bound, count in zip((*map(float, buckets.bounds), None), buckets.counts, strict=True):
        below += count
        bucket = '"+Inf"' if bound is None else f'"{bound!r}"'
        yield f"{name}_bucket{_braced([*labels, f'le={bucket}'])} {below}"
    yield f"{name}_sum{_braced(labels)} {_number(buckets.sum)}"
    yield f"{name}_count{_braced(labels)} {below}"


def _braced(labels: Sequence[str]) -> str:
    return f"{{{','.join(labels)}}}" if labels else ""


def _number(value: float) -> str:
    return repr(value)


def _escaped(value: str) -> str:
    """Names come from clients: whatever is in them, they end no line and no quotes."""
    shown = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return shown.encode("utf-8", "replace").decode()
