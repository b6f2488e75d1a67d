"""A fine-tuning job that is half done, as a server tells of it."""

import math
from typing import Any

from homeport.fine_tune.progress import Progress

Object = dict[str, Any]
ID = "ftjob-0123456789abcdefghijklmn"
CREATED = 1_800_000_000
STEPS, DONE = 60, 40


def job(**changes: Any) -> Object:
    known = {
        "object": "fine_tuning.job",
        "id": ID,
        "model": "gpt-4o-mini",
        "status": "running",
        "fine_tuned_model": None,
        "created_at": CREATED,
        "estimated_finish": CREATED + 195,
        "hyperparameters": {"n_epochs": 3, "batch_size": 2, "learning_rate_multiplier": 1.0},
        "seed": 42,
        "error": None,
    }
    return {**known, **changes}


def message(number: int, text: str, level: str = "info") -> Object:
    return {
        "object": "fine_tuning.job.event",
        "id": f"ftevent-m{number}",
        "created_at": CREATED + number,
        "level": level,
        "type": "message",
        "message": text,
        "data": None,
    }


def metrics(step: int, *, valid: bool = False, total: int = STEPS) -> Object:
    """Of a loss that falls, and of an accuracy that rises."""
    share = step / total
    data = {
        "step": step,
        "total_steps": total,
        "train_loss": 2.4 * math.exp(-3 * share) + 0.05 * (step % 3),
        "train_mean_token_accuracy": 0.95 - 0.5 * math.exp(-4 * share),
    }
    if valid:
        data |= {"valid_loss": 2.5 * math.exp(-2.5 * share), "valid_mean_token_accuracy": 0.9 - 0.5 * share**2}
    event = message(step, f"Step {step}/{total}: training loss={data['train_loss']:.2f}")
    return {**event, "id": f"ftevent-s{step}", "type": "metrics", "data": data}


def progress(**changes: Any) -> Progress:
    made = Progress(job(**changes))
    made.add(message(0, f"Created fine-tuning job: {ID}"))
    made.add(message(2, "Fine-tuning job started"))
    for step in range(1, DONE + 1):
        made.add(metrics(step, valid=step % 10 == 0))
    made.add(message(40, "Checkpoint created at step 40"))
    made.add(message(41, "The disk is nearly full", level="warn"))
    return made
