"""A `POST /completions`, looked at as a whole before anything is generated: every refusal comes from here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homeport.backends.local import prompts
from homeport.backends.local.sampling import consult, for_choice, sampling_of
from homeport.backends.text import Sampling, TextEngine
from homeport.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Prompt:
    """text: what `echo` repeats, where offsets begin. pad: how many of the tokens we have put before the client's."""

    tokens: Sequence[int]
    text: str
    pad: int


@dataclass(frozen=True, slots=True)
class Plan:
    """samplings: one for each candidate of a prompt; `keep` of them come back (fewer than all with best_of).

    top: alternatives a token that the client asked for; None for no log-probabilities in the answer.
    """

    prompts: Sequence[Prompt]
    samplings: Sequence[Sampling]
    keep: int
    echo: bool
    top: int | None


async def planned(request: Mapping[str, Any], model: str, engine: TextEngine) -> Plan:
    """request: its fields as they stand in the JSON, validated. Raises InvalidRequest and its kin."""
    wanted = [await _prompt(engine, prompt) for prompt in _listed(request.get("prompt"))]
    asked = request.get("max_tokens")
    room = 16 if asked is None else asked
    for prompt in wanted:
        prompts.room_for_completion(engine.card.context_length, len(prompt.tokens), room)
    keep = request.get("n") or 1
    candidates = max(request.get("best_of") or keep, keep)
    top, ranked = request.get("logprobs"), candidates > keep
    sampling = sampling_of(request, max_tokens=room, top_logprobs=top or 0 if top is not None or ranked else None)
    names = {"top_logprobs": "logprobs"} if top is not None else {"top_logprobs": "best_of", "logprobs": "best_of"}
    consult(engine, model, sampling, None, names)
    samplings = [for_choice(sampling, choice) for choice in range(candidates)]
    return Plan(wanted, samplings, keep, bool(request.get("echo")), top)


def _listed(prompt: object) -> list[str | list[int]]:
    """The four forms as one: a list of texts or of tokens. No prompt at all is the beginning of a new text."""
    if prompt is None or isinstance(prompt, str):
        return [prompt or ""]
    assert isinstance(prompt, list)
    if prompt and isinstance(prompt[0], int):
        return [prompt]
    return list(prompt)


async def _prompt(engine: TextEngine, prompt: str | list[int]) -> Prompt:
    """An empty prompt is what the model takes for the beginning of a text: its begin or its end token."""
    card = engine.card
    if isinstance(prompt, str):
        text, tokens = prompt, await engine.tokenize(prompt, special=False) if prompt else []
    else:
        text, tokens = await _read(engine, prompt), prompt
    start: list[int] = []
    if not tokens or (card.add_bos and isinstance(prompt, str)):
        start = await engine.tokenize(card.bos or card.eos, special=True)
    return Prompt([*start, *tokens], text, len(start))


async def _read(engine: TextEngine, tokens: list[int]) -> str:
    try:
        return await engine.detokenize(tokens)
    except InvalidRequest as error:
        raise InvalidRequest(error.message, param="prompt") from error
