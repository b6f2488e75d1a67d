"""OpenVINO GenAI: the same GGUF as llama.cpp, with faster prompts and more tokens a second for many at once on x86.

It runs in a process of its own (openvino_worker.py says why). What it cannot do to OpenAI's meaning it refuses, and
`preferred.py` gives those requests to llama.cpp; each was seen with openvino-genai 2026.4:

- logit_bias, top_logprobs, the scoring of a prompt: it has none of them.
- seed: with a prompt of more than a hundred tokens or so the same seed gives another text when others are in the batch.
- frequency_penalty, presence_penalty: a token whose logit is below zero is made likelier, not less likely.
- JSON, schemas and tool calls: its grammar (xgrammar) allows any white space, and small models fill the answer with it;
  some keywords are ignored; a schema that it cannot read fails every request after it until the model is loaded again.

It reads few architectures and tokenizers (`_unread`). Its telemetry is not loaded. How much of a prompt came from its
cache it does not tell: cached_tokens is 0.
"""

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from homeport.backends.engines import gguf_header
from homeport.backends.engines.admission import Admission
from homeport.backends.engines.memory import Memory
from homeport.backends.engines.openvino_process import Process
from homeport.backends.engines.openvino_text import TOKEN_TYPES, GrowingText, Vocabulary
from homeport.backends.engines.openvino_worker import BLOCK
from homeport.backends.engines.threads import default_threads
from homeport.backends.lines import Line, once_whole
from homeport.backends.text import (
    LONGEST_DEFAULT_CONTEXT,
    Constraint,
    Finish,
    ModelCard,
    Occupancy,
    Piece,
    Sampling,
    TokenLogprob,
    ToolCalls,
)
from homeport.errors import HomeportError, InvalidRequest, ModelNotReady, UnsupportedParameter

#: Memory for the key-value cache, unless one request alone needs more. OpenVINO keeps it in 8 bits a value.
CACHE_BYTES = 384 * 2**20
#: As in llama_cpp.py.
SHARE = 2048
#: Lines of batches that run at once while nobody else asks, for each place. A step with 64 answers is a quarter cheaper
#: than four with 16 (one core; 32: a sixth). Who waits for an answer would rather have fewer beside them.
LINES = 4
DEFAULT_ANSWER = 1536
_ARCHITECTURES = ("llama", "qwen2", "qwen3")
_PRETOKENIZERS = ("smollm", "qwen2", "llama-bpe")


class Said(NamedTuple):
    tokens: list[int]
    finish: str


class _Listener(NamedTuple):
    loop: asyncio.AbstractEventLoop
    queue: "asyncio.Queue[Said | None]"

    def hear(self, said: Said | None) -> None:
        """From any thread. None: there will be no more."""
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody listens any more
            self.loop.call_soon_threadsafe(self.queue.put_nowait, said)


class OpenVINO:
    """TextEngine over one GGUF file. The settings mean what they mean to LlamaCpp; threads: one less than the cores."""

    name = "openvino"

    def __init__(
        self,
        path: Path,
        *,
        context_length: int | None = None,
        parallel: int = 16,
        threads: int | None = None,
        queue: int = 256,
    ) -> None:
        self._path = path
        self._context_length = context_length
        self._parallel = parallel
        self._threads = threads or default_threads()
        self._queue = queue
        self._card: ModelCard | None = None
        self._numbers = itertools.count(1)
        self._listeners: dict[int, _Listener] = {}
        self._lookups = ThreadPoolExecutor(max_workers=1, thread_name_prefix="openvino-tokens")
        self._memory = Memory()  # the vocabulary's
        self._process: Process | None = None
        self._vocabulary: Vocabulary
        self._admission: Admission

    @property
    def card(self) -> ModelCard:
        if self._card is None:
            raise ModelNotReady("The model is still being loaded. Try again in a few seconds.")
        return self._card

    async def start(self) -> None:
        """Raises SettingsError when the file is no GGUF, ModelNotReady when OpenVINO cannot run it."""
        await asyncio.get_running_loop().run_in_executor(self._lookups, self._load)

    async def close(self) -> None:
        self._lost()
        if self._process is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._process.close)
        self._lookups.shutdown(wait=False)

    def occupancy(self) -> Sequence[Occupancy]:
        there = self._process.resident() if self._process is not None else None
        memory = there + (self._memory.bytes or 0) if there is not None else None
        return (self._admission.occupancy(self.name)._replace(memory_bytes=memory),)

    def refuses(self, sampling: Sampling, constraint: Constraint | None) -> str | None:
        if constraint is not None:
            return "tools" if isinstance(constraint, ToolCalls) else "response_format"
        if sampling.top_logprobs is not None:
            return "top_logprobs"
        for name in ("logit_bias", "frequency_penalty", "presence_penalty"):
            if getattr(sampling, name):
                return name
        return "seed" if sampling.seed is not None else None

    async def tokenize(self, text: str, *, special: bool) -> list[int]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._lookups, lambda: self._vocabulary.ids(text, special=special))

    async def detokenize(self, tokens: Sequence[int]) -> str:
        self._check(tokens)
        return self._vocabulary.text(tokens)

    def generate(
        self, prompt: Sequence[int], sampling: Sampling, constraint: Constraint | None, *, batch: bool = False
    ) -> AsyncGenerator[Piece, None]:
        assert self.refuses(sampling, constraint) is None, "refuses() has not been asked"
        generate = partial(self._generate, prompt, sampling, [])
        return once_whole(generate) if batch else generate(None)

    async def _generate(
        self, prompt: Sequence[int], sampling: Sampling, tokens: list[int], line: Line | None
    ) -> AsyncGenerator[Piece, None]:
        """tokens: of the answer, which a line that was sent back goes on from. So it may: whatever this engine takes
        into account for the next token is in those before it."""
        self._check(prompt)
        process = self._process
        assert process is not None, "start() has not been awaited"
        size = _blocks(len(prompt) + sampling.max_tokens)
        await self._admission.enter(size, line)
        number = next(self._numbers)
        listener = self._listeners[number] = _Listener(asyncio.get_running_loop(), asyncio.Queue())
        ended = False
        try:
            process.tell(_request(number, prompt, sampling, tokens))
            async with aclosing(self._pieces(listener.queue, sampling, tokens)) as pieces:
                async for piece in pieces:
                    ended = piece.finish is not None
                    yield piece
        finally:
            del self._listeners[number]
            if not ended or sampling.stop:
                with contextlib.suppress(HomeportError):
                    process.tell({"drop": number})  # before whatever takes its place
            self._admission.leave(size, line)

    async def score(
        self, prompt: Sequence[int], top_logprobs: int, *, batch: bool = False
    ) -> list[TokenLogprob | None]:
        raise UnsupportedParameter("This engine does not score prompts.", param="logprobs")

    async def _pieces(
        self, queue: "asyncio.Queue[Said | None]", sampling: Sampling, tokens: list[int]
    ) -> AsyncGenerator[Piece, None]:
        """tokens: those that are there, and those that come."""
        text = GrowingText(sampling.stop)
        if before := "".join([text.add(self._vocabulary.spoken(token)) for token in tokens]):
            yield Piece(before)
        while True:
            said = await queue.get()
            if said is None:
                raise HomeportError("The model failed while it was generating. You can retry your request.")
            news: list[str] = []
            for token in said.tokens:
                tokens.append(token)
                news.append(text.add(self._vocabulary.spoken(token)))
                if text.stopped:
                    break
            finish: Finish | None = "stop" if text.stopped or said.finish == "stop" else None
            if finish is None and said.finish:
                finish = "length"
            if finish is not None:
                news += [] if text.stopped else [text.rest()]
                yield Piece("".join(news), finish=finish, completion_tokens=len(tokens))
                return
            if new := "".join(news):
                yield Piece(new)

    # In other threads

    def _load(self) -> None:
        header: Mapping[str, Any] = gguf_header.read(self._path, arrays=(TOKEN_TYPES,))
        if why := _unread(header):
            raise ModelNotReady(f"OpenVINO cannot run {self._path.name}: {why}.")
        self._vocabulary = self._memory.taken_by(lambda: Vocabulary(self._path, header))
        trained = int(header.get(f"{header['general.architecture']}.context_length") or 0)
        context = self._context_length or LONGEST_DEFAULT_CONTEXT
        context = min(context, trained or context)
        per_token = gguf_header.kv_bytes_per_token(dict(header)) // 2 or 2**16
        cells = _blocks(max(context, min(CACHE_BYTES // per_token, self._parallel * SHARE)))
        places = max(1, min(self._parallel, cells // min(SHARE, context)))
        lines = places * LINES
        self._admission = Admission(places=places, tokens=cells, queue=self._queue, lines=lines)
        settings = {
            "path": str(self._path),
            "threads": self._threads,
            "places": lines,
            "blocks": cells // BLOCK + lines,
            "ends": self._vocabulary.ends,
        }
        self._process = Process(settings, self._hear, self._lost)
        self._process.launch()
        version = self._process.ready()
        self._card = self._described(header, context, version)

    def _described(self, header: Mapping[str, Any], context: int, version: str) -> ModelCard:
        def text_of(name: str) -> str:
            token = header.get(f"tokenizer.ggml.{name}_token_id")
            return "" if token is None else self._vocabulary.text([token])

        return ModelCard(
            context_length=context,
            chat_template=header.get("tokenizer.chat_template") or None,
            bos=text_of("bos"),
            eos=text_of("eos"),
            add_bos=bool(header.get("tokenizer.ggml.add_bos_token", header["tokenizer.ggml.pre"] == "llama-bpe")),
            default_answer=min(DEFAULT_ANSWER, context),
            identity=f"OpenVINO {version} {self._path.name} {self._path.stat().st_size}",
        )

    def _hear(self, message: dict[str, Any]) -> None:
        for number, tokens, finish in message.get("said", ()):
            if listener := self._listeners.get(number):
                listener.hear(Said(tokens, finish))
        if refused := self._listeners.get(message.get("refused", 0)):
            refused.hear(None)

    def _lost(self) -> None:
        for listener in list(self._listeners.values()):
            listener.hear(None)

    def _check(self, tokens: Sequence[int]) -> None:
        most = len(self._vocabulary.tokens)
        for token in tokens:
            if not 0 <= token < most:
                raise InvalidRequest(
                    f"Invalid 'prompt': {token} is no token of this model; ids go from 0 to {most - 1}.", param="prompt"
                )


def _request(number: int, prompt: Sequence[int], sampling: Sampling, tokens: Sequence[int]) -> dict[str, object]:
    """tokens: of the answer, that are there."""
    return {
        "add": number,
        "prompt": [*prompt, *tokens],
        "most": sampling.max_tokens - len(tokens),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": secrets.randbits(32),
        "ignore_eos": sampling.ignore_eos,
    }


def _unread(header: Mapping[str, Any]) -> str | None:
    """Why OpenVINO cannot run this file, or would split its texts in another way than the model was taught."""
    architecture = header.get("general.architecture")
    if architecture not in _ARCHITECTURES:
        return f"it does not know the architecture {architecture!r}"
    if header.get("tokenizer.ggml.model") != "gpt2" or header.get("tokenizer.ggml.pre") not in _PRETOKENIZERS:
        return (
            f"it does not know the tokenizer {header.get('tokenizer.ggml.pre') or header.get('tokenizer.ggml.model')!r}"
        )
    return None


def _blocks(tokens: int) -> int:
    """Tokens rounded up to whole blocks of the cache."""
    return -(-tokens // BLOCK) * BLOCK
