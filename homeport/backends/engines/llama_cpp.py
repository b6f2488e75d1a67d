"""llama.cpp in this process, through xllamacpp: prompts of tokens in, pieces of text out, all requests in one batch.

Only its raw completions are used: templates, tools, choices and objects are made in `backends/local`, once for all
engines. What had to be worked around, each with a test in tests/engines:

- The library always opens a listener of its own, with CORS for everybody and no key. Here it is a Unix socket in a
  folder of mode 700, with a random key; tokenising goes through it.
- Its constructor puts its own SIGINT and SIGTERM handlers in place of Python's. They are put back.
- It applies top_k, min_p and a temperature of its own when none is given. Every sampler is set, to OpenAI's meaning.
- A bad grammar is dropped without a word. What comes out is validated by the caller.
- Errors come as an object, a ValueError or a RuntimeError; an exception in its callback is swallowed.
- A prompt is evaluated whole before the callback can stop it. Here it goes in small batches, and progress after each
  is asked for (`return_progress`): that is when leaving is seen. Others generate a token between two batches, too.
- A seed repeats only without the prompt cache, so a request with a seed does not use it. Beside other requests it
  repeats as good as never when all share one cache, so they do that only where the cache is too small for each its own.
- It deadlocks when it is deleted right after it was made. One token is generated first, which also warms it up.

Penalties count the tokens of the prompt as well: that is how llama.cpp sees "the text so far". A character that is made
of several tokens has one log-probability, its last token's: the library does not tell the others.
"""

import asyncio
import contextlib
import ctypes
import http.client
import json
import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import AsyncGenerator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from homeport.backends.engines import gguf_header
from homeport.backends.engines.admission import Admission
from homeport.backends.engines.llama_chunks import Chunks, logprob_of
from homeport.backends.engines.llama_grammar import grammar
from homeport.backends.text import Constraint, ModelCard, Occupancy, Piece, Sampling, TokenLogprob
from homeport.errors import HomeportError, InvalidRequest, ModelNotReady, Unavailable

log = logging.getLogger("homeport.llama_cpp")

#: Memory for the key-value cache, unless one request alone needs more.
CACHE_BYTES = 768 * 2**20
#: Cache tokens that a request has on average: so many requests as fit are generated at once.
SHARE = 2048
#: Longest answer of a request that names no limit, so that the others keep their places.
DEFAULT_ANSWER = 1536
#: Prompt tokens evaluated before the request is asked again whether anybody still wants it. No slower than 512 or 2048.
PREFILL = 256
#: Context of a model whose file promises more than a home has memory for.
LONGEST_DEFAULT_CONTEXT = 8192
#: Texts of tokens that are remembered.
MOST_TEXTS = 10_000
_RANDOM_SEED = 0xFFFFFFFF


class LlamaCpp:
    """TextEngine over one GGUF file.

    context_length: tokens of one request (the model's own, at most 8192, by default). parallel: requests in one batch.
    threads: one less than the cores by default, because llama.cpp's threads spin. queue: requests that may wait.
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
    ) -> None:
        self._path = path
        self._context_length = context_length
        self._parallel = parallel
        self._threads = threads or max(1, (os.cpu_count() or 1) - 1)
        self._queue = queue
        self._card: ModelCard | None = None
        self._vocabulary = 0
        self._folder = ""
        self._key = ""
        self._server: Any = None
        self._running: set[threading.Event] = set()
        self._workers: ThreadPoolExecutor | None = None
        self._lookups = ThreadPoolExecutor(max_workers=2, thread_name_prefix="llama-tokens")
        self._connections = threading.local()
        self._opened: list[http.client.HTTPConnection] = []
        self._closed = False
        self._texts: dict[int, str] = {}
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
        for left in self._running:
            left.set()
        await asyncio.get_running_loop().run_in_executor(None, self._unload)

    def occupancy(self) -> Sequence[Occupancy]:
        return (self._admission.occupancy(self.name),)

    def refuses(self, sampling: Sampling, constraint: Constraint | None) -> str | None:
        return None

    async def tokenize(self, text: str, *, special: bool) -> list[int]:
        answer = await self._ask("/tokenize", {"content": text, "parse_special": special, "add_special": False})
        tokens: list[int] = answer["tokens"]
        return tokens

    async def detokenize(self, tokens: Sequence[int]) -> str:
        self._check(tokens)
        return str((await self._ask("/detokenize", {"tokens": list(tokens)}))["content"])

    async def generate(
        self, prompt: Sequence[int], sampling: Sampling, constraint: Constraint | None, *, batch: bool = False
    ) -> AsyncGenerator[Piece, None]:
        self._check(prompt)
        request = _request(prompt, sampling, constraint)
        size = len(prompt) + sampling.max_tokens
        await self._enter(size, batch=batch)
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[Piece | BaseException] = asyncio.Queue()
        left = threading.Event()

        def said(item: Piece | BaseException) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody listens any more
                loop.call_soon_threadsafe(pieces.put_nowait, item)

        self._keep(loop.run_in_executor(self._workers, self._generate, request, said, left), left, size, batch=batch)
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

    async def score(
        self, prompt: Sequence[int], top_logprobs: int, *, batch: bool = False
    ) -> list[TokenLogprob | None]:
        """One step for each token: the next token is forced, and its log-probability is the one before the force."""
        self._check(prompt)
        size = len(prompt) + 1
        await self._enter(size, batch=batch)
        left = threading.Event()
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._workers, self._score, list(prompt), top_logprobs, left)
        self._keep(work, left, size, batch=batch)
        try:
            return await asyncio.shield(work)  # it keeps its place until it has really ended
        finally:
            left.set()

    # In worker threads

    def _load(self) -> None:
        import xllamacpp

        header = gguf_header.read(self._path)
        context = self._context_length or LONGEST_DEFAULT_CONTEXT
        per_token = gguf_header.kv_bytes_per_token(header) or 2**17
        cells = max(context, min(CACHE_BYTES // per_token, self._parallel * SHARE))
        places = max(1, min(self._parallel, cells // min(SHARE, context)))
        shared = places * context > cells
        cells = cells if shared else places * context
        self._folder = tempfile.mkdtemp(prefix="homeport-")  # mode 700
        self._key = secrets.token_urlsafe(24)
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(self._path)
        parameters.n_ctx = cells
        parameters.n_parallel = places
        parameters.kv_unified = shared
        parameters.ctx_shift = False
        parameters.cache_ram_mib = 0
        parameters.n_batch = max(PREFILL, places)
        parameters.cpuparams.n_threads = self._threads
        parameters.cpuparams_batch.n_threads = self._threads
        parameters.hostnames = [f"{self._folder}/llama.sock"]
        parameters.api_keys = [self._key]
        parameters.ui = False
        parameters.endpoint_slots = False
        parameters.verbosity = -1
        try:
            with _pythons_signal_handlers():
                self._server = xllamacpp.Server(parameters)
        except RuntimeError:
            raise ModelNotReady(
                f"llama.cpp cannot load {self._path.name}: its architecture is unknown, the file is damaged, or memory "
                "is too small."
            ) from None
        about = self._look_up("GET", "/v1/models")["data"][0]["meta"]
        properties = self._look_up("GET", "/props")
        self._vocabulary = int(about["n_vocab"])
        # The library caps one request's context at what the model was trained for.
        usable = min(context, int(about["n_ctx_train"]) or context, cells)
        bos = str(properties.get("bos_token") or "")
        self._card = ModelCard(
            context_length=usable,
            chat_template=properties.get("chat_template") or None,
            bos=bos,
            eos=str(properties.get("eos_token") or ""),
            add_bos=bool(self._look_up("POST", "/tokenize", {"content": "", "add_special": True})["tokens"]),
            default_answer=min(DEFAULT_ANSWER, usable),
            identity=f"llama.cpp {getattr(xllamacpp, '__version__', '')} {self._path.name} {self._path.stat().st_size}",
        )
        self._admission = Admission(places=places, tokens=max(cells, usable), queue=self._queue)
        self._complete({"prompt": [0], "max_tokens": 1, "cache_prompt": False}, lambda _: False)
        self._workers = ThreadPoolExecutor(max_workers=places, thread_name_prefix="llama")

    def _unload(self) -> None:
        self._lookups.shutdown()
        if self._workers is not None:
            self._workers.shutdown()
        for connection in self._opened:
            connection.close()
        self._server = None  # its destructor joins llama.cpp's threads
        shutil.rmtree(self._folder, ignore_errors=True)

    def _generate(self, request: dict[str, Any], said: Any, left: threading.Event) -> None:
        """Runs one request to its end. Whatever happens, the last thing said has a finish or is an error."""
        try:
            chunks = Chunks(request.get("n_probs"), request.pop("top", 0), self._text_of)

            def take(chunk: dict[str, Any]) -> bool:
                piece = chunks.take(chunk)
                if piece is not None:
                    said(piece)
                return left.is_set()

            self._complete(request, take)
            if not chunks.finished:
                said(_shut_down() if self._closed else HomeportError("The model stopped without finishing its answer."))
        except BaseException as error:
            said(error)

    def _score(self, prompt: list[int], top: int, left: threading.Event) -> list[TokenLogprob | None]:
        scores: list[TokenLogprob | None] = [None]
        for place in range(1, len(prompt)):
            if left.is_set():
                raise HomeportError("The scoring of the prompt was ended.") if not self._closed else _shut_down()
            request = _request(prompt[:place], Sampling(max_tokens=1, temperature=0.0, top_logprobs=top), None)
            request.pop("top")
            request["logit_bias"] = [[prompt[place], 1000.0]]
            entries: list[dict[str, Any]] = []

            def take(chunk: dict[str, Any], entries: list[dict[str, Any]] = entries) -> bool:
                entries += (chunk["choices"][0]["logprobs"] or {}).get("content", ())
                return False

            self._complete(request, take)
            if not entries:
                raise HomeportError("The model did not score its prompt.")
            scores.append(logprob_of(entries[0], top, self._text_of(prompt[place])))
        return scores

    def _text_of(self, token: int) -> str:
        """The text of one token; a part of a character is a replacement character."""
        if token not in self._texts:
            if len(self._texts) >= MOST_TEXTS:
                self._texts.clear()
            self._texts[token] = str(self._look_up("POST", "/detokenize", {"tokens": [token]})["content"])
        return self._texts[token]

    def _complete(self, request: dict[str, Any], take: Any) -> None:
        """Blocks until llama.cpp is done, with the GIL released. take: each chunk -> stop. Raises HomeportError."""
        failure: list[BaseException] = []

        def called(chunk: dict[str, Any]) -> bool:
            try:
                if "error" in chunk:
                    raise _error(chunk["error"])
                return bool(take(chunk) if "choices" in chunk else False)
            except BaseException as error:
                failure.append(error)
                return True

        try:
            self._server.handle_completions(request, called)
        except (ValueError, RuntimeError) as error:
            log.error("llama.cpp refused a request: %s", type(error).__name__)
            raise HomeportError("The model could not process this request.") from None
        if failure:
            raise failure[0]

    # Tokens

    async def _enter(self, size: int, *, batch: bool) -> None:
        """Admission. Raises Unavailable as well when the engine is being closed, before the wait or during it."""
        self._check_open()
        await self._admission.enter(size, batch=batch)
        try:
            self._check_open()
        except Unavailable:
            self._admission.leave(size, batch=batch)
            raise

    def _keep(self, work: asyncio.Future[Any], left: threading.Event, size: int, *, batch: bool) -> None:
        """Its place and its tokens are taken until the thread has ended, whoever has left before."""

        def ended(_: object) -> None:
            self._running.discard(left)
            self._admission.leave(size, batch=batch)

        self._running.add(left)
        work.add_done_callback(ended)

    def _check_open(self) -> None:
        if self._closed:
            raise _shut_down()

    def _check(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            if not 0 <= token < self._vocabulary:
                raise InvalidRequest(
                    f"Invalid 'prompt': {token} is no token of this model; ids go from 0 to {self._vocabulary - 1}.",
                    param="prompt",
                )

    async def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self._check_open()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._lookups, self._look_up, "POST", path, body)

    def _look_up(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        kept: http.client.HTTPConnection | None = getattr(self._connections, "one", None)
        raw = None
        if kept is not None:
            with contextlib.suppress(OSError, http.client.HTTPException):  # the library drops idle connections
                raw = self._exchange(kept, method, path, body)
        if raw is None:
            if kept is None:
                kept = self._connections.one = _UnixConnection(f"{self._folder}/llama.sock")
                self._opened.append(kept)
            kept.close()  # it opens itself again
            try:
                raw = self._exchange(kept, method, path, body)
            except (OSError, http.client.HTTPException):
                raise HomeportError("The model's tokenizer does not answer.") from None
        answer: dict[str, Any] = json.loads(raw)
        return answer

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: dict[str, Any] | None
    ) -> bytes:
        headers = {"Authorization": f"Bearer {self._key}"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        raw = response.read()
        if response.status != 200:
            raise HomeportError("The model's tokenizer refused the text.")
        return raw


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _request(prompt: Sequence[int], sampling: Sampling, constraint: Constraint | None) -> dict[str, Any]:
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
        request["grammar"] = grammar(constraint)
    return request


def _shut_down() -> HomeportError:
    return Unavailable("The model is being shut down. Try again in a few seconds.", code="model_not_ready")


def _error(error: dict[str, Any]) -> HomeportError:
    if error.get("code") == 400:
        return InvalidRequest("The model refused this request: its prompt or its grammar cannot be used.")
    log.error("llama.cpp failed with code %s", error.get("code"))
    return HomeportError("The model failed while it was generating. You can retry your request.")


@contextlib.contextmanager
def _pythons_signal_handlers() -> Iterator[None]:
    """llama.cpp's server installs handlers with sigaction behind Python's back: remember what was there, restore it.

    Done on the C level, because `signal.signal` works in the main thread alone and models load in others.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    kept = {number: ctypes.create_string_buffer(512) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, action in kept.items():
        libc.sigaction(int(number), None, action)
    try:
        yield
    finally:
        for number, action in kept.items():
            libc.sigaction(int(number), action, None)
