"""All that learns: a pair of small matrices beside each of the model's large ones."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from homeport.training.text import weights
from homeport.training.text.architectures import Unsupported
from homeport.training.text.gguf_file import GGUFFile
from homeport.training.text.network import Model
from homeport.training.text.projection import Pair

_A, _B = ".weight.lora_a", ".weight.lora_b"


class Lora:
    """rank, alpha: B's answer counts alpha / rank times, as llama.cpp has it. Made by `new` or `start`; a model has
    one at a time."""

    def __init__(self, model: Model, pairs: Mapping[str, Pair], *, rank: int, alpha: float, fresh: bool) -> None:
        self.architecture = model.shape.architecture
        self.rank = rank
        self.alpha = alpha
        self._pairs = dict(pairs)
        self._before = None if fresh else self.state_dict()
        for name, projection in model.projections.items():
            projection.pair = self._pairs.get(name)

    def parameters(self) -> list[Tensor]:
        """What an optimizer changes: float32, in an order that never changes."""
        return [matrix for pair in self._pairs.values() for matrix in (pair.a, pair.b)]

    def state_dict(self) -> dict[str, Tensor]:
        """Copies, by the names that they have in a GGUF adapter, `blk.0.attn_q.weight.lora_a`."""
        return {name: matrix.detach().cpu().clone() for name, matrix in self._named()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Raises ValueError where it is another adapter's."""
        named = dict(self._named())
        if named.keys() != state.keys() or any(named[name].shape != state[name].shape for name in named):
            raise ValueError("The state is of another adapter.")
        with torch.no_grad():
            for name, matrix in named.items():
                matrix.copy_(state[name])

    @contextmanager
    def off(self) -> Iterator[None]:
        """In here the model is its base. For answers, not for learning."""
        try:
            for pair in self._pairs.values():
                pair.on = False
            yield
        finally:
            for pair in self._pairs.values():
                pair.on = True

    @contextmanager
    def reference(self) -> Iterator[None]:
        """In here the model is what it was before anything was learnt: its base, or what it began from. For answers,
        not for learning."""
        if self._before is None:
            with self.off():
                yield
            return
        now = self.state_dict()
        try:
            self.load_state_dict(self._before)
            yield
        finally:
            self.load_state_dict(now)

    def _named(self) -> Iterator[tuple[str, Tensor]]:
        for name, pair in self._pairs.items():
            yield name + _A, pair.a
            yield name + _B, pair.b


def new(model: Model, *, rank: int, alpha: float, seed: int) -> Lora:
    """It changes nothing yet, for B is zero. A is uniform within 1 / sqrt(inputs), as PyTorch begins a linear layer
    (LoRA's authors and PEFT do the same: kaiming uniform with a = sqrt(5)). The same seed makes the same."""
    random = torch.Generator().manual_seed(seed)
    pairs = {}
    for name, projection in model.projections.items():
        outputs, inputs = projection.weight.shape
        bound = inputs**-0.5
        a = torch.empty(rank, inputs).uniform_(-bound, bound, generator=random)
        pairs[name] = Pair(a.to(model.device), torch.zeros(outputs, rank, device=model.device), alpha / rank)
    return Lora(model, pairs, rank=rank, alpha=alpha, fresh=True)


def start(model: Model, path: Path) -> Lora:
    """What a GGUF adapter has: a training goes on from there, with its rank and alpha. Raises Unsupported where it is
    not one of this model's."""
    file = GGUFFile(path)
    if file.header.get("general.architecture") != model.shape.architecture:
        raise Unsupported("the adapter to begin from is of another model")
    alpha = file.header.get("adapter.lora.alpha")
    device = str(model.device)
    pairs = {}
    ranks = set()
    for name, projection in model.projections.items():
        if name + _A not in file.tensors or name + _B not in file.tensors:
            raise Unsupported(f"the adapter to begin from has nothing for {name!r}")
        a = weights.load(file, name + _A, dtype=torch.float32, device=device)
        b = weights.load(file, name + _B, dtype=torch.float32, device=device)
        outputs, inputs = projection.weight.shape
        if not isinstance(alpha, float) or a.shape != (len(a), inputs) or b.shape != (outputs, len(a)):
            raise Unsupported("the adapter to begin from is of another model")
        pairs[name] = Pair(a, b, alpha / len(a))
        ranks.add(len(a))
    if len(ranks) != 1 or len(file.tensors) != 2 * len(pairs):
        raise Unsupported("the adapter to begin from was not made here")
    assert isinstance(alpha, float)
    return Lora(model, pairs, rank=ranks.pop(), alpha=alpha, fresh=False)
