"""What each measurement gives: figures, a table of them, and ratios that are held against the goals of the performance
design (section 6 and 7)."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Goal:
    """One ratio and what it should be. rising: more is better. value: None when it could not be compared."""

    name: str
    value: float | None
    floor: float
    target: float | None = None
    stretch: float | None = None
    rising: bool = False
    unit: str = ""

    @property
    def verdict(self) -> str:
        """The best mark that is reached: stretch, target, floor, or MISSED."""
        if self.value is None:
            return "not compared"
        for mark, limit in (("stretch", self.stretch), ("target", self.target), ("floor", self.floor)):
            if limit is not None and (self.value >= limit if self.rising else self.value <= limit):
                return mark
        return "MISSED"


def per_core(cpu_us: float) -> float:
    """Requests per CPU second of the server, from its CPU microseconds per request."""
    return 1e6 / cpu_us if cpu_us > 0 else math.inf


def ratio(ours: float, theirs: float) -> float | None:
    """None where nothing was measured."""
    return ours / theirs if theirs and math.isfinite(ours) and math.isfinite(theirs) else None


def paired(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """The median over the rounds of ours / theirs: what slows a whole round down cancels out."""
    ratios = [found for one, other in zip(ours, theirs, strict=True) if (found := ratio(one, other)) is not None]
    return statistics.median(ratios) if ratios else None


class Finding(Protocol):
    """What one part of the bench has measured. table: in words and Markdown. as_dict: for the JSON file."""

    def table(self) -> str: ...

    def goals(self) -> list[Goal]: ...

    def as_dict(self) -> dict[str, Any]: ...


def goals_table(goals: Iterable[Goal]) -> str:
    rows = []
    for goal in goals:
        limits = [
            f"{limit:g}{goal.unit}" if limit is not None else "" for limit in (goal.floor, goal.target, goal.stretch)
        ]
        value = "-" if goal.value is None else f"{goal.value:.3g}{goal.unit}"
        rows.append([goal.name, value, *limits, goal.verdict])
    return table(["goal", "measured", "floor", "target", "stretch", "reached"], rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, padded so that it reads as text, too. The first column is words, the rest numbers."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def row(cells: Sequence[str]) -> str:
        padded = [
            cells[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)),
        ]
        return f"| {' | '.join(padded)} |"

    return "\n".join([row(lines[0]), f"| {' | '.join(rule)} |", *map(row, lines[1:])])
