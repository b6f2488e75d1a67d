"""Trains nothing, and speaks the contract of training/text/job.py: `fake_trainer.py REINS FOLDER`.

What it writes depends on every step before, as weights do: whoever loses one or takes one twice ends with another
adapter. REINS is a folder by which a test leads it:

    until      it stops before the step after this number, and waits
    crash-N    it dies at the step N, once for each time that this file was made (it takes it away)
    fail-N     it fails there, with these words
    deaf       signals are not heard

It imports nothing of ours: it begins in a moment, and says what the files are.
"""

import fcntl
import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

REINS, FOLDER = Path(sys.argv[1]), Path(sys.argv[2])
#: Steps between two states.
STATES = 2
asked: list[int] = []


class Stopped(Exception):
    pass


def say(event: str, **more: Any) -> None:
    with (FOLDER / "events.jsonl").open("a") as file:
        file.write(json.dumps({"event": event, **more}) + "\n")


def replace(name: str, data: str) -> None:
    (FOLDER / f"{name}.new").write_text(data)
    (FOLDER / f"{name}.new").replace(FOLDER / name)


def loss(step: int) -> float:
    return round(2 / step, 5)


def check() -> None:
    if signal.SIGTERM in asked:
        raise Stopped("cancelled")
    if signal.SIGUSR1 in asked or os.getppid() != PARENT:
        raise Stopped("paused" if signal.SIGUSR1 in asked else "left")


def wait(step: int) -> None:
    """Until the test lets it go on."""
    while (REINS / "until").exists() and step > int((REINS / "until").read_text() or 0):
        check()
        time.sleep(0.01)
    check()


def train(job: dict[str, Any], examples: list[dict[str, Any]]) -> None:
    size = job["hyperparameters"]["batch_size"]
    batches = [examples[at : at + size] for at in range(0, len(examples), size)]
    total = job["hyperparameters"]["n_epochs"] * len(batches)
    begin = (FOLDER / "start.gguf").read_bytes() if (FOLDER / "start.gguf").exists() else b"new"
    validated = (FOLDER / "validation.jsonl").exists()
    state: dict[str, Any] = {"step": 0, "chain": hashlib.sha256(begin + b"%d" % job["seed"]).hexdigest()}
    if (FOLDER / "state").exists():
        state = json.loads((FOLDER / "state").read_bytes())
    say("began", at=state["step"], steps=total, device="cpu", precision="float32", parameters=1)
    try:
        for step in range(state["step"] + 1, total + 1):
            wait(step)
            if (REINS / f"crash-{step}").exists():
                (REINS / f"crash-{step}").unlink()
                print("it broke", file=sys.stderr, flush=True)
                os._exit(9)
            if (REINS / f"fail-{step}").exists():
                say("ended", how="failed", step=step, why=(REINS / f"fail-{step}").read_text())
                sys.exit(1)
            tokens = sum(len(one["tokens"]) for one in batches[(step - 1) % len(batches)])
            state = {"step": step, "chain": hashlib.sha256(f"{state['chain']}{step}".encode()).hexdigest()}
            valid = {"valid_loss": loss(step) + 0.5, "valid_accuracy": 0.25} if validated and step % 2 == 0 else {}
            accuracy = 1 - 1 / (step + 1)
            say(
                "step",
                step=step,
                loss=loss(step),
                accuracy=accuracy,
                learning_rate=1e-3,
                tokens=tokens,
                seconds=0.01,
                **valid,
            )
            if step % STATES == 0:
                replace("state", json.dumps(state))
            if step % len(batches) == 0:
                replace(f"checkpoint-{step}.gguf", state["chain"])
                replace("state", json.dumps(state))
                full = {"full_valid_loss": loss(step) + 1} if validated else {}
                say("checkpoint", step=step, epoch=step // len(batches), file=f"checkpoint-{step}.gguf", **full)
    except Stopped as stopped:
        if str(stopped) != "cancelled":
            replace("state", json.dumps(state))
        if str(stopped) != "left":
            say("ended", how=str(stopped), step=state["step"])
        return
    replace("adapter.gguf", state["chain"])
    say("ended", how="succeeded", step=total)


def main() -> None:
    with (FOLDER / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for number in (signal.SIGTERM, signal.SIGUSR1):
            if (REINS / "deaf").exists():
                signal.signal(number, signal.SIG_IGN)
            else:
                signal.signal(number, lambda number, _: asked.append(number))
        job = json.loads((FOLDER / "job.json").read_bytes())
        lines = (FOLDER / "training.jsonl").read_bytes().splitlines()
        train(job, [json.loads(line) for line in lines])


if __name__ == "__main__":
    PARENT = os.getppid()
    main()
