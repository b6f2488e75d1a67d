"""What bench/runs.py has measured, in words."""

from statistics import median

from bench.report import Goal, table
from bench.runs import WAYS, Runs


def runs_goals(found: Runs) -> list[Goal]:
    """Of what is added by a run; a second of the old service's polling is what people are used to."""
    added = {way: median(found.seconds[way]) - median(found.seconds["chat"]) for way in WAYS}
    return [
        Goal("added by a streamed run to its chat call", 1000 * added["streamed"], 100, 30, 10, unit=" ms"),
        Goal("added by a polled run to its chat call", 1000 * added["polled"], 250, 150, unit=" ms"),
        Goal(f"{found.at_once} runs at once, the slowest", median(found.slowest), 10, 5, 2, unit=" s"),
    ]


def runs_table(found: Runs) -> str:
    rows = [[way, f"{1000 * median(found.seconds[way]):.1f}", f"{1000 * median(found.cpu[way]):.2f}"] for way in WAYS]
    together = [
        [
            f"{found.at_once:,}",
            f"{median(found.together):.2f}",
            f"{median(found.slowest):.2f}",
            f"{found.at_once / median(found.together):,.0f}",
            f"{found.memory / 1e6:,.0f}",
        ]
    ]
    return "\n\n".join(
        [
            "runs\n" + table(["one after the other, on echo", "wall ms", "CPU ms"], rows),
            table(["at once, streamed", "seconds", "the slowest", "runs/s", "MB beyond before"], together),
        ]
    )
