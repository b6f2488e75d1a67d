"""A matrix of the model, which stays as it is, and beside it two small ones, which learn (LoRA, arXiv 2106.09685).

y = x W' + b + scale * (x A') B'. W is what serves; A and B are what a training makes. Both small ones are kept, and
learn, in float32; they are rounded to the matrix's precision only to be multiplied.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


class Pair:
    """What learns beside one matrix. a: (rank, inputs); b: (outputs, rank). on: whether it is seen."""

    def __init__(self, a: Tensor, b: Tensor, scale: float) -> None:
        self.a = a.requires_grad_()
        self.b = b.requires_grad_()
        self.scale = scale
        self.on = True


class Projection:
    """weight: (outputs, inputs), as GGUF files have it. pair: where something was put beside it."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.weight = weight
        self.bias = bias
        self.pair: Pair | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """(tokens, inputs) -> (tokens, outputs)."""
        if self.pair is None or not self.pair.on:
            return F.linear(x, self.weight, self.bias)
        made: Tensor = _Adapted.apply(x, self.weight, self.bias, self.pair.a, self.pair.b, self.pair.scale)
        return made


class _Adapted(torch.autograd.Function):
    """Written out, because PyTorch by itself would keep a sum and a product of the whole width for the way back, and
    go over each of them once more: this adds in place, in the same go as the multiplication."""

    @staticmethod
    def forward(  # the matrix's gradient is never wanted
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float
    ) -> Tensor:
        down, up = a.to(x.dtype), b.to(x.dtype)
        middle = x @ down.t()
        ctx.save_for_backward(x, weight, a, b, middle)
        ctx.scale = scale
        return F.linear(x, weight, bias).addmm_(middle, up.t(), alpha=scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, a, b, middle = ctx.saved_tensors
        down, up = a.to(x.dtype), b.to(x.dtype)
        grad = grad.contiguous()
        grad_middle = (grad @ up).mul_(ctx.scale)
        grad_a = (grad_middle.t() @ x).to(a.dtype)
        grad_b = (grad.t() @ middle).to(b.dtype).mul_(ctx.scale)
        grad_x = (grad @ weight).addmm_(grad_middle, down) if ctx.needs_input_grad[0] else None
        return grad_x, None, None, grad_a, grad_b, None
