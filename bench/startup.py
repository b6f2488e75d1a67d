"""Start-up and rest: how soon the command, the port and the model are there, and what an idle server holds."""

import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import processes
from bench.report import Goal, table
from homeport.settings import DEFAULT_MODEL

#: A gateway alone. Without a model here there would be the default ones, of which a voice comes with its library.
IDLE = """\
[models.echo]
engine = "echo"

[upstreams.somewhere]
base_url = "http://127.0.0.1:9/v1"
"""


@dataclass(frozen=True)
class Life:
    """Seconds from the command to the port that answers and to /readyz; resident bytes a second later."""

    port: float
    ready: float
    rss: int


@dataclass(frozen=True)
class Startup:
    """Seconds, medians. python: the interpreter alone, which all of them hold. model: None where it is not here."""

    python: float
    version: float
    core: float
    idle: Life
    model: Life | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        rows = [
            ["python alone", f"{self.python:.3f} s"],
            ["homeport --version", f"{self.version:.3f} s"],
            ["import homeport.app", f"{self.core:.3f} s"],
            ["serve to port answering, no model", f"{self.idle.port:.3f} s"],
            ["serve to /readyz, no model", f"{self.idle.ready:.3f} s"],
            ["resident, idle, no model", f"{self.idle.rss / 1e6:.0f} MB"],
        ]
        if self.model is not None:
            rows += [
                ["serve to port answering, default model", f"{self.model.port:.3f} s"],
                ["serve to /readyz, default model", f"{self.model.ready:.3f} s"],
                ["resident, idle, default model loaded", f"{self.model.rss / 1e6:.0f} MB"],
            ]
        return "start-up and rest\n" + table(["", "median"], rows)

    def goals(self) -> list[Goal]:
        return [
            Goal("homeport --version", self.version, 0.5, unit=" s"),
            Goal("import homeport.app", self.core, 0.5, unit=" s"),
            Goal("idle server without a model", self.idle.rss / 1e6, 120, 60, 45, unit=" MB"),
        ]


def run(folder: Path, *, rounds: int, model: Path | None) -> Startup:
    """model: the default model's file. Raises NotStarted."""
    return Startup(
        python=seconds_of([sys.executable, "-c", "pass"], rounds),
        version=seconds_of([sys.executable, "-m", "homeport", "--version"], rounds),
        core=seconds_of([sys.executable, "-c", "import homeport.app"], rounds),
        idle=_median_life([life(folder / f"idle-{place}", IDLE) for place in range(rounds)]),
        model=None
        if model is None
        else _median_life([life(folder / f"model-{place}", with_model(model)) for place in range(rounds)]),
    )


def seconds_of(command: Sequence[str], rounds: int) -> float:
    """Wall clock of a command from start to end; one run before warms the file cache."""
    taken = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=processes.environment(), cwd="/")
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


def with_model(file: Path, engine: str = "llama_cpp") -> str:
    """Settings that serve the default model from this file, on llama.cpp whatever else is installed. engine: `auto` is
    the one that is used where nothing is chosen."""
    return f'[models.{DEFAULT_MODEL}]\nengine = "{engine}"\npath = "{file}"\n'


def life(folder: Path, settings: str) -> Life:
    """One server from its start to a second of rest, in a data folder of its own. Raises NotStarted."""
    log = folder / "homeport" / "out.log"
    began = time.perf_counter()
    with processes.homeport(folder, settings, path="/healthz") as server:
        port = time.perf_counter() - began
        while not processes.answers(server.port, "/readyz"):
            if time.perf_counter() - began > 120:
                raise processes.NotStarted(f"the model is not ready after 120 s:\n{log.read_text()}")
            time.sleep(0.01)
        ready = time.perf_counter() - began
        time.sleep(1.0)
        rss = server.rss()
    shutil.rmtree(folder)
    return Life(port, ready, rss)


def _median_life(lives: Sequence[Life]) -> Life:
    return Life(
        statistics.median(one.port for one in lives),
        statistics.median(one.ready for one in lives),
        round(statistics.median(one.rss for one in lives)),
    )
