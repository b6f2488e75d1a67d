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
from collections.abc import Sequence
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
    report,
    retrieval,
    runs,
    runs_report,
    scene,
    search,
    soak,
    speaking,
    startup,
    tuning,
    tuning_report,
    usage,
    usage_page,
)
from bench.build import NotBuilt  # noqa: E402
from bench.processes import NotStarted, cores  # noqa: E402
from bench.report import Goal  # noqa: E402

PARTS = (
    "gateway",
    "cache",
    "soak",
    "hanging-up",
    "engine",
    "startup",
    "usage",
    "usage-page",
    "dashboard",
    "queue",
    "files",
    "batches",
    "embeddings",
    "documents",
    "ingestion",
    "search",
    "retrieval",
    "hearing",
    "speaking",
    "images",
    "diffusion",
    "tuning",
    "cells",
    "runs",
)


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
    measured = {
        "gateway": _gateway,
        "cache": _cache,
        "soak": _soak,
        "hanging-up": _hanging_up,
        "engine": _engine,
        "startup": _startup,
        "usage": _usage,
        "usage-page": _usage_page,
        "dashboard": _dashboard,
        "files": _files,
        "queue": _queue,
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
    print(f"{outcome.figures['machine']}; {options.rounds} rounds; measured on core {cores()[0]}, from {cores()[1]}\n")
    for part in options.parts:
        with tempfile.TemporaryDirectory(prefix="homeport-bench-") as folder:
            try:
                measured[part](Path(folder), options, outcome)
            except (NotBuilt, NotStarted, engine.WrongLength) as error:
                outcome.failed[part] = str(error)
                print(f"{part} was not measured: {error}\n", file=sys.stderr)
    print(report.goals_table(outcome.goals))
    _write(options.json, outcome)
    missed = [goal for goal in outcome.goals if goal.verdict == "MISSED"]
    return 1 if options.check and (missed or outcome.failed) else 0


def machine() -> str:
    """One line on what this was measured on."""
    text = Path("/proc/cpuinfo").read_text()
    model = next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), "?")
    return f"{os.cpu_count()} cores of {model}, Linux {platform.release()}, Python {platform.python_version()}"


def _gateway(folder: Path, options: argparse.Namespace, outcome: Outcome) -> None:
    streams = 200 if options.quick else 1000
    found = gateway.run(
        folder, rounds=options.rounds, seconds=options.seconds, streams=streams, litellm=options.litellm
    )
    print(report.gateway_tables(found) + "\n")
    _keep(outcome, "gateway", found.as_dict(), report.gateway_goals(found))


def _cache(folder: Path, options: argparse.Namespace, outcome: Outcome) -> None:
    found = cache.run(folder, rounds=options.rounds, seconds=options.seconds)
    print(report.cache_table(found) + "\n")
    _keep(outcome, "cache", found.as_dict(), report.cache_goals(found))


def _soak(folder: Path, options: argparse.Namespace, outcome: Outcome) -> None:
    found = soak.run(folder, steps=4 if options.quick else 10)
    print(report.soak_table(found) + "\n")
    _keep(outcome, "soak", found.as_dict(), report.soak_goals(found))


def _hanging_up(folder: Path, options: argparse.Namespace, outcome: Outcome) -> None:
    found = hanging_up.run(folder, waves=5 if options.quick else 10)
    print(report.hanging_up_table(found) + "\n")
    _keep(outcome, "hanging-up", found.as_dict(), report.hanging_up_goals(found))


def _engine(folder: Path, options: argparse.Namespace, outcome: Outcome) -> None:
    found = engine.run(folder, _model(options), rounds=options.rounds)
    print(report.engine_table(found) + "\n")
    _keep(outcome, "engine", found.as_dict(), report.engine_goals(found))


def _startup(folder: Path, options: argparse.Namespace, outcome: Outcome) -> None:
    found = startup.run(folder, rounds=options.rounds, model=_model(options))
    print(report.startup_table(found) + "\n")
    _keep(outcome, "startup", found.as_dict(), report.startup_goals(found))


def _usage(folder: Path, options: argparse.Namespace, outcome: Outcome) -> None:
    found = usage.run(folder, rows=50_000 if options.quick else 1_000_000, rounds=options.rounds)
    print(report.usage_table(found) + "\n")
    _keep(outcome, "usage", found.as_dict(), report.usage_goals(found))


def _usage_page(folder: Path, options: argparse.Namespace, outcome: Outcome) -> None:
    found = usage_page.run(folder, rows=50_000 if options.quick else 1_000_000, rounds=options.rounds)
    print(report.usage_page_table(found) + "\n")
    _keep(outcome, "usage-page", found.as_dict(), report.usage_page_goals(found))


def _dashboard(folder: Path, options: argparse.Namespace, outcome: Outcome) -> None:
    found = dashboard.run(folder, rounds=options.rounds)
    print(report.dashboard_table(found) + "\n")
    _keep(outcome, "dashboard", found.as_dict(), report.dashboard_goals(found))


def _files(folder: Path, options: argparse.Namespace, outcome: Outcome) -> None:
    sizes = (
        {"megabytes": 64, "upload_megabytes": 128} if options.quick else {"megabytes": 512, "upload_megabytes": 1024}
    )
    found = files.run(folder, **sizes, listed=20_000 if options.quick else 100_000, rounds=min(options.rounds, 3))
    print(report.files_table(found) + "\n")
    _keep(outcome, "files", found.as_dict(), report.files_goals(found))


def _queue(folder: Path, options: argparse.Namespace, outcome: Outcome) -> None:
    count, seconds = (200, 3.0) if options.quick else (1000, 10.0)
    found = jobs.run(folder, rounds=options.rounds, count=count, seconds=seconds)
    print(report.queue_table(found) + "\n")
    _keep(outcome, "queue", found.as_dict(), [])


def _batches(folder: Path, options: argparse.Namespace, outcome: Outcome) -> None:
    sizes = {"lines": 2_000, "model_lines": 128} if options.quick else {"lines": 10_000, "model_lines": 256}
    model, rounds = (None, options.rounds) if options.echo else (_model(options), min(options.rounds, 3))
    found = batches.run(folder, model, **sizes, rounds=rounds)
    print(report.batches_table(found) + "\n")
    _keep(outcome, "batches", found.as_dict(), report.batches_goals(found))


def _embeddings(folder: Path, options: argparse.Namespace, outcome: Outcome) -> None:
    found = embeddings.run(
        folder, _embedding_models(), sentences=128 if options.quick else 2048, rounds=min(options.rounds, 3)
    )
    print(report.embeddings_table(found) + "\n")
    _keep(outcome, "embeddings", found.as_dict(), report.embeddings_goals(found))


def _documents(folder: Path, options: argparse.Namespace, outcome: Outcome) -> None:
    pages, share = (100, 0.1) if options.quick else (documents.PAGES, 1.0)
    found = documents.run(folder, rounds=min(options.rounds, 3), pages=pages, share=share)
    print(report.documents_table(found) + "\n")
    _keep(outcome, "documents", found.as_dict(), [])


def _ingestion(folder: Path, options: argparse.Namespace, outcome: Outcome) -> None:
    pages = 3 if options.quick else 25
    model = _embedding_models()["onnx"]
    found = ingestion.run(folder, model, files=2, pages=pages, rounds=min(options.rounds, 3))
    print(report.ingestion_table(found) + "\n")
    _keep(outcome, "ingestion", found.as_dict(), report.ingestion_goals(found))


def _search(folder: Path, options: argparse.Namespace, outcome: Outcome) -> None:
    sizes = search.SIZES[:2] if options.quick else search.SIZES
    found = search.run(folder, sizes=sizes, count=50 if options.quick else 200)
    print(report.search_table(found) + "\n")
    _keep(outcome, "search", found.as_dict(), [])


def _retrieval(folder: Path, options: argparse.Namespace, outcome: Outcome) -> None:
    from tests.model_files import minilm

    most = 300 if options.quick else 2000
    found = retrieval.run(folder, minilm(), most=most, queries=min(most, 500))
    print(report.retrieval_table(found) + "\n")
    _keep(outcome, "retrieval", found.as_dict(), [])


def _hearing(folder: Path, options: argparse.Namespace, outcome: Outcome) -> None:
    each, rounds = (4, 1) if options.quick else (16, min(options.rounds, 3))
    found = hearing.run(folder, rounds=rounds, each=each)
    print(report.hearing_table(found) + "\n")
    _keep(outcome, "hearing", found.as_dict(), report.hearing_goals(found))


def _diffusion(folder: Path, options: argparse.Namespace, outcome: Outcome) -> None:
    found = diffusion.run(folder, rounds=min(options.rounds, 3), steps=5 if options.quick else 20)
    print(report.diffusion_table(found) + "\n")
    _keep(outcome, "diffusion", found.as_dict(), report.diffusion_goals(found))


def _speaking(folder: Path, options: argparse.Namespace, outcome: Outcome) -> None:
    rounds, characters = (1, 1000) if options.quick else (min(options.rounds, 3), 4096)
    found = speaking.run(folder, rounds=rounds, characters=characters)
    print(report.speaking_table(found) + "\n")
    _keep(outcome, "speaking", found.as_dict(), report.speaking_goals(found))


def _images(folder: Path, options: argparse.Namespace, outcome: Outcome) -> None:
    found = scene.run(folder, rounds=1 if options.quick else min(options.rounds, 3))
    print(report.images_table(found) + "\n")
    _keep(outcome, "images", found.as_dict(), report.images_goals(found))


def _runs(folder: Path, options: argparse.Namespace, outcome: Outcome) -> None:
    each, at_once = (20, 50) if options.quick else (100, 200)
    found = runs.run(folder, rounds=options.rounds, each=each, at_once=at_once)
    print(runs_report.runs_table(found) + "\n")
    _keep(outcome, "runs", found.as_dict(), runs_report.runs_goals(found))


def _tuning(folder: Path, options: argparse.Namespace, outcome: Outcome) -> None:
    found = tuning.run(folder, _model(options), rounds=1 if options.quick else min(options.rounds, 3), trl=options.trl)
    print(tuning_report.tuning_table(found) + "\n")
    _keep(outcome, "tuning", found.as_dict(), tuning_report.tuning_goals(found))


def _cells(folder: Path, options: argparse.Namespace, outcome: Outcome) -> None:
    found = cells.run(folder, rounds=options.rounds)
    print(report.cells_table(found) + "\n")
    _keep(outcome, "cells", found.as_dict(), [])


def _keep(outcome: Outcome, part: str, figures: dict[str, Any], goals: list[Goal]) -> None:
    outcome.figures[part] = figures
    outcome.goals += goals


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


if __name__ == "__main__":
    sys.exit(main())
