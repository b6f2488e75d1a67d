"""A job's folder: all that its trainer is told and tells. Whoever fills it in the same way may stand in for it.

    job.json             Job: what is to be done; written before the trainer begins
    training.jsonl       an example a line: Example, or Pair for `dpo`
    validation.jsonl     the same, where there is a file for it
    start.gguf           the adapter that it goes on from, where there is one
    events.jsonl         Began, Step, Checkpoint, Ended as they happen: appended, a line each
    state                what the trainer goes on from when it is begun anew: replaced as a whole, every half a
                         minute, after each epoch (before its Checkpoint is said), and at the end
    reference, reference-validation
                         of `dpo`: what the model said of the pairs before it learnt; made anew where it is not there
    checkpoint-STEP.gguf an adapter after each of the last three epochs
    adapter.gguf         the last one
    lock                 locked while a trainer works here; another one waits half a minute for it

SIGTERM: end (`Ended("cancelled")`, status 0). SIGUSR1, and Ctrl-C: write the state and end (`"paused"`, 0). Both before
the next piece of a step, which is a second's work or a few; a step that was begun is taken anew later. Failed: status
1, with `Ended`. Status 2: the folder or the machine is not what it has to be, stderr says how, and another attempt
will not help. Dead without `Ended`: it may be begun again.

Killed, it goes on from `state` when it is begun again, with the same order of examples and the same numbers: on a CPU
with as many threads, the adapter is the same to the byte. Events are only ever appended. What they said of steps after
that state is said again after the next `Began`, whose `at` is the state's step; all but the seconds is the same.
It writes the state and ends, without a word, when the process that began it does (unless begun with `--alone`).

Nothing here imports PyTorch: the server reads and writes these, too.
"""

from typing import Literal

import msgspec

JOB, TRAINING, VALIDATION, START = "job.json", "training.jsonl", "validation.jsonl", "start.gguf"
EVENTS, STATE, ADAPTER, LOCK = "events.jsonl", "state", "adapter.gguf", "lock"
REFERENCES, VALIDATION_REFERENCES = "reference", "reference-validation"

Method = Literal["supervised", "dpo"]


class Hyperparameters(msgspec.Struct, frozen=True):
    """batch_size: examples (or pairs) of a step; the trainer takes them in as many pieces as its memory wants.
    learning_rate: the highest of the schedule, the multiplier included. beta: of `dpo`."""

    n_epochs: int
    batch_size: int
    learning_rate: float
    beta: float | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """base: path of the GGUF file that serves. lora_r, lora_alpha: of an adapter that begins; one that goes on from
    another has that one's. threads: None: as many as there are cores."""

    base: str
    method: Method
    hyperparameters: Hyperparameters
    seed: int
    lora_r: int
    lora_alpha: int
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int | None = None
    nice: int = 19


class Example(msgspec.Struct, frozen=True):
    """Tokens as the serving engine makes them, and which of them are to be learnt: spans from (included) to (excluded),
    in order; never the first token of all."""

    tokens: list[int]
    learnt: list[tuple[int, int]]


class Pair(msgspec.Struct, frozen=True):
    """The same beginning, and two ends."""

    preferred: Example
    rejected: Example


class Event(msgspec.Struct, frozen=True, tag_field="event"):
    """A line of events.jsonl."""


class Began(Event, frozen=True, tag="began"):
    """at: the step that it goes on from; 0: anew. steps: of the whole job. precision: `bfloat16` or `float32`.
    parameters: that are learnt."""

    at: int
    steps: int
    device: str
    precision: str
    parameters: int


class Step(Event, frozen=True, tag="step"):
    """After a step, from 1. loss: mean over the tokens learnt in it (of `dpo` over its pairs). accuracy: share of
    these tokens that the model would have said itself (of `dpo`: of pairs whose preferred answer has gained on the
    other one since before the run). margin: of `dpo`, by how much, times beta. tokens: of the examples, in this step.
    seconds: that it took. valid_loss, valid_accuracy: of some held-out examples, on steps where they were looked at.
    All are of the model that the step began with."""

    step: int
    loss: float
    accuracy: float
    learning_rate: float
    tokens: int
    seconds: float
    margin: float | None = None
    valid_loss: float | None = None
    valid_accuracy: float | None = None


class Checkpoint(Event, frozen=True, tag="checkpoint"):
    """An adapter is there. full_valid_loss, full_valid_accuracy: of all held-out examples."""

    step: int
    epoch: int
    file: str
    full_valid_loss: float | None = None
    full_valid_accuracy: float | None = None


class Ended(Event, frozen=True, tag="ended"):
    """how: `failed` says why, for whoever asked for the job: no paths, no content. peak_bytes: of the graphics card's
    memory, or the machine's."""

    how: Literal["succeeded", "cancelled", "paused", "failed"]
    step: int
    why: str | None = None
    peak_bytes: int = 0


def checkpoint(step: int) -> str:
    """The file of its adapter."""
    return f"checkpoint-{step}.gguf"


AnyEvent = Began | Step | Checkpoint | Ended
