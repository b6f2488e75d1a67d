"""The learning rate, step by step: a straight line up, then a straight line down to nothing.

Up: Adam's moments know nothing in the first steps, and a whole step into such a direction costs more than it gives.
Down: a straight line to zero is what theory asks for and what did best in comparisons of schedules
(arXiv 2310.07831, 2502.15938).
"""

_WARM_UP = 0.05
_LONGEST_WARM_UP = 100


def rate(step: int, steps: int, highest: float) -> float:
    """step: from 1 to `steps`. The last one is not at zero: it would learn nothing."""
    warm_up = min(_LONGEST_WARM_UP, int(steps * _WARM_UP))
    if step <= warm_up:
        return highest * step / (warm_up + 1)
    return highest * (steps + 1 - step) / (steps - warm_up)
