"""What a trainer has told of a job, in OpenAI's words, and what of it is not written down yet.

Trainers repeat themselves: who goes on from a state says again what came after it. A step that was heard is not heard
again, so it is told once, and its tokens are paid for once.
"""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

from homeport import clock
from homeport.training.text.job import AnyEvent, Began, Checkpoint, Ended, Step

#: Steps that the time of the next is reckoned from.
_LAST_STEPS = 20
_DIGITS = 5
#: Names of OpenAI's -> what our trainer calls it.
_OF_A_STEP = {
    "train_loss": "loss",
    "train_mean_token_accuracy": "accuracy",
    "valid_loss": "valid_loss",
    "valid_mean_token_accuracy": "valid_accuracy",
}
_OF_A_CHECKPOINT = {
    "full_valid_loss": "full_valid_loss",
    "full_valid_mean_token_accuracy": "full_valid_accuracy",
}


class Progress:
    """total: steps of the job; 0: no trainer has said it. steps, checkpoints: not written down yet. tokens: of all
    steps. ended: what the trainer that works now said last, where it has said how it ends."""

    def __init__(self, step: int, tokens: int) -> None:
        """As the job's row has them."""
        self.total = 0
        self.tokens = tokens
        self.steps: list[Step] = []
        self.checkpoints: list[Checkpoint] = []
        self.ended: Ended | None = None
        self._step = step
        self._seconds: deque[float] = deque(maxlen=_LAST_STEPS)
        self._latest: Step | None = None
        self._at: dict[int, Step] = {}

    def hear(self, event: AnyEvent) -> None:
        match event:
            case Began():
                self.total, self.ended = event.steps, None
            case Step():
                self._latest = event
                self._seconds.append(event.seconds)
                if event.step > self._step:
                    self._step = event.step
                    self.tokens += event.tokens
                    self.steps.append(event)
            case Checkpoint():
                self.checkpoints.append(event)
                if self._latest is not None and self._latest.step == event.step:
                    self._at[event.step] = self._latest
            case Ended():
                self.ended = event

    def ends_at(self) -> int | None:
        """Unix seconds, reckoned from the last steps."""
        if not self._seconds or not self.total:
            return None
        each = sum(self._seconds) / len(self._seconds)
        return math.ceil(clock.now() + each * max(0, self.total - self._step))

    def event(self, step: Step) -> dict[str, Any]:
        """Of the job: its message, and the data of its metrics."""
        words = f"Step {step.step}/{self.total}: training loss={step.loss:.2f}"
        if step.valid_loss is not None:
            words += f", validation loss={step.valid_loss:.2f}"
        return {"message": words, "data": {**_measured(step), "total_steps": self.total}}

    def metrics(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """With those of its step."""
        step = self._at.get(checkpoint.step)
        of_its_step = _measured(step) if step is not None else {"step": checkpoint.step}
        return {**of_its_step, **_known(checkpoint, _OF_A_CHECKPOINT)}


def _measured(step: Step) -> dict[str, Any]:
    return {"step": step.step, **_known(step, _OF_A_STEP)}


def _known(event: AnyEvent, names: Mapping[str, str]) -> dict[str, float]:
    """What is no number is not known: no database has JSON for it."""
    values = {name: getattr(event, ours) for name, ours in names.items()}
    return {name: round(value, _DIGITS) for name, value in values.items() if value is not None and math.isfinite(value)}
