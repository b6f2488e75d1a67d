"""Adapters that do something, without a training."""

import torch

from homeport.training.text import lora
from homeport.training.text.lora import Lora
from homeport.training.text.network import Model


def shaken(model: Model, *, rank: int = 4, alpha: float = 8.0, size: float = 0.1, seed: int = 5) -> Lora:
    """A new adapter whose B is random, and not zero."""
    made = lora.new(model, rank=rank, alpha=alpha, seed=seed)
    random = torch.Generator().manual_seed(seed)
    state = made.state_dict()
    for name, matrix in state.items():
        if name.endswith("lora_b"):
            matrix.normal_(0.0, size, generator=random)
    made.load_state_dict(state)
    return made
