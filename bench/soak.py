"""What stays in memory: 10,000 plain requests at a time, and the resident set after each."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import processes
from bench.gateway import MANY, STREAMS, Scenario
from bench.loading import measure, request_file
from bench.report import Goal, table

STEP = 10_000
#: Caches, pools and the log's queue have their size after so many steps.
WARM = 2


def growth(resident: Sequence[int]) -> float:
    """Bytes from one to the next, by the least squares."""
    return statistics.linear_regression(range(len(resident)), resident).slope


@dataclass(frozen=True)
class Soak:
    """resident: bytes before the first step and after each. errors: of all steps."""

    resident: tuple[int, ...]
    errors: int

    @property
    def slope(self) -> float:
        """Bytes a step."""
        return growth(self.resident[WARM:])

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"slope": self.slope}

    def table(self) -> str:
        rows = [[f"{step * STEP:,}", f"{resident / 1e6:.1f}"] for step, resident in enumerate(self.resident)]
        return "soak\n" + table(["requests", "MB resident"], rows)

    def goals(self) -> list[Goal]:
        return [
            Goal("memory that 10,000 requests leave behind", self.slope / 1e6, 1.0, 0.1, unit=" MB"),
            Goal("answers that were wrong or not whole", self.errors, 0),
        ]


def run(folder: Path, *, steps: int) -> Soak:
    """Each step is 9,900 plain requests and 100 streams."""
    processes.raise_file_limit()
    streams = Scenario("", STREAMS.connections, chunks=20)
    with processes.upstream(folder) as upstream:
        settings = processes.HOMEPORT.format(upstream=upstream.port)
        with processes.homeport(folder, settings, core=processes.cores()[0]) as server:
            plain, streamed = request_file(folder, MANY.body()), request_file(folder, streams.body())
            resident, errors = [server.rss()], 0
            for _ in range(steps):
                errors += measure(server, plain, MANY.connections, most=STEP - 100).errors
                errors += measure(server, streamed, streams.connections, most=100).errors
                resident.append(server.rss())
    return Soak(tuple(resident), errors)
