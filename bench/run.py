"""`make bench`: speed and memory as ratios, everything that is compared side by side in one run.

make bench BENCH="--quick"                      a look, two minutes
make bench BENCH="--only gateway --check"       the gateway alone; status 1 when a floor is missed
make bench BENCH="--only hanging-up"            1,000 clients that leave in the middle of their streams, ten times
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # so that `bench` and `tests` are found when this file is run as a script

from bench import (  # noqa: E402
    batches,
    cache,
    cells,
    dashboard,
    diffusion,
    documents,
    embeddings,
    engine,
    files,
    gateway,
    hanging_up,
    hearing,
    ingestion,
    jobs,
    retrieval,
    runs,
    scene,
    search,
    soak,
    speaking,
    startup,
    tuning,
    usage,
    usage_page,
)
from bench.build import NotBuilt  # noqa: E402
from bench.processes import NotStarted, cores  # noqa: E402
from bench.report import Finding, Goal, goals_table  # noqa: E402


@dataclass
class Outcome:
    """figures: for the JSON file. failed: part -> why it could not be measured."""

    figures: dict[str, Any] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench/run.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Needs gcc (apt-get install gcc libc6-dev). Without nginx (apt-get install nginx-light) and LiteLLM the "
        "gateway is measured and not compared with them. Close everything else first: CPU per request bears noise, "
        "latency does not.",
    )
    parser.add_argument("--quick", action="store_true", help="short rounds: the order of magnitude, not the figure")
    parser.add_argument("--only", metavar="PARTS", default=",".join(PARTS), help=f"of {','.join(PARTS)} (default: all)")
    parser.add_argument("--rounds", type=int, help="rounds of each measurement (default 5, quick 2)")
    parser.add_argument("--seconds", type=float, help="length of one gateway measurement (default 3, quick 1)")
    parser.add_argument("--model", type=Path, metavar="GGUF", help="the default model's file (default: pulled, once)")
    parser.add_argument("--echo", action="store_true", help="batches: those of echo alone, in all rounds")
    parser.add_argument(
        "--litellm", metavar="FILE", help="LiteLLM's executable, to compare with (default: on the PATH)"
    )
    parser.add_argument(
        "--trl",
        metavar="PYTHON",
        help="an interpreter that has TRL and PEFT (default: this one, after `pip install --group bench`)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where figures go (default bench/results/DATE.json)")
    parser.add_argument("--check", action="store_true", help="status 1 when a floor is missed or a part fails")
    options = parser.parse_args(arguments)
    options.parts = [part.strip() for part in options.only.split(",")]
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"--only knows {', '.join(PARTS)}, not {unknown[0]!r}")
    options.litellm = options.litellm or shutil.which("litellm")
    options.trl = options.trl or (sys.executable if find_spec("trl") is not None else None)
    options.rounds = options.rounds or (2 if options.quick else 5)
    options.seconds = options.seconds or (1.0 if options.quick else 3.0)
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = options_of(arguments)
    outcome = Outcome({"machine": machine(), "quick": options.quick, "rounds": options.rounds})
    print(f"{outcome.figures['machine']}; {options.rounds} rounds; measured on core {cores()[0]}, from {cores()[1]}\n")
    for part in options.parts:
        with tempfile.TemporaryDirectory(prefix="homeport-bench-") as folder:
            try:
                found = PARTS[part](Path(folder), options)
            except (NotBuilt, NotStarted, engine.WrongLength) as error:
                outcome.failed[part] = str(error)
                print(f"{part} was not measured: {error}\n", file=sys.stderr)
                continue
        print(found.table() + "\n")
        outcome.figures[part] = found.as_dict()
        outcome.goals += found.goals()
    print(goals_table(outcome.goals))
    _write(options.json, outcome)
    missed = [goal for goal in outcome.goals if goal.verdict == "MISSED"]
    return 1 if options.check and (missed or outcome.failed) else 0


def machine() -> str:
    """One line on what this was measured on."""
    text = Path("/proc/cpuinfo").read_text()
    model = next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), "?")
    return f"{os.cpu_count()} cores of {model}, Linux {platform.release()}, Python {platform.python_version()}"


def _gateway(folder: Path, options: argparse.Namespace) -> Finding:
    streams = 200 if options.quick else 1000
    return gateway.run(folder, rounds=options.rounds, seconds=options.seconds, streams=streams, litellm=options.litellm)


def _cache(folder: Path, options: argparse.Namespace) -> Finding:
    return cache.run(folder, rounds=options.rounds, seconds=options.seconds)


def _soak(folder: Path, options: argparse.Namespace) -> Finding:
    return soak.run(folder, steps=4 if options.quick else 10)


def _hanging_up(folder: Path, options: argparse.Namespace) -> Finding:
    return hanging_up.run(folder, waves=5 if options.quick else 10)


def _engine(folder: Path, options: argparse.Namespace) -> Finding:
    return engine.run(folder, _model(options), rounds=options.rounds)


def _startup(folder: Path, options: argparse.Namespace) -> Finding:
    return startup.run(folder, rounds=options.rounds, model=_model(options))


def _usage(folder: Path, options: argparse.Namespace) -> Finding:
    return usage.run(folder, rows=50_000 if options.quick else 1_000_000, rounds=options.rounds)


def _usage_page(folder: Path, options: argparse.Namespace) -> Finding:
    return usage_page.run(folder, rows=50_000 if options.quick else 1_000_000, rounds=options.rounds)


def _dashboard(folder: Path, options: argparse.Namespace) -> Finding:
    return dashboard.run(folder, rounds=options.rounds)


def _files(folder: Path, options: argparse.Namespace) -> Finding:
    sizes = (
        {"megabytes": 64, "upload_megabytes": 128} if options.quick else {"megabytes": 512, "upload_megabytes": 1024}
    )
    return files.run(folder, **sizes, listed=20_000 if options.quick else 100_000, rounds=min(options.rounds, 3))


def _queue(folder: Path, options: argparse.Namespace) -> Finding:
    count, seconds = (200, 3.0) if options.quick else (1000, 10.0)
    return jobs.run(folder, rounds=options.rounds, count=count, seconds=seconds)


def _batches(folder: Path, options: argparse.Namespace) -> Finding:
    model, rounds = (None, options.rounds) if options.echo else (_model(options), min(options.rounds, 3))
    return batches.run(folder, model, lines=10_000, model_lines=128 if options.quick else 256, rounds=rounds)


def _embeddings(folder: Path, options: argparse.Namespace) -> Finding:
    return embeddings.run(
        folder, _embedding_models(), sentences=128 if options.quick else 2048, rounds=min(options.rounds, 3)
    )


def _documents(folder: Path, options: argparse.Namespace) -> Finding:
    pages, share = (100, 0.1) if options.quick else (documents.PAGES, 1.0)
    return documents.run(folder, rounds=min(options.rounds, 3), pages=pages, share=share)


def _ingestion(folder: Path, options: argparse.Namespace) -> Finding:
    pages = 3 if options.quick else 25
    model = _embedding_models()["onnx"]
    return ingestion.run(folder, model, files=2, pages=pages, rounds=min(options.rounds, 3))


def _search(folder: Path, options: argparse.Namespace) -> Finding:
    sizes = search.SIZES[:2] if options.quick else search.SIZES
    return search.run(folder, sizes=sizes, count=50 if options.quick else 200)


def _retrieval(folder: Path, options: argparse.Namespace) -> Finding:
    from tests.model_files import minilm

    most = 300 if options.quick else 2000
    return retrieval.run(folder, minilm(), most=most, queries=min(most, 500))


def _hearing(folder: Path, options: argparse.Namespace) -> Finding:
    each, rounds = (4, 1) if options.quick else (16, min(options.rounds, 3))
    return hearing.run(folder, rounds=rounds, each=each)


def _diffusion(folder: Path, options: argparse.Namespace) -> Finding:
    return diffusion.run(folder, rounds=min(options.rounds, 3), steps=5 if options.quick else 20)


def _speaking(folder: Path, options: argparse.Namespace) -> Finding:
    rounds, characters = (1, 1000) if options.quick else (min(options.rounds, 3), 4096)
    return speaking.run(folder, rounds=rounds, characters=characters)


def _images(folder: Path, options: argparse.Namespace) -> Finding:
    return scene.run(folder, rounds=1 if options.quick else min(options.rounds, 3))


def _runs(folder: Path, options: argparse.Namespace) -> Finding:
    each, at_once = (20, 50) if options.quick else (100, 200)
    return runs.run(folder, rounds=options.rounds, each=each, at_once=at_once)


def _tuning(folder: Path, options: argparse.Namespace) -> Finding:
    return tuning.run(folder, _model(options), rounds=1 if options.quick else min(options.rounds, 3), trl=options.trl)


def _cells(folder: Path, options: argparse.Namespace) -> Finding:
    return cells.run(folder, rounds=options.rounds)


def _model(options: argparse.Namespace) -> Path:
    """The default model's file. Raises NotStarted where it cannot be had."""
    if options.model is not None:
        given: Path = options.model.resolve()
        return given
    from homeport.backends.models import PullError
    from tests.model_files import smollm2

    try:
        return smollm2()
    except PullError as error:
        raise NotStarted(str(error)) from None


def _embedding_models() -> dict[str, Path]:
    """The default one as each engine runs it. Raises NotStarted where it cannot be had."""
    from homeport.backends.models import PullError
    from tests import model_files

    try:
        return {"onnx": model_files.minilm(), "llama_cpp": model_files.minilm_gguf()}
    except PullError as error:
        raise NotStarted(str(error)) from None


def _write(file: Path | None, outcome: Outcome) -> None:
    now = datetime.datetime.now(datetime.UTC)
    path = file or ROOT / "bench" / "results" / f"{now:%Y-%m-%dT%H%M%S}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    goals = [
        {"goal": goal.name, "measured": goal.value, "floor": goal.floor, "reached": goal.verdict}
        for goal in outcome.goals
    ]
    figures = outcome.figures | {"goals": goals, "failed": outcome.failed}
    path.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"\nfigures: {path}")


#: What is measured, in the order in which it is.
PARTS: Mapping[str, Callable[[Path, argparse.Namespace], Finding]] = {
    "gateway": _gateway,
    "cache": _cache,
    "soak": _soak,
    "hanging-up": _hanging_up,
    "engine": _engine,
    "startup": _startup,
    "usage": _usage,
    "usage-page": _usage_page,
    "dashboard": _dashboard,
    "queue": _queue,
    "files": _files,
    "batches": _batches,
    "embeddings": _embeddings,
    "documents": _documents,
    "ingestion": _ingestion,
    "search": _search,
    "retrieval": _retrieval,
    "hearing": _hearing,
    "speaking": _speaking,
    "images": _images,
    "diffusion": _diffusion,
    "tuning": _tuning,
    "cells": _cells,
    "runs": _runs,
}


if __name__ == "__main__":
    sys.exit(main())
