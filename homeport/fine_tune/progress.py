"""What is known of one fine-tuning job, from its object and its events."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from homeport.fine_tune.server import Object

#: States that nothing leaves.
OVER = ("succeeded", "failed", "cancelled")


class Curve(NamedTuple):
    """name: as a person says it; key: as `data` of metrics has it."""

    name: str
    key: str


LOSS = (Curve("train", "train_loss"), Curve("valid", "valid_loss"))
ACCURACY = (Curve("train", "train_mean_token_accuracy"), Curve("valid", "valid_mean_token_accuracy"))


@dataclass
class Progress:
    """trouble: why the server cannot be asked just now."""

    job: Object
    messages: list[Object] = field(default_factory=list)
    metrics: list[Object] = field(default_factory=list)
    trouble: str = ""
    _seen: set[str] = field(default_factory=set)

    def add(self, event: Object) -> bool:
        """False: it was there already."""
        if event["id"] in self._seen:
            return False
        self._seen.add(event["id"])
        (self.metrics if step_of(event) is not None else self.messages).append(event)
        return True

    @property
    def status(self) -> str:
        return str(self.job.get("status"))

    @property
    def over(self) -> bool:
        return self.status in OVER

    @property
    def step(self) -> int:
        return max((step_of(one) or 0 for one in self.metrics), default=0)

    @property
    def total(self) -> int:
        """Steps; 0: nobody has said."""
        return max((int(total) for one in self.metrics if (total := number(one, "total_steps"))), default=0)

    def points(self, curve: Curve) -> list[tuple[float, float]]:
        """Step and value, in order; of a step that was told of twice, as it is after a crash, the last."""
        found: dict[float, float] = {}
        for one in self.metrics:
            if (value := number(one, curve.key)) is not None:
                found[float(step_of(one) or 0)] = value
        return sorted(found.items())

    def seconds_left(self, now: float) -> float | None:
        finish = self.job.get("estimated_finish")
        return max(0.0, finish - now) if isinstance(finish, int) and not self.over else None


def step_of(event: Object) -> int | None:
    """Of metrics."""
    step = number(event, "step")
    return int(step) if step is not None else None


def number(event: Object, key: str) -> float | None:
    data: Any = event.get("data")
    value = data.get(key) if isinstance(data, dict) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
