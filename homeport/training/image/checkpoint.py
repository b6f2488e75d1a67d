"""What is kept of a run: tensors as safetensors, everything else as JSON in the same file's header. No pickle.

A file is written beside its place and then moved there: whenever a run is killed, one whole state is on the disk.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from homeport.training.image.network import Model
from homeport.training.image.refusal import Refused
from homeport.training.image.words import Words

STATE = "checkpoint.safetensors"
WEIGHTS = "model.safetensors"
_KEY = "homeport"


@dataclass(frozen=True)
class Settings:
    """What makes a run the run that it is: it goes on only with the same. drawings: kinds and names of the art."""

    drawings: tuple[str, ...] = ("animals", "food", "travel", "objects", "activities")
    steps: int = 20_000
    batch: int = 32
    width: int = 48
    rate: float = 1e-3
    warmup: int = 200
    seed: int = 0


@dataclass(frozen=True)
class State:
    """step: how many are done. art: `art.digest` of what it is trained on."""

    settings: Settings
    words: Words
    art: str
    step: int


def save(file: Path, state: State, tensors: Mapping[str, Tensor]) -> None:
    told = {
        "settings": asdict(state.settings),
        "merges": state.words.merges,
        "words": state.words.known,
        "art": state.art,
        "step": state.step,
    }
    beside = file.with_name(f".{file.name}.part")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, beside, {_KEY: json.dumps(told)})
    with beside.open("rb") as written:
        os.fsync(written.fileno())
    beside.replace(file)


def load(file: Path) -> tuple[State, dict[str, Tensor]]:
    """The tensors are in the computer's memory."""
    try:
        with safe_open(file, "pt") as opened:
            told = json.loads((opened.metadata() or {})[_KEY])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}
        return _state(told), tensors
    except FileNotFoundError:
        raise Refused(f"There is no {file}: nothing was trained there yet.") from None
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise Refused(f"{file} is not what this program writes ({type(error).__name__}: {error}).") from None


def trained(folder: Path) -> tuple[State, Model]:
    """The model of a folder, its averaged weights, ready to draw."""
    state, tensors = load(folder / WEIGHTS)
    model = Model(state.words, state.settings.width)
    try:
        model.load_state_dict(tensors)
    except RuntimeError:
        raise Refused(f"{folder / WEIGHTS} has other weights than its settings say.") from None
    return state, model.eval()


def _state(told: Mapping[str, Any]) -> State:
    settings = Settings(**told["settings"] | {"drawings": tuple(told["settings"]["drawings"])})
    words = Words([(left, right) for left, right in told["merges"]], told["words"])
    return State(settings, words, told["art"], int(told["step"]))
