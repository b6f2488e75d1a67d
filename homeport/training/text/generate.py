"""The likeliest continuation, token after token: what the model says now, to be held beside what is served."""

from collections.abc import Collection, Sequence

import torch

from homeport.training.text.network import Cache, Model


def greedy(model: Model, prompt: Sequence[int], most: int, *, ends: Collection[int] = ()) -> list[int]:
    """At most so many tokens; without the one of ends that ended it."""
    cache = Cache()
    said: list[int] = []
    given = list(prompt)
    with torch.no_grad():
        while len(said) < most:
            hidden = model(torch.tensor(given, device=model.device), [len(given)], cache=cache)
            token = int(model.logits(hidden[-1]).argmax())
            if token in ends:
                break
            said.append(token)
            given = [token]
    return said
