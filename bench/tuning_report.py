"""What bench/tuning.py has measured, in words."""

import statistics

from bench.report import Goal, table
from bench.tuning import Tuning, slowdown


def tuning_goals(found: Tuning) -> list[Goal]:
    faster = None
    if "trl" in found.of_steps:
        pairs = zip(found.of_steps["trl"], found.of_steps["homeport"], strict=True)
        faster = statistics.median([theirs / ours for theirs, ours in pairs])
    return [
        Goal("tokens a second in training, of TRL's", faster, 1.0, 1.4, rising=True, unit="x"),
        Goal("a request while a model is trained, of one alone", slowdown(found.latency), 1.5, 1.15, unit="x"),
        Goal(
            "held-out answers of the tuned model that are right",
            100 * found.held_out["tuned"],
            60,
            90,
            rising=True,
            unit="%",
        ),
        Goal("from `succeeded` to the first answer", found.answers, 3.0, 1.0, unit="s"),
    ]


def tuning_table(found: Tuning) -> str:
    rows = [
        [
            who,
            f"{found.tokens / statistics.median(found.of_steps[who]):,.0f}",
            f"{statistics.median(found.of_steps[who]):.1f}",
            f"{statistics.median(found.seconds[who]):.1f}",
            f"{found.peak[who] / 1e6:,.0f}",
        ]
        for who in found.seconds
    ]
    head = [
        f"{found.tokens:,} tokens, {found.precision}",
        "tokens/s",
        "seconds of steps",
        "from start to adapter",
        "peak MB",
    ]
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    serving = [
        [name, f"{statistics.median(found.latency[name]):.2f}", f"{max(found.latency[name]):.2f}"]
        for name in ("alone", "training")
    ]
    rest = [
        ["held-out answers that are right: base", f"{found.held_out['base']:.0%}"],
        ["of the tuned model", f"{found.held_out['tuned']:.0%}"],
        ["seconds from `succeeded` to its first answer", f"{found.answers:.2f}"],
    ]
    return "\n\n".join(
        [
            "tuning\n" + table(head, rows) + (f"\n{versions}" if versions else ""),
            table(["a request, seconds", "median", "longest"], serving),
            table(["", ""], rest),
        ]
    )
