"""Log-probabilities in OpenAI's two shapes: an entry a token (chat), and parallel lists (the older completions)."""

from collections.abc import Iterable, Sequence
from typing import Any

from homeport.backends.text import TokenLogprob

LEAST = -9999.0  # JSON has no minus infinity; OpenAI documents this value for "very unlikely"


def entries(tokens: Iterable[TokenLogprob]) -> list[dict[str, Any]]:
    """`ChatCompletionTokenLogprob`, one for each token."""
    return [
        {
            "token": token.token,
            "logprob": _finite(token.logprob),
            "bytes": list(token.bytes),
            "top_logprobs": [
                {"token": other.token, "logprob": _finite(other.logprob), "bytes": list(other.bytes)}
                for other in token.top
            ],
        }
        for token in tokens
    ]


def lists(tokens: Sequence[TokenLogprob | None], texts: Sequence[str], *, top: int, offset: int) -> dict[str, Any]:
    """The `logprobs` object of completions.

    tokens: None for the prompt's first, of which nothing is known; texts: each token's text; top: how many alternatives
    were asked for; offset: characters before the first token, counted from the beginning of the prompt.
    """
    offsets: list[int] = []
    for text in texts:
        offsets.append(offset)
        offset += len(text)
    return {
        "tokens": list(texts),
        "token_logprobs": [None if token is None else _finite(token.logprob) for token in tokens],
        "top_logprobs": [None if token is None else _best(token) for token in tokens] if top else None,
        "text_offset": offsets,
    }


def _best(token: TokenLogprob) -> dict[str, float]:
    """The alternatives, and the chosen token if it is not among them: up to one more than was asked for."""
    best = {other.token: _finite(other.logprob) for other in token.top}
    best.setdefault(token.token, _finite(token.logprob))
    return best


def mean(tokens: Sequence[TokenLogprob]) -> float:
    """Log-probability a token: what `best_of` compares. Of nothing: 0, the best there is."""
    return sum(_finite(token.logprob) for token in tokens) / len(tokens) if tokens else 0.0


def _finite(logprob: float) -> float:
    return max(logprob, LEAST)
