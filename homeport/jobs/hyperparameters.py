"""What `auto` stands for. Numbers that somebody asked for are what they are.

n_epochs: as OpenAI's cookbook reckons it ("Data preparation and analysis for chat model fine-tuning"): three, more of
few examples and fewer of very many. batch_size: beyond 8 examples a step is no faster on a CPU, and of few examples
many small steps teach more than few large ones. beta: of direct preference optimization, the paper's (arXiv 2305.18290)
and everybody's since.
"""

from collections.abc import Mapping
from typing import Any

from homeport.training.text.job import Method

_EPOCHS, _LEAST_EPOCHS, _MOST_EPOCHS = 3, 1, 25
_LEAST_EXAMPLES, _MOST_EXAMPLES = 100, 25_000
_LARGEST_BATCH, _STEPS_OF_AN_EPOCH = 8, 25
_BETA = 0.1


def resolved(asked: Mapping[str, Any], method: Method, examples: int) -> dict[str, Any]:
    """asked: as the job's row has them. examples: lines of the training file."""
    automatic: dict[str, Any] = {
        "n_epochs": epochs(examples),
        "batch_size": min(max(examples // _STEPS_OF_AN_EPOCH, 1), _LARGEST_BATCH),
        "learning_rate_multiplier": 1.0,
    }
    if method == "dpo":
        automatic["beta"] = _BETA
    return {name: value if asked.get(name) in (None, "auto") else asked[name] for name, value in automatic.items()}


def epochs(examples: int) -> int:
    if examples * _EPOCHS < _LEAST_EXAMPLES:
        return min(_MOST_EPOCHS, _LEAST_EXAMPLES // max(1, examples))
    if examples * _EPOCHS > _MOST_EXAMPLES:
        return max(_LEAST_EPOCHS, _MOST_EXAMPLES // examples)
    return _EPOCHS
