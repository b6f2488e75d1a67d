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
    "store": honoured("Kept until somebody deletes it, whoever answers: docs/stored-completions.md."),
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

_NAMES_NOBODY = "This model does not tell speakers apart. Leave it out."

TRANSCRIPTIONS: Mapping[str, Parameter] = {
    "file": honoured("Whatever FFmpeg's libraries read; as long as `audio.max_minutes` says."),
    "model": CHAT["model"],
    "language": honoured("ISO 639-1, or the language's name. Refused, with those that there are, of another one."),
    "languages": honoured("One of these is spoken. Not together with `language`."),
    "keywords": honoured("Words that may be said. Refused by engines that heed none (`moonshine`)."),
    "prompt": honoured("What was said before. Refused by engines that heed none (`moonshine`)."),
    "response_format": honoured(
        "`json`, `text`; `srt`, `vtt` and `verbose_json` of engines that tell times (`whisper`). `diarized_json` is "
        "refused: no engine tells speakers apart."
    ),
    "temperature": honoured("0 takes the likeliest token, and another one where that goes wrong."),
    "include": honoured("`logprobs`, with `json`. Refused by engines that cannot."),
    "timestamp_granularities": honoured("With `verbose_json`."),
    "stream": honoured("Events as they are heard, whatever the model is called; with `json` or `text`."),
    "chunking_strategy": honoured("`auto`, or `server_vad` with its numbers."),
    "known_speaker_names": refused(_NAMES_NOBODY, []),
    "known_speaker_references": refused(_NAMES_NOBODY, []),
}

TRANSLATIONS: Mapping[str, Parameter] = {
    "file": TRANSCRIPTIONS["file"],
    "model": honoured("Of engines that translate into English (`whisper`); of others it is a 404."),
    "prompt": honoured("In English."),
    "response_format": honoured("`json`, `text`, `srt`, `verbose_json` or `vtt`."),
    "temperature": TRANSCRIPTIONS["temperature"],
}

SPEECH: Mapping[str, Parameter] = {
    "model": CHAT["model"],
    "input": honoured("Up to 4,096 characters, of a language that the model speaks; else refused with the word."),
    "voice": honoured("OpenAI's names, each one of the model's own. A voice of yours (`{id}`) is refused."),
    "instructions": refused("It speaks in one manner and cannot follow instructions. Leave it out.", ""),
    "response_format": honoured("`mp3`, `opus`, `aac`, `flac`, `wav` or `pcm`."),
    "speed": honoured("0.25 to 4, at the same pitch."),
    "stream_format": honoured("`audio` or `sse`; both are sent sentence by sentence."),
}

_DRAWN: Mapping[str, Parameter] = {
    "model": honoured("Resolved by the router. Under OpenAI's names it takes what that model takes, and no more."),
    "n": honoured("Up to 10; one under `dall-e-3`."),
    "response_format": honoured("`url` or `b64_json`. Unknown under GPT image models' names, as with OpenAI."),
    "size": honoured("What the name's model takes; of other names any that the engine can draw, or `auto`."),
    "user": _SAMPLING["user"],
    "seed": honoured("Not OpenAI's: the same seed, model and request give the same pictures."),
}
_PROMPTED: Mapping[str, Parameter] = {
    **_DRAWN,
    "prompt": honoured("As long as the name's model and the engine take."),
    "output_format": honoured("`png`, `jpeg` or `webp`, of names that have it."),
    "output_compression": honoured("Of `jpeg` and `webp`."),
    "stream": honoured("Pictures as events, of names that have it."),
    "partial_images": honoured("Of engines that show pictures in the making (`diffusion`); others send none."),
    "moderation": no_effect("`low` and `auto` let pass at least what an engine without a filter does."),
    "background": honoured("`transparent` of engines that can; else refused."),
    "quality": honoured("How long the engine takes over it, in three steps."),
}

GENERATIONS: Mapping[str, Parameter] = {
    **_PROMPTED,
    "style": honoured("Of engines that can be steered; others refuse `natural`: they draw in one style."),
}

EDITS: Mapping[str, Parameter] = {
    **_PROMPTED,
    "image": honoured("Up to 16 files, of engines that edit; of others it is a 404."),
    "images": honoured("The same as JSON: each by its URL or the id of a file."),
    "mask": honoured("Where it is transparent, the picture may change."),
    "input_fidelity": refused(
        "This model keeps what the mask does not show, and cannot keep more than that of a picture. Leave it out, or "
        "send `low`.",
        "low",
    ),
}

VARIATIONS: Mapping[str, Parameter] = {
    **_DRAWN,
    "image": honoured("One file, of engines that vary pictures; of others it is a 404."),
}

#: By the names of gateway/endpoints.py. Of `rerank` there is none: no model of this machine does it.
TABLES: Mapping[str, Mapping[str, Parameter]] = {
    "chat.completions": CHAT,
    "completions": COMPLETIONS,
    "embeddings": EMBEDDINGS,
    "moderations": MODERATIONS,
    "audio.transcriptions": TRANSCRIPTIONS,
    "audio.translations": TRANSLATIONS,
    "audio.speech": SPEECH,
    "images.generations": GENERATIONS,
    "images.edits": EDITS,
    "images.variations": VARIATIONS,
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
