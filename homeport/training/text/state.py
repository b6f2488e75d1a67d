"""What a run goes on from: what it has learnt, Adam's moments, and how far it has come. There is nothing else, for the
order of examples is a function of seed and epoch (data.py), and nothing in a step is left to chance.

Tensors as safetensors, the rest as JSON in the same file's header. No pickle: it may come from another machine.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from homeport.training.text.ending import Refused

_KEY = "homeport"


@dataclass(frozen=True)
class Progress:
    """step: the last that was taken. told: its checkpoint was, too, where it has one. examples: that there are.
    piece_tokens: the most of a piece; sums of other pieces are rounded otherwise. lora_r, lora_alpha: as it began."""

    step: int
    told: bool
    examples: int
    piece_tokens: int
    lora_r: int
    lora_alpha: float


@dataclass(frozen=True)
class State:
    """tensors: Learner's."""

    progress: Progress
    tensors: Mapping[str, Tensor]


def save(file: Path, state: State) -> None:
    """Whenever the process is killed, a whole state is on the disk: this one, or the one before."""
    beside = file.with_name(f".{file.name}.part")
    save_file(
        {name: tensor.contiguous() for name, tensor in state.tensors.items()},
        beside,
        {_KEY: json.dumps(asdict(state.progress))},
    )
    with beside.open("rb") as written:
        os.fsync(written.fileno())
    beside.replace(file)


def load(file: Path) -> State | None:
    """None: the run begins."""
    if not file.exists():
        return None
    try:
        with safe_open(file, "pt") as opened:
            progress = Progress(**json.loads((opened.metadata() or {})[_KEY]))
            return State(progress, {name: opened.get_tensor(name) for name in opened.keys()})
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise Refused(f"{file.name} is not what this program writes ({type(error).__name__}).") from None
