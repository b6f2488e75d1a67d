"""How fast to learn, where nobody says it: the learning rate that `learning_rate_multiplier` 1.0 stands for.

Nothing here imports PyTorch: the server asks it, too.

Source: LoRA's best rate falls with the width of the model and hardly depends on the rank where the adapter counts
`alpha / r` ("LoRA Without Regret", Thinking Machines, 2025, and its formula for Llama's: 5e-4 * (2000 / width)^0.781).
A model's width grows with about the 0.48th power of its parameters (576 at 135 million, 2048 at 1.2 billion, 4096 at
8 billion), which makes the exponent below. It says 1e-3 at 135 million, where it was measured here
(docs/fine-tuning.md#training), 2.2e-4 at 8 billion and 1e-4 at 70 billion, as QLoRA (arXiv 2305.14314, table 9) took.
"""

from homeport.training.text.job import Method

_MEASURED_AT = 135e6
_EXPONENT = 0.375
#: At that size. `dpo`: answers are pushed from two sides, and at higher rates the margin only grows; with 1e-4 what is
#: preferred had not been taken on when the examples were over.
_RATES: dict[Method, float] = {"supervised": 1e-3, "dpo": 2e-4}


def learning_rate(parameters: int, method: Method) -> float:
    """parameters: of the whole model. Two digits, for people read it."""
    return float(f"{_RATES[method] * (_MEASURED_AT / parameters) ** _EXPONENT:.1e}")
