"""Sentence-embedding models in ONNX's format, on ONNX Runtime: a BERT, its WordPiece vocabulary beside it.

Inputs of all requests that wait go through the model together, those of like length in one batch. What is batched with
what changes no vector (measured on the default model: a cosine of 1 - 1e-15 between alone and in a batch of 64).
"""

import asyncio
import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homeport.backends.engines.wordpiece import WordPiece
from homeport.backends.lines import BESIDE
from homeport.backends.text import Occupancy
from homeport.backends.vectors import Input, InputTooLong, Vector, VectorCard
from homeport.errors import Unavailable

if TYPE_CHECKING:
    import numpy as np

#: Beside the model's file; the first that is there.
VOCABULARIES = ("vocab.txt", "vocab.json")
#: Inputs of a batch, and the tokens of it, padding included. More makes nothing faster on a CPU.
_MOST_INPUTS = 32
_MOST_TOKENS = 4096
#: Of the tokens, those of a batch of other batches' lines, so that nobody waits long for its end.
_MOST_OF_LINES = _MOST_TOKENS // BESIDE
#: Inputs that wait and are looked through for some of like length.
_WINDOW = 512
#: Characters that are made tokens in the event loop; more would hold it up.
_FEW = 2000
#: Positions that BERTs have learned.
_POSITIONS = 512
#: Tokens around an input.
_AROUND = 2


@dataclass(slots=True, eq=False)
class _Waiting:
    ids: list[int]
    done: "asyncio.Future[Vector]"


class Onnx:
    """VectorEngine. path: the model; context_length: tokens, 512 at most; threads: of a batch; queue: requests that may
    wait for the next one."""

    def __init__(
        self,
        path: Path,
        *,
        context_length: int | None = None,
        parallel: int = _MOST_INPUTS,
        threads: int | None = None,
        queue: int = 256,
    ) -> None:
        """parallel: inputs of a batch at most."""
        self.name = "onnx"
        self._path = path
        self._context_length = min(context_length or _POSITIONS, _POSITIONS)
        self._most = parallel
        self._threads = threads
        self._queue = queue
        self._requests = 0
        self._waiting: deque[_Waiting] = deque()
        self._lines_waiting: deque[_Waiting] = deque()
        self._running = 0  # inputs of the batch that is
        self._lines_running = False  # they are of lines of batches
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="onnx")
        self._tokenizer: WordPiece | None = None
        self._session: Any = None
        self._card: VectorCard | None = None

    @property
    def card(self) -> VectorCard:
        assert self._card is not None, "start() has not been awaited"
        return self._card

    async def start(self) -> None:
        """Raises ValueError: the files are not those of such a model; OSError."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._load)

    async def close(self) -> None:
        for waiting in (self._waiting, self._lines_waiting):
            for one in waiting:
                one.done.cancel()
            waiting.clear()
        await asyncio.to_thread(self._thread.shutdown)
        self._session = None

    def _load(self) -> None:
        import onnxruntime

        vocabulary = next(
            (self._path.with_name(name) for name in VOCABULARIES if self._path.with_name(name).is_file()), None
        )
        if vocabulary is None:
            raise ValueError(f"beside {self._path} there is no {' and no '.join(VOCABULARIES)}")
        self._tokenizer = WordPiece.read(vocabulary)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads or max(1, (os.cpu_count() or 1) - 1)
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        #: Threads that spin take the cores from whoever shares them.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(str(self._path), options, providers=["CPUExecutionProvider"])
        self._names = {one.name for one in session.get_inputs()}
        if not {"input_ids", "attention_mask"} <= self._names <= {"input_ids", "attention_mask", "token_type_ids"}:
            raise ValueError(f"{self._path} is no BERT: its inputs are {', '.join(sorted(self._names))}")
        self._session = session
        (vector,) = self._run([[self._tokenizer.first, self._tokenizer.last]])
        self._card = VectorCard(len(vector.data) // 4, self._context_length, self._tokenizer.size)

    def occupancy(self) -> Sequence[Occupancy]:
        lines = self._running if self._lines_running else 0
        return (Occupancy(self.name, self._most, self._running, len(self._waiting), lines),)

    async def embed(self, inputs: Sequence[Input], *, batch: bool = False) -> list[Vector]:
        if sum(map(len, inputs)) > _FEW:
            all_ids = await asyncio.to_thread(self._tokenized, inputs)
        else:
            all_ids = self._tokenized(inputs)
        if not batch and self._requests >= self._queue:
            raise Unavailable(
                "That model is currently overloaded with other requests. You can retry your request.",
                code="model_overloaded",
                headers=(("retry-after", "5"),),
            )
        loop = asyncio.get_running_loop()
        items = [_Waiting(ids, loop.create_future()) for ids in all_ids]
        self._requests += not batch
        (self._lines_waiting if batch else self._waiting).extend(items)
        self._go_on()
        try:
            return await asyncio.gather(*[one.done for one in items])
        finally:
            self._requests -= not batch

    def _tokenized(self, inputs: Sequence[Input]) -> list[list[int]]:
        """Raises InputTooLong."""
        tokenizer = self._tokenizer
        assert tokenizer is not None
        found: list[list[int]] = []
        for at, one in enumerate(inputs):
            ids = tokenizer.ids(one) if isinstance(one, str) else list(one)
            if len(ids) + _AROUND > self._context_length:
                raise InputTooLong(at, len(ids) + _AROUND)
            found.append([tokenizer.first, *ids, tokenizer.last])
        return found

    def _go_on(self) -> None:
        """Unless a batch is running, make one of those that wait."""
        if self._running:
            return
        batch = self._batch(self._waiting, _MOST_TOKENS)
        self._lines_running = not batch
        batch = batch or self._batch(self._lines_waiting, _MOST_OF_LINES)
        if batch:
            self._running = len(batch)
            work = asyncio.get_running_loop().run_in_executor(self._thread, self._run, [one.ids for one in batch])
            work.add_done_callback(lambda done: self._ran(batch, done))

    def _batch(self, waiting: deque[_Waiting], most_tokens: int) -> list[_Waiting]:
        """The one that has waited longest, with those of about its length."""
        while waiting and waiting[0].done.done():
            waiting.popleft()
        if not waiting:
            return []
        oldest = waiting[0]
        window = [one for _, one in zip(range(_WINDOW), waiting, strict=False) if not one.done.done()]
        window.sort(key=lambda one: abs(len(one.ids) - len(oldest.ids)))
        batch: list[_Waiting] = []
        longest = 0
        for one in window[: self._most]:
            longest = max(longest, len(one.ids))
            if batch and longest * (len(batch) + 1) > most_tokens:
                break
            batch.append(one)
        taken = set(map(id, batch))
        left = [one for one in waiting if id(one) not in taken and not one.done.done()]
        waiting.clear()
        waiting.extend(left)
        return batch

    def _ran(self, batch: Sequence[_Waiting], work: "asyncio.Future[list[Vector]]") -> None:
        self._running = 0
        error = asyncio.CancelledError() if work.cancelled() else work.exception()
        for place, one in enumerate(batch):
            if one.done.done():
                continue
            if error is not None:
                one.done.set_exception(error)
            else:
                one.done.set_result(work.result()[place])
        self._go_on()

    def _run(self, batch: Sequence[Sequence[int]]) -> list[Vector]:
        """In the engine's thread: the mean of the last layer over the input's tokens, made a unit."""
        import numpy

        assert self._tokenizer is not None
        width = max(map(len, batch))
        ids = numpy.full((len(batch), width), self._tokenizer.padding, numpy.int64)
        mask = numpy.zeros((len(batch), width), numpy.int64)
        for row, one in enumerate(batch):
            ids[row, : len(one)] = one
            mask[row, : len(one)] = 1
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)}
        layer: np.ndarray[Any, np.dtype[np.float32]]
        (layer, *_) = self._session.run(None, {name: value for name, value in given.items() if name in self._names})
        means = (layer * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        units = (means / numpy.linalg.norm(means, axis=1, keepdims=True)).astype("<f4")
        return [Vector(unit.tobytes(), len(one)) for unit, one in zip(units, batch, strict=True)]
