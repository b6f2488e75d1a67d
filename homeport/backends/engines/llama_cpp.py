"""llama.cpp in this process, through xllamacpp: prompts of tokens in, pieces of text out, all requests in one batch.

Only its raw completions are used: templates, tools, choices and objects are made in `backends/local`, once for all
engines. What had to be worked around, here and in llama_server.py, each with a test in tests/engines:

- It applies top_k, min_p and a temperature of its own when none is given. Every sampler is set, to OpenAI's meaning.
- A bad grammar is dropped without a word. What comes out is validated by the caller.
- Errors come as an object, a ValueError or a RuntimeError; an exception in its callback is swallowed.
- A prompt is evaluated whole before the callback can stop it. Here it goes in small batches, and progress after each
  is asked for (`return_progress`): that is when leaving is seen. Others generate a token between two batches, too.
- A seed repeats only without the prompt cache, so a request with a seed does not use it. Beside other requests it
  repeats as good as never when all share one cache, so they do that only where the cache is too small for each its own.

Fine-tuned models are adapters over this one: llama_adapters.py.

Penalties count the tokens of the prompt as well: that is how llama.cpp sees "the text so far". A character that is made
of several tokens has one log-probability, its last token's: the library does not tell the others.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from homeport.backends.engines import gguf_header
from homeport.backends.engines.admission import Admission
from homeport.backends.engines.llama_adapted import Adapted
from homeport.backends.engines.llama_adapters import Adapters, Lease, listed, shut_down
from homeport.backends.engines.llama_chunks import Chunks, logprob_of
from homeport.backends.engines.llama_grammar import grammar
from homeport.backends.engines.llama_server import LlamaServer, parameters
from homeport.backends.engines.threads import default_threads
from homeport.backends.lines import Line, once_whole, to_its_end
from homeport.backends.text import (
    ENDINGS,
    LONGEST_DEFAULT_CONTEXT,
    Constraint,
    ModelCard,
    Occupancy,
    Piece,
    Sampling,
    TokenLogprob,
)
from homeport.errors import HomeportError, InvalidRequest, ModelNotReady

log = logging.getLogger("homeport.llama_cpp")

T = TypeVar("T")

#: Memory for the key-value cache, unless one request alone needs more.
CACHE_BYTES = 768 * 2**20
#: Cache tokens that a request has on average: so many requests as fit are generated at once.
SHARE = 2048
#: Requests beyond those, where all share one cache and it costs nothing: a line of a batch that gives its place up
#: takes a step to go, which nobody has to wait for.
SPARE = 2
#: Longest answer of a request that names no limit, so that the others keep their places.
DEFAULT_ANSWER = 1536
#: Prompt tokens evaluated before the request is asked again whether anybody still wants it. No slower than 512 or 2048.
PREFILL = 256
#: Texts of tokens that are remembered.
MOST_TEXTS = 10_000
_RANDOM_SEED = 0xFFFFFFFF


class LlamaCpp:
    """TextEngine over one GGUF file.

    context_length: tokens of one request (the model's own, at most 8192, by default). parallel: requests in one batch.
    threads: one less than the cores by default, because llama.cpp's threads spin. queue: requests that may wait.
    adapters: that are loaded at once.
    """

    name = "llama_cpp"

    def __init__(
        self,
        path: Path,
        *,
        context_length: int | None = None,
        parallel: int = 16,
        threads: int | None = None,
        queue: int = 256,
        adapters: int = 32,
    ) -> None:
        self._path = path
        self._context_length = context_length
        self._parallel = parallel
        self._threads = threads or default_threads()
        self._queue = queue
        self._card: ModelCard | None = None
        self._vocabulary = 0
        self._most_adapters = adapters
        self._adapters: Adapters | None = None
        self._running: set[threading.Event] = set()
        self._workers: ThreadPoolExecutor | None = None
        self._lookups = ThreadPoolExecutor(max_workers=2, thread_name_prefix="llama-tokens")
        self._closed = False
        self._texts: dict[int, str] = {}
        self._ends: Sequence[int] = ()
        self._admission: Admission

    @property
    def card(self) -> ModelCard:
        if self._card is None:
            raise ModelNotReady("The model is still being loaded. Try again in a few seconds.")
        return self._card

    async def start(self) -> None:
        """Raises SettingsError when the file is no GGUF, ModelNotReady when llama.cpp cannot load it."""
        await asyncio.get_running_loop().run_in_executor(self._lookups, self._load)

    async def close(self) -> None:
        """End what is running, refuse what waits, then let go of the model."""
        self._closed = True
        if self._adapters is not None:
            self._adapters.refuse()
        for left in self._running:
            left.set()
        await asyncio.get_running_loop().run_in_executor(None, self._end_threads)
        if self._adapters is not None:
            await self._adapters.close()

    async def adapted(self, adapter: Path) -> Adapted:
        return Adapted(self, adapter)

    def occupancy(self) -> Sequence[Occupancy]:
        return (self._admission.occupancy(self.name)._replace(memory_bytes=self._servers.memory_bytes),)

    def refuses(self, sampling: Sampling, constraint: Constraint | None) -> str | None:
        return None

    async def tokenize(self, text: str, *, special: bool) -> list[int]:
        return await self._looked_up(lambda server: server.tokens(text, special=special))

    async def detokenize(self, tokens: Sequence[int]) -> str:
        self._check(tokens)
        return await self._looked_up(lambda server: server.text(list(tokens)))

    def generate(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        constraint: Constraint | None,
        *,
        batch: bool = False,
        adapter: Path | None = None,
    ) -> AsyncGenerator[Piece, None]:
        generate = partial(self._generate, prompt, sampling, constraint, adapter)
        return once_whole(generate) if batch else generate(None)

    async def score(
        self, prompt: Sequence[int], top_logprobs: int, *, batch: bool = False, adapter: Path | None = None
    ) -> list[TokenLogprob | None]:
        """One step for each token: the next token is forced, and its log-probability is the one before the force."""
        score = partial(self._score, prompt, top_logprobs, adapter)
        return await (to_its_end(score) if batch else score(None))

    async def _generate(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        constraint: Constraint | None,
        adapter: Path | None,
        line: Line | None,
    ) -> AsyncGenerator[Piece, None]:
        self._check(prompt)
        request = _request(prompt, sampling, constraint, self._ends)
        size = len(prompt) + sampling.max_tokens
        lease = await self._enter(size, line, adapter)
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[Piece | BaseException] = asyncio.Queue()
        left = threading.Event()

        def said(item: Piece | BaseException) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody listens any more
                loop.call_soon_threadsafe(pieces.put_nowait, item)

        work = loop.run_in_executor(self._workers, self._run, lease, request, said, left)
        self._keep(work, left, size, line, lease)
        try:
            while True:
                item = await pieces.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
                if item.finish is not None:
                    return
        finally:
            left.set()

    async def _score(
        self, prompt: Sequence[int], top_logprobs: int, adapter: Path | None, line: Line | None
    ) -> list[TokenLogprob | None]:
        self._check(prompt)
        size = len(prompt) + 1
        lease = await self._enter(size, line, adapter)
        left = threading.Event()
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._workers, self._run_score, lease, list(prompt), top_logprobs, left)
        self._keep(work, left, size, line, lease)
        try:
            return await asyncio.shield(work)  # it keeps its place until it has really ended
        finally:
            left.set()

    # In worker threads

    def _load(self) -> None:
        header = gguf_header.read(self._path)
        context = self._context_length or LONGEST_DEFAULT_CONTEXT
        per_token = gguf_header.kv_bytes_per_token(header) or 2**17
        cells = max(context, min(CACHE_BYTES // per_token, self._parallel * SHARE))
        places = max(1, min(self._parallel, cells // min(SHARE, context)))
        shared = places * context > cells
        spare = SPARE if shared else 0
        cells = cells if shared else places * context

        def make(adapters: Sequence[Path]) -> LlamaServer:
            wanted = parameters(self._path, threads=self._threads)
            wanted.n_ctx = cells
            wanted.n_parallel = places + spare
            wanted.kv_unified = shared
            wanted.n_batch = max(PREFILL, places + spare)
            wanted.lora_adapters = listed(adapters)
            server = LlamaServer(self._path, wanted)
            try:
                server.complete({"prompt": [0], "max_tokens": 1, "cache_prompt": False}, lambda _: False)
            except BaseException:
                server.close()
                raise
            return server

        self._adapters = Adapters(make, architecture=header.get("general.architecture"), most=self._most_adapters)
        self._adapters.open()
        server = self._adapters.server
        about = server.about()
        self._vocabulary = int(about["n_vocab"])
        # The library caps one request's context at what the model was trained for.
        usable = min(context, int(about["n_ctx_train"]) or context, cells)
        self._card = replace(
            server.card(usable),
            default_answer=min(DEFAULT_ANSWER, usable),
            identity=f"llama.cpp {server.version} {self._path.name} {self._path.stat().st_size}",
        )
        found = (_only_token(server, text) for text in (*ENDINGS, self._card.eos))
        self._ends = sorted({token for token in found if token is not None})
        self._admission = Admission(places=places, tokens=max(cells, usable), queue=self._queue, spare=spare)
        self._workers = ThreadPoolExecutor(max_workers=places + spare, thread_name_prefix="llama")

    def _end_threads(self) -> None:
        self._lookups.shutdown()
        if self._workers is not None:
            self._workers.shutdown()

    def _run(self, lease: Lease, request: dict[str, Any], said: Any, left: threading.Event) -> None:
        """Runs one request to its end. Whatever happens, the last thing said has a finish or is an error."""
        try:
            chunks = Chunks(request.get("n_probs"), request.pop("top", 0), partial(self._text_of, lease.server))

            def take(chunk: dict[str, Any]) -> bool:
                piece = chunks.take(chunk)
                if piece is not None:
                    said(piece)
                return left.is_set()

            self._complete(lease, request, take)
            if not chunks.finished:
                said(shut_down() if self._closed else HomeportError("The model stopped without finishing its answer."))
        except BaseException as error:
            said(error)

    def _run_score(self, lease: Lease, prompt: list[int], top: int, left: threading.Event) -> list[TokenLogprob | None]:
        scores: list[TokenLogprob | None] = [None]
        for place in range(1, len(prompt)):
            if left.is_set():
                raise HomeportError("The scoring of the prompt was ended.") if not self._closed else shut_down()
            request = _request(prompt[:place], Sampling(max_tokens=1, temperature=0.0, top_logprobs=top), None)
            request.pop("top")
            request["logit_bias"] = [[prompt[place], 1000.0]]
            entries: list[dict[str, Any]] = []

            def take(chunk: dict[str, Any], entries: list[dict[str, Any]] = entries) -> bool:
                entries += (chunk["choices"][0]["logprobs"] or {}).get("content", ())
                return False

            self._complete(lease, request, take)
            if not entries:
                raise HomeportError("The model did not score its prompt.")
            scores.append(logprob_of(entries[0], top, self._text_of(lease.server, prompt[place])))
        return scores

    def _text_of(self, server: LlamaServer, token: int) -> str:
        """The text of one token; a part of a character is a replacement character."""
        if token not in self._texts:
            if len(self._texts) >= MOST_TEXTS:
                self._texts.clear()
            self._texts[token] = server.text([token])
        return self._texts[token]

    def _complete(self, lease: Lease, request: dict[str, Any], take: Any) -> None:
        """With what its model says of adapters."""
        lease.server.complete({**request, "lora": lease.lora} if lease.lora else request, take)

    # Tokens

    async def _enter(self, size: int, line: Line | None, adapter: Path | None) -> Lease:
        """Admission, and a server that has the adapter. Raises Unavailable as well when the engine is being closed,
        before the wait or during it."""
        self._check_open()
        adapters = self._servers
        await adapters.ready(adapter)  # who waits for it takes nobody's place meanwhile
        await self._admission.enter(size, line)
        try:
            self._check_open()
            return await adapters.lease(adapter)
        except BaseException:
            self._admission.leave(size, line)
            raise

    def _keep(
        self, work: asyncio.Future[Any], left: threading.Event, size: int, line: Line | None, lease: Lease
    ) -> None:
        """Its place, its tokens and its server are taken until the thread has ended, whoever has left before."""

        def ended(_: object) -> None:
            self._running.discard(left)
            self._admission.leave(size, line)
            lease.end()

        self._running.add(left)
        work.add_done_callback(ended)

    def _check_open(self) -> None:
        if self._closed:
            raise shut_down()

    def _check(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            if not 0 <= token < self._vocabulary:
                raise InvalidRequest(
                    f"Invalid 'prompt': {token} is no token of this model; ids go from 0 to {self._vocabulary - 1}.",
                    param="prompt",
                )

    @property
    def _servers(self) -> Adapters:
        assert self._adapters is not None, "start() has not been awaited"
        return self._adapters

    @property
    def _loaded(self) -> LlamaServer:
        return self._servers.server

    async def _looked_up(self, look: Callable[[LlamaServer], T]) -> T:
        self._check_open()
        lease = self._servers.lease_base()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._lookups, look, lease.server)
        finally:
            lease.end()


def _only_token(server: LlamaServer, text: str) -> int | None:
    """The one that a text is; None where it is several, or none (a small vocabulary may lack its letters)."""
    try:
        tokens = server.tokens(text, special=True)
    except HomeportError:
        return None
    return tokens[0] if len(tokens) == 1 else None


def _request(
    prompt: Sequence[int], sampling: Sampling, constraint: Constraint | None, ends: Sequence[int] = ()
) -> dict[str, Any]:
    """A raw completion in llama.cpp's words, with none of its own defaults left."""
    request: dict[str, Any] = {
        "prompt": list(prompt),
        "max_tokens": sampling.max_tokens,
        "stream": True,
        "return_progress": len(prompt) > PREFILL,
        "cache_prompt": sampling.seed is None,
        "samplers": ["penalties", "temperature", "top_p"],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": 0,
        "min_p": 0.0,
        "repeat_penalty": 1.0,
        "repeat_last_n": len(prompt) + sampling.max_tokens,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "stop": list(sampling.stop),
        "ignore_eos": sampling.ignore_eos,
        "seed": _RANDOM_SEED if sampling.seed is None else sampling.seed % _RANDOM_SEED,
    }
    if sampling.logit_bias:
        request["logit_bias"] = [
            [token, False if bias <= -100 else bias] for token, bias in sampling.logit_bias.items()
        ]
    if sampling.top_logprobs is not None:
        request["n_probs"] = max(1, sampling.top_logprobs)
        request["top"] = sampling.top_logprobs
    if constraint is not None:
        request["grammar"] = grammar(constraint, ends)
    return request
