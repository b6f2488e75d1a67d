"""Numbers as Prometheus reads them: the text format 0.0.4, or OpenMetrics 1.0.

Source: prometheus.io/docs/instrumenting/exposition_formats; RFC-like text of OpenMetrics 1.0 (openmetrics.io).
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
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


def blocks(families: Iterable[tuple[Family, Samples]], *, open_metrics: bool) -> Iterator[str]:
    """The text, a piece for each sample. What a piece tells was so at one moment."""
    for family, samples in families:
        name = family.name if open_metrics else family.shown
        yield f"# HELP {name} {_escaped(family.help)}\n# TYPE {name} {family.kind}\n"
        for values, sample in samples:
            labels = ",".join(
                [f'{label}="{_escaped(value)}"' for label, value in zip(family.labels, values, strict=True) if value]
            )
            if isinstance(sample, int | float):
                yield f"{family.shown}{_braced(labels)} {sample!r}\n"
            else:
                yield _histogram(family.name, labels, sample)
    if open_metrics:
        yield "# EOF\n"


def _histogram(name: str, labels: str, buckets: Buckets) -> str:
    below = 0
    start = f'{name}_bucket{{{labels}{"," if labels else ""}le="'
    lines: list[str] = []
    for bound, count in zip(_bounds(tuple(buckets.bounds)), buckets.counts, strict=True):
        below += count
        lines.append(f'{start}{bound}"}} {below}')
    shown = _braced(labels)
    return "\n".join([*lines, f"{name}_sum{shown} {buckets.sum!r}", f"{name}_count{shown} {below}", ""])


@lru_cache
def _bounds(bounds: tuple[float, ...]) -> tuple[str, ...]:
    return *(repr(float(bound)) for bound in bounds), "+Inf"


def _braced(labels: str) -> str:
    return f"{{{labels}}}" if labels else ""


def _escaped(value: str) -> str:
    """Names come from clients: whatever is in them, they end no line and no quotes."""
    shown = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return shown.encode("utf-8", "replace").decode()
