"""The sampling parameters that both requests share, and the question whether the engine can honour them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from homeport.backends.local.parameters import unsupported
from homeport.backends.text import Constraint, Sampling, TextEngine
from homeport.errors import InvalidRequest

ENGINE_NOTE = "The engine that runs it cannot honour this. Leave it out, or run the model on another engine."


def sampling_of(request: Mapping[str, Any], *, max_tokens: int, top_logprobs: int | None) -> Sampling:
    """The first choice's sampling. Absent and null are OpenAI's defaults."""

    def number(name: str, default: float) -> float:
        value = request.get(name)
        return default if value is None else float(value)

    stop = request.get("stop")
    return Sampling(
        max_tokens=max_tokens,
        temperature=number("temperature", 1.0),
        top_p=number("top_p", 1.0),
        frequency_penalty=number("frequency_penalty", 0.0),
        presence_penalty=number("presence_penalty", 0.0),
        stop=(stop,) if isinstance(stop, str) else tuple(stop or ()),
        seed=request.get("seed"),
        logit_bias=_logit_bias(request.get("logit_bias")),
        top_logprobs=top_logprobs,
    )


def for_choice(sampling: Sampling, choice: int) -> Sampling:
    """Each choice its own seed, derived from the request's: 64 bits, with a sign."""
    if sampling.seed is None:
        return sampling
    return dataclasses.replace(sampling, seed=(sampling.seed + choice + 2**63) % 2**64 - 2**63)


def consult(
    engine: TextEngine, model: str, sampling: Sampling, constraint: Constraint | None, names: Mapping[str, str]
) -> None:
    """Raises UnsupportedParameter for what the engine refuses. names: the engine's word -> the request's parameter."""
    if refused := engine.refuses(sampling, constraint):
        raise unsupported(names.get(refused, refused), model, ENGINE_NOTE)


def _logit_bias(bias: Mapping[str, float] | None) -> dict[int, float]:
    tokens: dict[int, float] = {}
    for key, value in (bias or {}).items():
        if not str(key).isdecimal():
            raise InvalidRequest(f"Invalid key in 'logit_bias': {key!r} is not a token id.", param="logit_bias")
        tokens[int(key)] = float(value)
    return tokens
