"""Folders of small jobs: something that a tiny model of random numbers can learn in a few dozen steps."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from homeport.training.text.job import (
    EVENTS,
    JOB,
    TRAINING,
    VALIDATION,
    AnyEvent,
    Example,
    Hyperparameters,
    Job,
    Pair,
    Step,
)
from tests.training.text import tiny

#: Of the words that are said to it, and of the answer.
_FIRST, _ANSWERS = 3, 4


def examples(count: int, *, seed: int = 0) -> list[Example]:
    """The last word asks for an answer of one to three words, always the same one; before it is noise."""
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        asked = chance.randrange(_ANSWERS)
        prompt = [1, *(chance.randrange(100, 200) for _ in range(chance.randrange(1, 12))), _FIRST + asked]
        made.append(example(prompt, [50 + asked] * (1 + asked % 3)))
    return made


def example(prompt: Sequence[int], answer: Sequence[int]) -> Example:
    """Behind what is learnt is something that is not."""
    end = len(prompt) + len(answer) + 1
    return Example([*prompt, *answer, tiny.END, 99], [(len(prompt), end)])


def pairs(count: int, *, seed: int = 0) -> list[Pair]:
    """Preferred is a short answer."""
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        prompt = [1, *(chance.randrange(100, 200) for _ in range(chance.randrange(1, 8)))]
        made.append(Pair(example(prompt, [60]), example(prompt, [61, 62, chance.randrange(100, 200)])))
    return made


def write(
    folder: Path, training: Sequence[Example | Pair], validation: Sequence[Example | Pair] = (), **job: Any
) -> Path:
    """job: what is to be otherwise than usual, of Job and of Hyperparameters."""
    folder.mkdir(parents=True)
    chosen = {name: job.pop(name) for name in Hyperparameters.__struct_fields__ if name in job}
    hyperparameters = {"n_epochs": 3, "batch_size": 4, "learning_rate": 0.01, **chosen}
    told = {
        "base": str(tiny.write(folder / "base.gguf")),
        "method": "dpo" if isinstance(training[0], Pair) else "supervised",
        "hyperparameters": Hyperparameters(**hyperparameters),
        "seed": 11,
        "lora_r": 4,
        "lora_alpha": 8,
        "device": "cpu",
        "threads": 1,
        "nice": 0,
        **job,
    }
    (folder / JOB).write_bytes(msgspec.json.encode(Job(**told)))
    _lines(folder / TRAINING, training)
    if validation:
        _lines(folder / VALIDATION, validation)
    return folder


def events(folder: Path) -> list[AnyEvent]:
    """As they were said."""
    return [msgspec.json.decode(line, type=AnyEvent) for line in (folder / EVENTS).read_bytes().splitlines()]


def steps(folder: Path) -> list[Step]:
    """As whoever reads them has them in the end, without the seconds: what is said again replaces what was said."""
    found = {event.step: event for event in events(folder) if isinstance(event, Step)}
    return [msgspec.structs.replace(found[step], seconds=0) for step in sorted(found)]


def _lines(file: Path, items: Sequence[Example | Pair]) -> None:
    file.write_bytes(b"".join(msgspec.json.encode(item) + b"\n" for item in items))
