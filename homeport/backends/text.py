"""The seam below the OpenAI objects: an engine that continues tokens.

An engine (llama.cpp, OpenVINO, echo) knows tokens, sampling and constraints, and nothing of messages, chunks or tools:
those are made once, for all engines, in `generation.py`.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from homeport.errors import HomeportError, ModelNotReady

Finish = Literal["stop", "length"]

#: Context of a model whose file promises more than a home has memory for, unless the settings say otherwise.
LONGEST_DEFAULT_CONTEXT = 8192
#: Control tokens that end an answer, beside the one that a file names. As llama.cpp has them.
ENDINGS = (
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<EOT>", "<|end_of_text|>",
    "<|eom_id|>", "<｜end▁of▁sentence｜>", "<|return|>", "<|call|>",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class JsonObject:
    """The text must be one JSON object (`response_format: json_object`)."""


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """The text must be one JSON value that the schema admits. The schema has been validated."""

    schema: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ToolCalls:
    """The text may hold (`required`: must be) calls of these tools, each written as `opening + JSON + closing`,
    where the JSON is `{"name": NAME, "arguments": {...}}` with the arguments as the tool's schema admits (the keys in
    this order; the second is called `argument_key`: some models were taught "parameters").

    tools: name -> JSON schema of the arguments. Not required: free text is allowed as well, before the first call.
    parallel: more than one call may follow another, joined by `separator`.
    """

    tools: Mapping[str, Mapping[str, object]]
    required: bool
    parallel: bool
    opening: str = "<tool_call>\n"
    closing: str = "\n</tool_call>"
    separator: str = "\n"
    argument_key: str = "arguments"


Constraint = JsonObject | JsonSchema | ToolCalls


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to continue. OpenAI's names, ranges and defaults, already checked.

    max_tokens: at least 1 (0 only together with scoring, which does not come here); always set: the caller has cut it
        to the context. stop: at most 4 texts, never part of the answer. top_logprobs: None asks for no logprobs; 0-20
        asks for the chosen token's and that many alternatives. logit_bias: token id -> -100..100.
    seed: the same seed, prompt and settings give the same text.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    top_logprobs: int | None = None
    ignore_eos: bool = False


class Alternative(NamedTuple):
    token: str
    logprob: float
    bytes: bytes


class TokenLogprob(NamedTuple):
    """One token with its natural-log probability under the model before sampling settings."""

    token: str
    logprob: float
    bytes: bytes
    top: tuple[Alternative, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """Some more text: whole characters only (a torn UTF-8 sequence waits for its rest).

    finish: set on the last piece alone, which also carries the counts: completion_tokens as the engine counted them
    (the end-of-text token included where the engine includes it), cached_tokens = prompt tokens taken from its cache.
    """

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()
    finish: Finish | None = None
    completion_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What an engine knows of the weights it has loaded.

    bos, eos: the control tokens' texts, "" for none; add_bos: every prompt of these weights begins with bos.
    default_answer: the longest answer when the client names no limit; None for the rest of the context.
    identity: engine version, weights and adapters in any stable words: what `system_fingerprint` is made of.
    """

    context_length: int
    chat_template: str | None = None
    bos: str = ""
    eos: str = ""
    vision: bool = False
    add_bos: bool = False
    default_answer: int | None = None
    identity: str = ""


class Occupancy(NamedTuple):
    """How much of an engine is in use. places: requests (of embeddings: inputs) that it takes at once, or lines of
    batches, while it has more of these than of those; busy: of them; waiting: for one; lines are not counted, as some
    always wait while there is a batch. lines: of those that are busy; most_lines: that it takes at once while nobody
    else asks, where these are more than its places. progress: how much of what is busy is done, 0 to 1, of an engine
    that knows; None: nothing is, or it does not. memory_bytes: resident, that the engine took when it was loaded
    (engines/memory.py), or has now, where it is a process of its own; None: it has no weights, or the system does not
    tell."""

    engine: str
    places: int
    busy: int
    waiting: int
    lines: int = 0
    most_lines: int = 0
    progress: float | None = None
    memory_bytes: int | None = None


class Tokenizer(Protocol):
    async def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Token ids. special: text like `<|im_start|>` becomes its control token (for our own template's text);
        otherwise it stays plain characters (for a client's text). No begin-of-text token is added."""
        ...


class TextEngine(Tokenizer, Protocol):
    """Continues tokens. Safe for any number of concurrent calls on one event loop; never blocks that loop."""

    name: str

    @property
    def card(self) -> ModelCard:
        """Known after start()."""
        ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def occupancy(self) -> Sequence[Occupancy]:
        """After start(): its own, or of those that it is made of; nothing where any number may generate."""
        ...

    def refuses(self, sampling: Sampling, constraint: Constraint | None) -> str | None:
        """The OpenAI parameter that this engine cannot honour (`logit_bias`, ...), or None when it honours all."""
        ...

    async def detokenize(self, tokens: Sequence[int]) -> str:
        """Raises errors.InvalidRequest for ids outside the vocabulary."""
        ...

    def generate(
        self, prompt: Sequence[int], sampling: Sampling, constraint: Constraint | None, *, batch: bool = False
    ) -> AsyncGenerator[Piece, None]:
        """Continue the prompt. Closing the generator stops the work at the next token (0.2 s at most). batch: for a
        line of a batch, which waits behind everybody else (lines.py), however long the queue, and may be made to begin
        anew: its pieces come when it has come to its end.

        Raises errors.Unavailable when the engine's queue is full, errors.HomeportError when it failed; the prompt and
        max_tokens fit the context (the caller has checked).
        """
        ...

    async def score(
        self, prompt: Sequence[int], top_logprobs: int, *, batch: bool = False
    ) -> list[TokenLogprob | None]:
        """Log-probability of each token of the prompt given those before it (None for the first), for `echo` with
        `logprobs`. Raises errors.UnsupportedParameter (param `logprobs`) where the engine cannot."""
        ...


@runtime_checkable
class Adapting(Protocol):
    """A TextEngine that also serves models that were fine-tuned from its own."""

    async def adapted(self, adapter: Path) -> TextEngine:
        """The same engine with an adapter (LoRA, in a GGUF file) over its weights. Whoever generates with it the first
        time waits for it to be loaded, and is told (ModelNotReady) where it cannot be. Started already, and not to be
        closed. Raises as `cannot_adapt`."""
        ...


def cannot_adapt(engine: str) -> HomeportError:
    return ModelNotReady(
        f"The engine {engine!r} does not serve fine-tuned models; 'llama_cpp' does. Whoever runs this server can set "
        'it for the model they were made from, or leave engine = "auto" and install it: '
        "pip install 'homeport[local]'.",
        headers=(("x-should-retry", "false"),),
    )
