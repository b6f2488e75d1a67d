"""How likely a model holds the answers of examples."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from homeport.training.text.job import Example
from homeport.training.text.network import Model

#: Numbers of logits that are there at a time: 64 MB, a few times over.
_AT_A_TIME = 2**24


class Likelihood(NamedTuple):
    """Of the tokens to be learnt of all examples, one behind the other. logprobs: of each, given what is before it.
    right: those that the model would have said itself. counts: how many each example has."""

    logprobs: Tensor
    right: Tensor
    counts: list[int]


def likelihood(model: Model, examples: Sequence[Example], *, recompute: bool = False) -> Likelihood:
    """recompute: see Model."""
    tokens: list[int] = []
    lengths, positions, targets, counts = [], [], [], []
    for example in examples:
        begin = len(tokens) - 1  # a token is told by what is known at the one before it
        learnt = [at for start, end in example.learnt for at in range(start, end)]
        tokens += example.tokens[: learnt[-1]]  # what comes later changes nothing
        lengths.append(learnt[-1])
        positions += [begin + at for at in learnt]
        targets += [example.tokens[at] for at in learnt]
        counts.append(len(learnt))

    def there(numbers: list[int]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.int64, device=model.device)

    hidden = model(there(tokens), lengths, recompute=recompute)
    logprobs, right = _Said.apply(hidden.index_select(0, there(positions)), there(targets), model)
    return Likelihood(logprobs, right, counts)


class _Said(torch.autograd.Function):
    """hidden (tokens, width), targets (tokens) -> log-probabilities (tokens), whether each is the likeliest (tokens).

    Logits are by far the largest thing there would be: 50,000 to 250,000 numbers a token. Nothing of the head learns,
    and what a token's log-probability gives back to its vector depends on no other token. So logits are made a few
    tokens at a time, and what they give back at once; of both only the latter is kept, of a vector's length.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, targets: Tensor, model: Model) -> tuple[Tensor, Tensor]:
        wanted = ctx.needs_input_grad[0]
        gradient = torch.empty_like(hidden) if wanted else None
        logprobs = torch.empty(len(targets), device=hidden.device)
        right = torch.empty(len(targets), dtype=torch.bool, device=hidden.device)
        for part in _parts(len(targets), max(1, _AT_A_TIME // model.vocabulary)):
            vectors = hidden[part].detach().requires_grad_(wanted)
            with torch.set_grad_enabled(wanted):
                logits = model.logits(vectors)
                said = -F.cross_entropy(logits, targets[part], reduction="none")
                if gradient is not None:
                    (gradient[part],) = torch.autograd.grad(said.sum(), vectors)
            logprobs[part] = said.detach()
            right[part] = logits.detach().argmax(-1) == targets[part]
        ctx.save_for_backward(gradient)
        ctx.mark_non_differentiable(right)
        return logprobs, right

    @staticmethod
    def backward(ctx: Any, of_logprobs: Tensor, _: Tensor) -> tuple[Tensor | None, None, None]:
        (gradient,) = ctx.saved_tensors
        return (gradient * of_logprobs[:, None]).to(gradient.dtype), None, None


def _parts(length: int, most: int) -> list[slice]:
    return [slice(start, min(start + most, length)) for start in range(0, length, most)]
