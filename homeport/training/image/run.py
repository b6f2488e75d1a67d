"""A run: steps, the average of its weights, what is told on the way, and what is kept so that it can go on."""

import math
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, nullcontext
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn

from homeport.training.image import art, checkpoint, flow, scenes
from homeport.training.image.art import Drawing
from homeport.training.image.checkpoint import Settings, State
from homeport.training.image.flow import Batch
from homeport.training.image.network import Model
from homeport.training.image.refusal import Refused
from homeport.training.image.words import Words

LOSSES = "losses.csv"
_COLUMNS = "step,loss,held_out"
#: Of the averaged weights, near the end of a long run.
_AVERAGED = 0.999
_LARGEST_GRADIENT = 1.0
_DECAY = 0.01
_HELD_OUT = 64
_TOLD_EVERY_SECONDS = 10.0
#: Batches that are made ahead, by so many threads: on a graphics card the pictures would be what takes longest.
_AHEAD = {"cpu": 1, "cuda": 8}


class Run:
    """A folder's run, new or going on."""

    def __init__(self, folder: Path, drawings: Sequence[Drawing], state: State, device: torch.device) -> None:
        self.folder = folder
        self.drawings = drawings
        self.state = state
        self.device = device
        settings = state.settings
        torch.manual_seed(settings.seed)
        self.model = Model(state.words, settings.width).to(
            device, memory_format=torch.channels_last
        )  # half as fast again
        self.averaged = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.optimizer = torch.optim.AdamW(_groups(self.model), lr=settings.rate, betas=(0.9, 0.99))
        self.held_out = flow.held_out(drawings, state.words, seed=settings.seed, size=_HELD_OUT).to(device)

    @classmethod
    def new(cls, folder: Path, data: Path, settings: Settings, device: torch.device) -> "Run":
        if (folder / checkpoint.STATE).exists():
            raise Refused(f"{folder} has a run already: go on with it by --resume, or give another folder by --out.")
        drawings = _drawings(data, settings)
        words = Words.of(scenes.captions(drawings))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / LOSSES).write_text(_COLUMNS + "\n")
        except OSError as error:
            raise Refused(f"--out {folder}: {error.strerror}.") from None
        return cls(folder, drawings, State(settings, words, art.digest(drawings), 0), device)

    @classmethod
    def resumed(cls, folder: Path, data: Path, device: torch.device) -> "Run":
        state, tensors = checkpoint.load(folder / checkpoint.STATE)
        drawings = _drawings(data, state.settings)
        if art.digest(drawings) != state.art:
            raise Refused(f"{data} has other drawings than the run in {folder} was begun with.")
        run = cls(folder, drawings, state, device)
        try:
            run._restore(tensors)
        except (KeyError, RuntimeError):
            raise Refused(f"{folder / checkpoint.STATE} has other weights than its settings say.") from None
        lines = (folder / LOSSES).read_text().splitlines()
        kept = [line for line in lines[1:] if int(line.partition(",")[0]) <= state.step]
        (folder / LOSSES).write_text("\n".join([_COLUMNS, *kept, ""]))
        return run

    @property
    def finished(self) -> bool:
        return self.state.step >= self.state.settings.steps

    def go(self, *, stopped: Callable[[], bool], save_every: int) -> None:
        """Until the last step, or until it is stopped; it saves either way."""
        begun = told = time.monotonic()
        first = saved = self.state.step
        with (self.folder / LOSSES).open("a", buffering=1) as losses, closing(self._batches()) as batches:
            for batch in batches:
                if stopped():
                    break
                loss = self._step(batch)
                step = self.state.step
                saves = step % save_every == 0 or self.finished
                held_out = f"{self.held_out_loss():.6f}" if saves else ""
                losses.write(f"{step},{loss:.6f},{held_out}\n")
                if saves:
                    self.save()
                    saved = step
                now = time.monotonic()
                if saves or now - told >= _TOLD_EVERY_SECONDS:
                    told = now
                    self._tell(loss, held_out, (step - first) / (now - begun))
        if saved != self.state.step:
            self.save()

    def held_out_loss(self) -> float:
        """Of the averaged weights."""
        own = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.model.load_state_dict(self.averaged)
        with torch.no_grad(), self._precision():
            loss = float(flow.loss(self.model, self.held_out))
        self.model.load_state_dict(own)
        return loss

    def save(self) -> None:
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"averaged.{name}": tensor for name, tensor in self.averaged.items()}
        for name, parameter in self.model.named_parameters():
            for kind, value in self.optimizer.state[parameter].items():
                tensors[f"optimizer.{kind}.{name}"] = value
        checkpoint.save(self.folder / checkpoint.STATE, self.state, tensors)
        checkpoint.save(self.folder / checkpoint.WEIGHTS, self.state, self.averaged)

    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "averaged": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        self.model.load_state_dict(parts["model"])
        self.averaged = {name: parts["averaged"][name].to(self.device) for name in self.averaged}
        for name, parameter in self.model.named_parameters():
            for kind in ("step", "exp_avg", "exp_avg_sq"):
                value = parts["optimizer"].get(f"{kind}.{name}")
                if value is not None:
                    self.optimizer.state[parameter][kind] = value if kind == "step" else value.to(self.device)

    def _step(self, batch: Batch) -> float:
        step = self.state.step
        for group in self.optimizer.param_groups:
            group["lr"] = rate(step, self.state.settings)
        self.optimizer.zero_grad(set_to_none=True)
        with self._precision():
            loss = flow.loss(self.model, batch.to(self.device))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), _LARGEST_GRADIENT)
        self.optimizer.step()
        told = float(loss.detach())
        if not math.isfinite(told):
            raise Refused(f"The loss of step {step + 1} is {told}: try a lower --rate.")
        keep = min(_AVERAGED, (1 + step) / (10 + step))
        for name, tensor in self.model.state_dict().items():
            self.averaged[name].lerp_(tensor, 1 - keep)
        self.state = replace(self.state, step=step + 1)
        return told

    def _batches(self) -> Generator[Batch, None, None]:
        """Of the steps that are left, made ahead."""
        settings = self.state.settings
        ahead = _AHEAD[self.device.type]
        threads = ThreadPoolExecutor(ahead)

        def begin(step: int) -> Future[Batch]:
            return threads.submit(
                flow.batch, self.drawings, self.state.words, seed=settings.seed, step=step, size=settings.batch
            )

        try:
            steps = iter(range(self.state.step, settings.steps))
            waiting = deque(begin(step) for step in islice(steps, ahead))
            while waiting:
                ready = waiting.popleft().result()
                waiting.extend(begin(step) for step in islice(steps, 1))
                yield ready
        finally:
            threads.shutdown(cancel_futures=True)

    def _tell(self, loss: float, held_out: str, steps_per_second: float) -> None:
        step, settings = self.state.step, self.state.settings
        told = f"step {step}/{settings.steps}  loss {loss:.4f}"
        if held_out:
            told += f"  held out {held_out}"
        left = (settings.steps - step) / steps_per_second
        told += f"  {steps_per_second * settings.batch:.1f} pictures/s  {timedelta(seconds=round(left))} left"
        print(told, file=sys.stderr, flush=True)

    def _precision(self) -> "torch.autocast | nullcontext[None]":
        if self.device.type == "cuda":
            return torch.autocast("cuda", torch.bfloat16)
        return nullcontext()


def rate(step: int, settings: Settings) -> float:
    """A straight line up, then half a cosine down to a hundredth."""
    if step < settings.warmup:
        return settings.rate * (step + 1) / settings.warmup
    done = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return settings.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def _drawings(data: Path, settings: Settings) -> list[Drawing]:
    if not data.is_dir():
        raise Refused(f"--data {data} is no folder.")
    return art.load(data, settings.drawings, scenes.COLOURS)


def _groups(model: nn.Module) -> list[dict[str, object]]:
    """Matrices decay, the rest does not."""
    parameters = list(model.parameters())
    return [
        {"params": [one for one in parameters if one.ndim > 1], "weight_decay": _DECAY},
        {"params": [one for one in parameters if one.ndim <= 1], "weight_decay": 0.0},
    ]
