"""The counts of an answer, as the ledger keeps them and as OpenAI shows them."""

from collections.abc import Sequence
from typing import Any

from homeport.backends.capabilities import Usage
from homeport.backends.text import Piece


class Count:
    """Adds up the last pieces of all choices. Each prompt is counted once, however many choices continue it."""

    def __init__(self, prompts: Sequence[int], choices: int) -> None:
        """prompts: their lengths in tokens; choices: of each."""
        self._prompt = sum(prompts)
        self._choices = choices
        self._completion = 0
        self._cached = 0
        self.open = len(prompts) * choices

    def take(self, choice: int, piece: Piece) -> None:
        """A piece that finishes a choice. Cached is what a prompt's first choice found: the others share with it."""
        self._completion += piece.completion_tokens
        if choice % self._choices == 0:
            self._cached += piece.cached_tokens
        self.open -= 1

    @property
    def usage(self) -> Usage:
        return Usage(self._prompt, self._completion, self._cached)


def shown(usage: Usage) -> dict[str, Any]:
    """`CompletionUsage`."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": usage.input_audio},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": usage.output_audio,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
