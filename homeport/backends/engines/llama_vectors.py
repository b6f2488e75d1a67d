"""Embedding models in GGUF, on llama.cpp: encoders (BERT and its kin), and decoders that were trained to make vectors.

What had to be worked around, each with a test in tests/engines:

- An input that is longer than a physical batch is a failure of the server, not of the request. Here the batch is as
  long as the context, and lengths are compared before.
- Of a decoder's context it keeps one token free, as if there were one to come.
- It takes an empty text, tokens of any vocabulary, and `dimensions`, and does nothing with the last. None of them comes
  so far: `local/embeddings.py` has looked at the request.
- Its attention looks at every pair of tokens of a batch, whoever's they are: small batches are the fast ones.
"""

import asyncio
import base64
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from homeport.backends.engines import gguf_header
from homeport.backends.engines.llama_server import LlamaServer, parameters
from homeport.backends.engines.threads import default_threads
from homeport.backends.engines.vector_batches import VectorBatches
from homeport.backends.text import Occupancy
from homeport.backends.vectors import Input, InputTooLong, Vector, VectorCard
from homeport.errors import HomeportError, InvalidRequest, SettingsError

log = logging.getLogger("homeport.llama_cpp")

#: Tokens of a batch; more are slower (measured: 1,024 take a quarter more of the processor for each input).
_MOST_TOKENS = 512
#: Context of a model whose file promises more: the memory of a batch grows with its square.
_LONGEST_DEFAULT_CONTEXT = 2048
#: A word that no tokenizer makes anything special of.
_WORD = "a"


class LlamaVectors:
    """VectorEngine over one GGUF file.

    context_length: tokens of an input (the model's own, at most 2048, by default). parallel: inputs of a batch at most.
    threads: one less than the cores by default. queue: requests that may wait. shortens: as VectorCard.
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
        shortens: bool = False,
    ) -> None:
        self._path = path
        self._context_length = context_length
        self._parallel = parallel
        self._threads = threads or default_threads()
        self._shortens = shortens
        self._before: list[int] = []
        self._after: list[int] = []
        self._server: LlamaServer | None = None
        self._card: VectorCard | None = None
        self._lookups = ThreadPoolExecutor(max_workers=2, thread_name_prefix="llama-tokens")
        self._batches = VectorBatches(
            self.name, self._run, inputs=parallel, tokens=_MOST_TOKENS, queue=queue, padding=False
        )

    @property
    def card(self) -> VectorCard:
        assert self._card is not None, "start() has not been awaited"
        return self._card

    async def start(self) -> None:
        """Raises SettingsError: the file is no GGUF, or its model makes no vectors; ModelNotReady: llama.cpp cannot
        load it."""
        await self._batches.load(self._load)

    async def close(self) -> None:
        await self._batches.close()
        await asyncio.to_thread(self._unload)

    def occupancy(self) -> Sequence[Occupancy]:
        return (self._batches.occupancy(),)

    async def embed(self, inputs: Sequence[Input], *, batch: bool = False) -> list[Vector]:
        loop = asyncio.get_running_loop()
        all_ids = await loop.run_in_executor(self._lookups, partial(self._tokenized, inputs))
        return await self._batches.embed(all_ids, batch=batch)

    @property
    def _loaded(self) -> LlamaServer:
        assert self._server is not None, "start() has not been awaited"
        return self._server

    # In threads

    def _load(self) -> None:
        header = gguf_header.read(self._path, tokenizer=False)
        pooling = gguf_header.pooling(header)
        if pooling == gguf_header.RANK:
            raise SettingsError(f"{self._path.name} is a reranker: it makes no vectors.")
        spare = 0 if gguf_header.is_encoder(header) else 1
        trained = gguf_header.context_length(header) or _LONGEST_DEFAULT_CONTEXT
        context = min(self._context_length or _LONGEST_DEFAULT_CONTEXT, trained - spare)
        wanted = parameters(self._path, threads=self._threads)
        wanted.embedding = True
        wanted.pooling_type = pooling or gguf_header.MEAN
        wanted.n_ctx = wanted.n_batch = wanted.n_ubatch = max(context, _MOST_TOKENS) + spare
        wanted.n_parallel = self._parallel
        wanted.kv_unified = True
        self._server = server = LlamaServer(self._path, wanted)
        self._before, self._after = _around(server)
        (vector,) = self._run([[*self._before, *server.tokens(_WORD), *self._after]])
        width, vocabulary = len(vector.data) // 4, int(server.about()["n_vocab"])
        self._card = VectorCard(width, context, vocabulary, self._shortens)

    def _unload(self) -> None:
        self._lookups.shutdown()
        if self._server is not None:
            self._server.close()

    def _tokenized(self, inputs: Sequence[Input]) -> list[list[int]]:
        """Raises InputTooLong, InvalidRequest."""
        found: list[list[int]] = []
        for at, one in enumerate(inputs):
            inner = self._loaded.tokens(one) if isinstance(one, str) else one
            ids = [*self._before, *inner, *self._after]
            if len(ids) > self.card.context_length:
                raise InputTooLong(at, len(ids))
            if not ids:
                raise InvalidRequest(f"Invalid 'input[{at}]': the model sees no token in it.", param=f"input[{at}]")
            found.append(ids)
        return found

    def _run(self, batch: Sequence[Sequence[int]]) -> list[Vector]:
        """All of a batch at once: pooled, made units by the library."""
        asked = {"input": [list(ids) for ids in batch], "encoding_format": "base64"}
        try:
            answer: dict[str, Any] = self._loaded.library.handle_embeddings(asked)
        except (ValueError, RuntimeError) as error:
            answer = {"error": {"code": type(error).__name__}}
        if "error" in answer:
            log.error("llama.cpp made no vectors, with code %s", answer["error"].get("code"))
            raise HomeportError("The model could not process this request.")
        made = {one["index"]: base64.b64decode(one["embedding"]) for one in answer["data"]}
        return [Vector(made[place], len(ids)) for place, ids in enumerate(batch)]


def _around(server: LlamaServer) -> tuple[list[int], list[int]]:
    """Tokens that the model wants before and after those of a text."""
    whole, inner = server.tokens(_WORD, around=True), server.tokens(_WORD)
    for place in range(len(whole) - len(inner) + 1):
        if whole[place : place + len(inner)] == inner:
            return whole[:place], whole[place + len(inner) :]
    raise SettingsError("The model's tokenizer changes a text when it puts tokens around it, which is not known here.")
