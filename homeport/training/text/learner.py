"""What learns: an adapter, and Adam, which moves it."""

from collections.abc import Mapping

import torch
from torch import Tensor

from homeport.training.text.lora import Lora

_KEEP_FIRST, _KEEP_SECOND, _EPSILON = 0.9, 0.999, 1e-8
_LARGEST_GRADIENT = 1.0
_ADAPTER, _FIRST, _SECOND = "adapter", "first", "second"


class Learner:
    """Adam as it is published (arXiv 1412.6980, algorithm 1), and so AdamW without its decay: that would draw A and B
    to zero, and the model back to its base, near which a small rank, few epochs and the falling rate hold it already
    (TRL decays nothing either; docs/fine-tuning.md#training).

    Written out, for it is four lines, and PyTorch's own takes 2.6 s of each start to load a compiler that is not used.
    """

    def __init__(self, adapter: Lora) -> None:
        self.adapter = adapter
        self._matrices = dict(zip(adapter.state_dict(), adapter.parameters(), strict=True))
        self._first = {name: torch.zeros_like(matrix) for name, matrix in self._matrices.items()}
        self._second = {name: torch.zeros_like(matrix) for name, matrix in self._matrices.items()}

    @property
    def parameters(self) -> int:
        return sum(matrix.numel() for matrix in self._matrices.values())

    def begin(self) -> None:
        """A step: what was gathered of one that was not taken is forgotten."""
        for matrix in self._matrices.values():
            matrix.grad = None

    def take(self, step: int, rate: float) -> bool:
        """The step, from 1, along what backward() has gathered. False: it leads nowhere, for that is no number any
        more, and nothing is changed. Its length is limited: one odd batch would undo what hundreds have taught."""
        gradients = {name: matrix.grad for name, matrix in self._matrices.items()}
        length = float(torch.stack([gradient.norm() for gradient in gradients.values()]).norm())
        if not length < float("inf"):
            return False
        scale = min(1.0, _LARGEST_GRADIENT / (length + _EPSILON))
        first_share, second_share = 1 - _KEEP_FIRST**step, 1 - _KEEP_SECOND**step
        with torch.no_grad():
            for name, matrix in self._matrices.items():
                gradient = gradients[name].mul_(scale)
                first = self._first[name].lerp_(gradient, 1 - _KEEP_FIRST)
                second = self._second[name].mul_(_KEEP_SECOND).addcmul_(gradient, gradient, value=1 - _KEEP_SECOND)
                matrix.addcdiv_(first, (second / second_share).sqrt_().add_(_EPSILON), value=-rate / first_share)
        return True

    def tensors(self) -> dict[str, Tensor]:
        """All that `restore` wants."""
        parts = {_ADAPTER: self.adapter.state_dict(), _FIRST: self._first, _SECOND: self._second}
        return {f"{part}.{name}": tensor.cpu() for part, named in parts.items() for name, tensor in named.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Raises ValueError or KeyError where they are another one's."""
        parts: dict[str, dict[str, Tensor]] = {_ADAPTER: {}, _FIRST: {}, _SECOND: {}}
        for key, tensor in tensors.items():
            part, _, name = key.partition(".")
            parts[part][name] = tensor
        self.adapter.load_state_dict(parts[_ADAPTER])
        for name in self._matrices:
            self._first[name].copy_(parts[_FIRST][name])
            self._second[name].copy_(parts[_SECOND][name])
