"""Fine-tuning: how fast a model is trained beside Hugging Face's libraries, what memory that takes, how serving feels
it, and how soon the new model answers.

The job: the default model, 96 conversations of a shop (tests/support_messages.py), an epoch in steps of 8, rank 16, all
cores. `homeport` is its trainer as a server runs it; `trl` is bench/trl_job.py in an interpreter that has TRL and PEFT
(`--trl PYTHON`), with the same conversations, LoRA, steps and precision; tokens are those that Homeport counted. A
round does each once, one after the other. Serving: requests one after the other, with no job and beside one.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import msgspec

from bench import processes
from bench.processes import KEY, NotStarted, Served
from bench.report import Goal, paired, table
from bench.startup import with_model
from homeport.backends.tuning import preparation
from homeport.training.text import job as contract
from tests import support_messages

EXAMPLES, BATCH, RANK, ALPHA, RATE, SEED = 96, 8, 16, 32, 1e-3, 7
MODEL = "smollm2-135m-instruct"
REQUESTS = 12
#: Between two of them, so that the trainer has its turns; alone, too, so that both are the same.
_PAUSE_SECONDS = 0.5
_PATIENCE = 1800.0
_BOUNDARY = "bench-71c0de"


@dataclass
class Tuning:
    """seconds: who -> from its start to the adapter on disk, of each round; of_steps: without loading; peak: resident
    bytes. tokens: of all steps. held_out: share of answers that are right, of the base and of the tuned model. latency:
    `alone` and `training` -> seconds of each request. answers: seconds from `succeeded` to the first answer."""

    tokens: int = 0
    precision: str = ""
    seconds: dict[str, list[float]] = field(default_factory=dict)
    of_steps: dict[str, list[float]] = field(default_factory=dict)
    peak: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    held_out: dict[str, float] = field(default_factory=dict)
    latency: dict[str, list[float]] = field(default_factory=dict)
    answers: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        rows = [
            [
                who,
                f"{self.tokens / statistics.median(self.of_steps[who]):,.0f}",
                f"{statistics.median(self.of_steps[who]):.1f}",
                f"{statistics.median(self.seconds[who]):.1f}",
                f"{self.peak[who] / 1e6:,.0f}",
            ]
            for who in self.seconds
        ]
        head = [
            f"{self.tokens:,} tokens, {self.precision}",
            "tokens/s",
            "seconds of steps",
            "from start to adapter",
            "peak MB",
        ]
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        serving = [
            [name, f"{statistics.median(self.latency[name]):.2f}", f"{max(self.latency[name]):.2f}"]
            for name in ("alone", "training")
        ]
        rest = [
            ["held-out answers that are right: base", f"{self.held_out['base']:.0%}"],
            ["of the tuned model", f"{self.held_out['tuned']:.0%}"],
            ["seconds from `succeeded` to its first answer", f"{self.answers:.2f}"],
        ]
        return "\n\n".join(
            [
                "tuning\n" + table(head, rows) + (f"\n{versions}" if versions else ""),
                table(["a request, seconds", "median", "longest"], serving),
                table(["", ""], rest),
            ]
        )

    def goals(self) -> list[Goal]:
        faster = None
        if "trl" in self.of_steps:
            faster = paired(self.of_steps["trl"], self.of_steps["homeport"])
        return [
            Goal("tokens a second in training, of TRL's", faster, 1.0, 1.4, rising=True, unit="x"),
            Goal("a request while a model is trained, of one alone", slowdown(self.latency), 1.5, 1.15, unit="x"),
            Goal(
                "held-out answers of the tuned model that are right",
                100 * self.held_out["tuned"],
                60,
                90,
                rising=True,
                unit="%",
            ),
            Goal("from `succeeded` to the first answer", self.answers, 3.0, 1.0, unit="s"),
        ]


def run(folder: Path, model: Path, *, rounds: int, trl: str | None) -> Tuning:
    """trl: an interpreter that has TRL. Raises NotStarted."""
    found = Tuning()
    for number in range(rounds):
        home = folder / f"round-{number}"
        home.mkdir()
        _homeport(home, model, found)
        if trl is not None:
            _trl(home, model, trl, found)
    _served(folder, model, found)
    return found


def _homeport(home: Path, model: Path, found: Tuning) -> None:
    """The trainer, in a folder that is filled as a server fills it."""
    messages = support_messages.to_learn(EXAMPLES)
    (home / preparation.RAW_TRAINING).write_bytes(support_messages.jsonl(messages))
    wanted = preparation.Preparation(base=str(model), model=MODEL, method="supervised", max_length=2048)
    (home / preparation.PREPARE).write_bytes(msgspec.json.encode(wanted, enc_hook=str))
    _ran([sys.executable, "-m", "homeport.backends.tuning", str(home)], home)
    job = contract.Job(
        base=str(model),
        method="supervised",
        hyperparameters=contract.Hyperparameters(n_epochs=1, batch_size=BATCH, learning_rate=RATE),
        seed=SEED,
        lora_r=RANK,
        lora_alpha=ALPHA,
        nice=0,
    )
    (home / contract.JOB).write_bytes(msgspec.json.encode(job, enc_hook=str))
    began = time.perf_counter()
    _ran([sys.executable, "-m", "homeport.training.text", str(home)], home)
    found.seconds.setdefault("homeport", []).append(time.perf_counter() - began)
    lines = (home / contract.EVENTS).read_bytes().splitlines()
    events = [msgspec.json.decode(line, type=contract.AnyEvent) for line in lines]
    steps = [one for one in events if isinstance(one, contract.Step)]
    found.of_steps.setdefault("homeport", []).append(sum(one.seconds for one in steps))
    found.tokens = sum(one.tokens for one in steps)
    for one in events:
        if isinstance(one, contract.Began):
            found.precision = one.precision
        elif isinstance(one, contract.Ended):
            found.peak["homeport"] = max(found.peak.get("homeport", 0), one.peak_bytes)


def _trl(home: Path, model: Path, interpreter: str, found: Tuning) -> None:
    job = {
        "base": str(model),
        "threads": os.cpu_count(),
        "bfloat16": found.precision == "bfloat16",
        "examples": [one.example() for one in support_messages.to_learn(EXAMPLES)],
        "folder": str(home / "trl"),
        "epochs": 1,
        "batch_size": BATCH,
        "learning_rate": RATE,
        "seed": SEED,
        "lora_r": RANK,
        "lora_alpha": ALPHA,
    }
    (home / "trl.json").write_text(json.dumps(job))
    began = time.perf_counter()
    said = _ran([interpreter, str(Path(__file__).with_name("trl_job.py")), str(home / "trl.json")], home)
    found.seconds.setdefault("trl", []).append(time.perf_counter() - began)
    told = json.loads(said.splitlines()[-1])
    found.of_steps.setdefault("trl", []).append(told["of_steps"])
    found.peak["trl"] = max(found.peak.get("trl", 0), told["peak"])
    found.versions = told["versions"]


def _ran(command: Sequence[str], home: Path) -> str:
    """What it printed. Raises NotStarted."""
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[1],
        env=processes.environment(HF_HUB_OFFLINE="1"),
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
    )
    if done.returncode:
        raise NotStarted(f"{command!r} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def _served(folder: Path, model: Path, found: Tuning) -> None:
    """A job as a client has it, requests beside it, and the model that comes of it."""
    held_out = support_messages.held_out(20)
    with processes.homeport(folder / "served", with_model(model)) as server:
        name = next(one["id"] for one in _asked(server, "GET", "/v1/models")["data"] if one["owned_by"] == "homeport")
        found.held_out["base"] = _right(server, name, held_out)
        found.latency["alone"] = [_latency(server, name) for _ in range(REQUESTS)]
        file = _uploaded(server, support_messages.jsonl(support_messages.to_learn(EXAMPLES)))
        method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}}
        wanted = {"model": name, "training_file": file, "method": method, "seed": SEED, "suffix": "bench"}
        job = _asked(server, "POST", "/v1/fine_tuning/jobs", wanted)
        _until(server, job["id"], ("running", "succeeded"))
        latencies = found.latency["training"] = []
        while len(latencies) < REQUESTS and _state(server, job["id"])["status"] == "running":
            latencies.append(_latency(server, name))
        done = _until(server, job["id"], ("succeeded",))
        began = time.perf_counter()
        _chat(server, done["fine_tuned_model"], held_out[0].asked())
        found.answers = time.perf_counter() - began
        found.held_out["tuned"] = _right(server, done["fine_tuned_model"], held_out)


def _right(server: Served, model: str, messages: Sequence[support_messages.Message]) -> float:
    right = [support_messages.told(_chat(server, model, one.asked())) == (one.intent, one.product) for one in messages]
    return sum(right) / len(right)


def _latency(server: Served, model: str) -> float:
    time.sleep(_PAUSE_SECONDS)
    began = time.perf_counter()
    _chat(server, model, [{"role": "user", "content": "Tell me of the harbour in the morning."}], max_tokens=24)
    return time.perf_counter() - began


def _chat(server: Served, model: str, messages: Sequence[Mapping[str, str]], max_tokens: int = 40) -> str:
    wanted = {"model": model, "messages": messages, "temperature": 0, "max_tokens": max_tokens}
    answer = _asked(server, "POST", "/v1/chat/completions", wanted)
    return str(answer["choices"][0]["message"]["content"])


def _state(server: Served, job: str) -> dict[str, Any]:
    return _asked(server, "GET", f"/v1/fine_tuning/jobs/{job}")


def _until(server: Served, job: str, states: Sequence[str]) -> dict[str, Any]:
    """Raises NotStarted: it has ended otherwise, or not in time."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        found = _state(server, job)
        if found["status"] in states:
            return found
        if found["status"] in ("failed", "cancelled"):
            raise NotStarted(f"the job has ended as {found['status']}: {found['error']}")
        time.sleep(0.02)
    raise NotStarted("the job does not come to its end")


def _uploaded(server: Served, content: bytes) -> str:
    parts = (
        f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n--{_BOUNDARY}\r\n'
        'content-disposition: form-data; name="file"; filename="training.jsonl"\r\n\r\n'
    )
    body = parts.encode() + content + f"\r\n--{_BOUNDARY}--\r\n".encode()
    answer = _sent(server, "POST", "/v1/files", body, f"multipart/form-data; boundary={_BOUNDARY}")
    return str(answer["id"])


def _asked(server: Served, method: str, path: str, wanted: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return _sent(server, method, path, None if wanted is None else json.dumps(wanted).encode(), "application/json")


def _sent(server: Served, method: str, path: str, body: bytes | None, kind: str) -> dict[str, Any]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=600)
    try:
        connection.request(method, path, body, {"Authorization": f"Bearer {KEY}", "Content-Type": kind})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise NotStarted(f"{method} {path}: {answer.status} {content[:500]!r}")
        found: dict[str, Any] = json.loads(content)
        return found
    finally:
        connection.close()


def slowdown(latency: Mapping[str, Sequence[float]]) -> float:
    """Of a request's median while a model is trained, of that when none is."""
    return statistics.median(latency["training"]) / statistics.median(latency["alone"])
