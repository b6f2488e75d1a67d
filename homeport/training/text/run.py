"""A run: step by step, what is told on the way, and what is kept so that it can go on."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from homeport.training.text import device, export, lora, network, state
from homeport.training.text.architectures import Unsupported
from homeport.training.text.data import Items, Lines, Order
from homeport.training.text.ending import Failed, Refused, Stopped
from homeport.training.text.events import Events
from homeport.training.text.job import (
    ADAPTER,
    EVENTS,
    REFERENCES,
    START,
    STATE,
    TRAINING,
    VALIDATION,
    VALIDATION_REFERENCES,
    Began,
    Checkpoint,
    Ended,
    Event,
    Example,
    Job,
    Pair,
    Step,
    checkpoint,
)
from homeport.training.text.learner import Learner
from homeport.training.text.lora import Lora
from homeport.training.text.methods import Method, Score, Sums, learn, look
from homeport.training.text.network import Model
from homeport.training.text.pieces import Pieces
from homeport.training.text.preference import Preference, References
from homeport.training.text.schedule import rate
from homeport.training.text.state import Progress, State
from homeport.training.text.stopping import Stop
from homeport.training.text.supervised import Supervised

#: Checkpoints of so many epochs are kept, as OpenAI does.
_CHECKPOINTS = 3
#: How often it is looked at held-out examples on the way, and at how many of them: of those that are learnt from, such
#: a share. To look costs a third of learning, so it all takes a tenth of the time, at most.
_LOOKS, _STEPS_BETWEEN_LOOKS = 10, 100
_LOOKED_AT, _SHARE_LOOKED_AT = 16, 0.03
#: Examples that are read at a time where all are looked at.
_READ = 64
#: Where a job says none: OpenAI's `auto`, and DPO's own.
_BETA = 0.1
#: Of the time, what may go into writing states.
_SHARE_OF_SAVING = 0.05


def train(folder: Path, job: Job, stop: Stop, *, save_every: float, shown: Callable[[Event], None]) -> Ended:
    """Until the job has ended in one way or another, and events.jsonl says so. save_every: seconds between states; 0:
    after every step. shown: is told the same. Raises Refused, and Stopped("left") without a word."""
    where = device.chosen(job.device)
    device.set_up(where, job.threads)
    with closing(Events(folder / EVENTS, shown)) as events:
        run = Run(folder, job, events, stop, where)
        how: Literal["succeeded", "cancelled", "paused", "failed"] = "succeeded"
        why = None
        try:
            run.load()
            run.go(save_every)
        except Stopped as stopped:
            if stopped.how == "left":
                raise
            how = stopped.how
        except Failed as failed:
            how, why = "failed", str(failed)
        ended = Ended(how, run.step, why, device.peak_bytes(where))
        events.say(ended)
    return ended


class Run:
    """A folder's run, new or going on."""

    def __init__(self, folder: Path, job: Job, events: Events, stop: Stop, where: torch.device) -> None:
        """Raises Refused."""
        self._folder = folder
        self._job = job
        self._events = events
        self._stop = stop
        self._where = where
        self._before = state.load(folder / STATE)
        self._told = self._before is None or self._before.progress.told
        self.step = self._before.progress.step if self._before else 0

    def load(self) -> None:
        """All that is large. Raises Refused, Failed and Stopped."""
        try:
            model = network.load(Path(self._job.base), dtype=device.precision(self._where), device=str(self._where))
            self._learner = Learner(self._adapter(model))
        except Unsupported as reason:
            raise Failed(f"The model cannot be trained: {reason}.") from None
        except OSError as error:
            raise Refused(f"base: {error.strerror}.") from None
        tokens = device.piece_tokens(model.shape, self._where, model.dtype)
        self._pieces = Pieces(self._before.progress.piece_tokens if self._before else tokens, self._stop)
        self._task = self._supervised(model) if self._job.method == "supervised" else self._preference(model)
        chosen = self._job.hyperparameters
        self._order = Order(len(self._task.training), chosen.batch_size, chosen.n_epochs, self._job.seed)
        if self._before is not None:
            self._restore(self._before)
        self._stop.check()

    def go(self, save_every: float) -> None:
        """To the last step. Raises Failed, and Stopped once the state is written."""
        precision = str(device.precision(self._where)).removeprefix("torch.")
        began = Began(self.step, self._order.steps, str(self._where), precision, self._learner.parameters)
        self._events.say(began)
        saved, took = time.monotonic(), 0.0
        try:
            while not (self._told and self.step == self._order.steps):
                if self._told:
                    self._take(self.step + 1)
                    due = time.monotonic() - saved >= max(save_every, took / _SHARE_OF_SAVING)
                    if due or self._order.ends_an_epoch(self.step):
                        begun = time.monotonic()
                        self._save()
                        saved = time.monotonic()
                        took = saved - begun
                if not self._told:
                    self._check_point()
        except Stopped as stopped:
            if stopped.how != "cancelled":
                self._save()
            raise
        self._save()
        export.write(self._folder / ADAPTER, self._learner.adapter)

    def _take(self, step: int) -> None:
        """All that may be broken off comes before the model is changed: a step is taken as a whole, or not at all."""
        begun = time.monotonic()
        batch = [self._task.training[at] for at in self._order.batch(step)]
        score = self._pieces.fitting(lambda: self._learn(batch))
        held_out = self._look(range(self._looked_at())) if self._looks(step) else None
        now = rate(step, self._order.steps, self._job.hyperparameters.learning_rate)
        if not (math.isfinite(score.loss) and self._learner.take(step, now)):
            raise Failed(f"It diverged: the loss of step {step} is no number. Lower `learning_rate_multiplier`.")
        self.step = step
        self._told = not self._has_checkpoint(step)
        self._events.say(
            Step(
                step,
                loss=score.loss,
                accuracy=score.accuracy,
                learning_rate=now,
                tokens=sum(map(self._task.method.tokens, batch)),
                seconds=round(time.monotonic() - begun, 3),
                margin=score.margin,
                valid_loss=held_out.loss if held_out else None,
                valid_accuracy=held_out.accuracy if held_out else None,
            )
        )

    def _learn(self, batch: Sequence[Any]) -> Score:
        self._learner.begin()
        return learn(self._task.method, batch, self._pieces)

    def _check_point(self) -> None:
        """At the end of an epoch."""
        held_out = self._look(range(len(self._task.validation))) if len(self._task.validation) else None
        file = checkpoint(self.step)
        export.write(self._folder / file, self._learner.adapter)
        self._events.say(
            Checkpoint(
                self.step,
                self._order.epoch(self.step),
                file,
                full_valid_loss=held_out.loss if held_out else None,
                full_valid_accuracy=held_out.accuracy if held_out else None,
            )
        )
        self._told = True

    def _look(self, which: range) -> Score:
        """At held-out examples."""
        found: list[Sums] = []
        for start in range(0, len(which), _READ):
            items = [self._task.validation[at] for at in which[start : start + _READ]]
            found += self._pieces.fitting(partial(look, self._task.method, items, self._pieces))
        return Score.of(found)

    def _looks(self, step: int) -> bool:
        every = max(1, min(self._order.steps // _LOOKS, _STEPS_BETWEEN_LOOKS))
        return len(self._task.validation) > 0 and ((step - 1) % every == 0 or step == self._order.steps)

    def _looked_at(self) -> int:
        share = int(_SHARE_LOOKED_AT * self._order.examples * self._order.epochs)
        return min(_LOOKED_AT, max(1, share), len(self._task.validation))

    def _has_checkpoint(self, step: int) -> bool:
        return self._order.ends_an_epoch(step) and self._order.epochs - self._order.epoch(step) < _CHECKPOINTS

    def _save(self) -> None:
        adapter = self._learner.adapter
        progress = Progress(
            self.step,
            self._told,
            examples=len(self._task.training),
            piece_tokens=self._pieces.tokens,
            lora_r=adapter.rank,
            lora_alpha=adapter.alpha,
        )
        state.save(self._folder / STATE, State(progress, self._learner.tensors()))

    def _adapter(self, model: Model) -> Lora:
        """As the run begins with it."""
        if (self._folder / START).exists():
            return lora.start(model, self._folder / START)
        of = self._before.progress if self._before else self._job
        return lora.new(model, rank=of.lora_r, alpha=of.lora_alpha, seed=self._job.seed)

    def _restore(self, before: State) -> None:
        if before.progress.examples != self._order.examples or self.step > self._order.steps:
            raise Refused(f"{STATE} is of a run with other examples, or other hyperparameters.")
        try:
            self._learner.restore(before.tensors)
        except (KeyError, ValueError):
            raise Refused(f"{STATE} is of a run with another adapter.") from None

    def _supervised(self, model: Model) -> "_Task":
        lines = [Lines(file, Example, vocabulary=model.vocabulary) for file in self._files()]
        return _Task(Supervised(model), *lines)

    def _preference(self, model: Model) -> "_Task":
        """The model is as the run began with it."""
        method = Preference(model, self._job.hyperparameters.beta or _BETA)
        names = (REFERENCES, VALIDATION_REFERENCES)

        def before(pairs: Sequence[Pair]) -> list[float]:
            return self._pieces.fitting(lambda: method.before(pairs, self._pieces))

        return _Task(
            method,
            *(
                References(Lines(file, Pair, vocabulary=model.vocabulary), self._folder / name, before)
                for file, name in zip(self._files(), names, strict=False)
            ),
        )

    def _files(self) -> list[Path]:
        """Of examples to learn from, and of those that are held out, if there are any."""
        held_out = self._folder / VALIDATION
        return [self._folder / TRAINING, *([held_out] if held_out.exists() else [])]


@dataclass(frozen=True)
class _Task:
    """A method, and items of its kind."""

    method: Method[Any]
    training: Items[Any]
    validation: Items[Any] = ()
