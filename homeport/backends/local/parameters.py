"""Every parameter of the requests and what a local model makes of it. Nothing is taken and ignored.

honoured: it changes the answer, or its record, as OpenAI says. no effect: by its own definition it changes nothing in
the text (an end user's name, a hint to a cache). refused: any value but the harmless ones is a 400 that names it and
says what to do.

docs/compatibility.md and the conformance page are made from these tables; a test compares them with the wire's
requests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from homeport.errors import UnsupportedParameter

Verdict = Literal["honoured", "no effect", "refused"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """note: how it is honoured, why it has no effect, or why it is refused and what to do instead.
    harmless: values that a refused parameter may have, because they ask for what happens anyway."""

    verdict: Verdict
    note: str
    harmless: tuple[object, ...] = ()


def honoured(note: str) -> Parameter:
    return Parameter("honoured", note)


def no_effect(note: str) -> Parameter:
    return Parameter("no effect", note)


def refused(note: str, *harmless: object) -> Parameter:
    return Parameter("refused", note, harmless)


_SAMPLING = {
    "temperature": honoured("Sampling; 0 takes the likeliest token."),
    "top_p": honoured("Sampling."),
    "frequency_penalty": honoured("Sampling."),
    "presence_penalty": honoured("Sampling."),
    "stop": honoured("Up to 4 texts; never part of the answer."),
    "seed": honoured(
        "The same seed, prompt, settings and `system_fingerprint` give the same text; choice i uses seed + i."
    ),
    "logit_bias": honoured("Token ids are this model's own, not OpenAI's. Refused by engines that cannot."),
    "n": honoured("All choices are generated at once; the prompt is counted once."),
    "stream": honoured("Chunks as OpenAI sends them."),
    "stream_options": honoured(
        "`include_usage`: the counts in a last chunk. `include_obfuscation`: padding to even lengths, only if true."
    ),
    "user": no_effect("Names an end user for abuse reports."),
}

CHAT: Mapping[str, Parameter] = {
    **_SAMPLING,
    "model": honoured("The name is resolved by the router; the answer's `model` tells what ran."),
    "messages": honoured(
        "Text of all roles; developer counts as system, function as tool; a `name` is put before the text. Images, "
        "audio and files are refused: send text, or use an upstream's model."
    ),
    "max_tokens": honoured(
        "Without it, the rest of the context, and at most what the engine allows (llama.cpp: 1,536)."
    ),
    "max_completion_tokens": honoured("As `max_tokens`; no tokens are spent on hidden reasoning."),
    "logprobs": honoured("Log-probabilities of the content's tokens. Refused by engines that cannot."),
    "top_logprobs": honoured("Up to 20. Refused by engines that cannot."),
    "response_format": honoured("json_object and json_schema constrain the decoding; the result is validated."),
    "tools": honoured("Functions. Custom tools (free text) are refused: describe them as a function with one string."),
    "tool_choice": honoured("`required` and a named function constrain the decoding; `allowed_tools` narrows `tools`."),
    "parallel_tool_calls": honoured("False: one call at most; what the model writes behind it is content."),
    "functions": honoured("The older form of `tools`."),
    "function_call": honoured("The older form of `tool_choice`."),
    "metadata": honoured("Comes back in the answer."),
    "service_tier": refused("There is one tier here. Leave it out, or send `auto` or `default`.", "auto", "default"),
    "modalities": refused('It answers in text only. Leave it out, or send ["text"].', ["text"]),
    "audio": refused("It does not speak. Leave it out, and have the text spoken by `POST /v1/audio/speech`."),
    "prediction": refused("It does not verify predicted text. Leave it out: the answer is the same, only not sooner."),
    "reasoning_effort": refused("It does not reason before it answers. Leave it out, or send `none`.", "none"),
    "verbosity": refused("It has one way of answering. Leave it out, or ask for a length in a message.", "medium"),
    "store": refused("Completions are not stored here. Leave it out, or send false.", False),
    "moderation": refused("Moderate the text by `POST /v1/moderations` instead."),
    "web_search_options": refused("It cannot search the web. Offer a function of your own in `tools`."),
    "prompt_cache_options": refused("How long prompts stay in the cache cannot be promised. Leave it out."),
    "prompt_cache_retention": no_effect("An upper bound; prompts are kept in memory only, and no longer than this."),
    "prompt_cache_key": no_effect("A hint for routing to a cache; there is one cache here."),
    "safety_identifier": no_effect("Names an end user for abuse reports."),
}

COMPLETIONS: Mapping[str, Parameter] = {
    **_SAMPLING,
    "model": CHAT["model"],
    "prompt": honoured(
        "Text, texts, tokens or lists of tokens. Text is plain text: send tokens for the model's control tokens."
    ),
    "max_tokens": honoured("16 by default."),
    "logprobs": honoured("Up to 5. Refused by engines that cannot."),
    "echo": honoured("With `logprobs` the prompt is scored; refused by engines that cannot."),
    "best_of": honoured("All are generated and counted; the best by mean log-probability come back."),
    "suffix": refused("The model has not learnt to fill in the middle. Put the text behind into the prompt.", ""),
}

EMBEDDINGS: Mapping[str, Parameter] = {
    "model": CHAT["model"],
    "input": honoured(
        "Text, texts, tokens or lists of tokens, 2048 at most. Under a name of OpenAI's (`text-embedding-...`) tokens "
        "are OpenAI's, else the model's own. Longer than the context is refused with the numbers."
    ),
    "encoding_format": honoured("`float` or `base64` (float32, little-endian)."),
    "dimensions": honoured("Shortened and made a unit again, where the model was trained for that; else refused."),
    "user": _SAMPLING["user"],
}

MODERATIONS: Mapping[str, Parameter] = {
    "model": honoured("`omni-moderation-latest` where it is left out. The answer's `model` tells what ran."),
    "input": honoured(
        "Text, texts (2048 at most), or parts of type `text`, which together are one input; 1,000,000 characters in "
        "all. Images are refused: use an upstream's model."
    ),
}


def check(request: msgspec.Struct, table: Mapping[str, Parameter], model: str) -> None:
    """Raises UnsupportedParameter for the first parameter whose value cannot be honoured."""
    for name, parameter in table.items():
        if parameter.verdict != "refused":
            continue
        value = getattr(request, name, None)
        if value is None or value is msgspec.UNSET or value in parameter.harmless:
            continue
        raise unsupported(name, model, parameter.note)


def unsupported(param: str, model: str, note: str) -> UnsupportedParameter:
    return UnsupportedParameter(f"The model `{model}` does not support `{param}`. {note}", param=param)
