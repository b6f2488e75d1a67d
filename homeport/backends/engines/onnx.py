"""Sentence-embedding models in ONNX's format, on ONNX Runtime: a BERT, its WordPiece vocabulary beside it.

Inputs of all requests that wait go through the model together, those of like length in one batch. What is batched with
what changes no vector (measured on the default model: a cosine of 1 - 1e-15 between alone and in a batch of 64).
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homeport.backends.engines.threads import default_threads
from homeport.backends.engines.vector_batches import VectorBatches
from homeport.backends.engines.wordpiece import WordPiece
from homeport.backends.text import Occupancy
from homeport.backends.vectors import Input, InputTooLong, Vector, VectorCard

if TYPE_CHECKING:
    import numpy as np

#: Beside the model's file; the first that is there.
VOCABULARIES = ("vocab.txt", "vocab.json")
#: Inputs of a batch, and the tokens of it, padding included. More makes nothing faster on a CPU.
_MOST_INPUTS = 32
_MOST_TOKENS = 4096
#: Characters that are made tokens in the event loop; more would hold it up.
_FEW = 2000
#: Positions that BERTs have learned.
_POSITIONS = 512
#: Tokens around an input.
_AROUND = 2


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
        shortens: bool = False,
    ) -> None:
        """parallel: inputs of a batch at most. shortens: as VectorCard."""
        self.name = "onnx"
        self._path = path
        self._context_length = min(context_length or _POSITIONS, _POSITIONS)
        self._threads = threads
        self._shortens = shortens
        self._batches = VectorBatches(
            self.name, self._run, inputs=parallel, tokens=_MOST_TOKENS, queue=queue, padding=True
        )
        self._tokenizer: WordPiece | None = None
        self._session: Any = None
        self._card: VectorCard | None = None

    @property
    def card(self) -> VectorCard:
        assert self._card is not None, "start() has not been awaited"
        return self._card

    async def start(self) -> None:
        """Raises ValueError: the files are not those of such a model; OSError."""
        await self._batches.load(self._load)

    async def close(self) -> None:
        await self._batches.close()
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
        options.intra_op_num_threads = self._threads or default_threads()
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
        self._card = VectorCard(len(vector.data) // 4, self._context_length, self._tokenizer.size, self._shortens)

    def occupancy(self) -> Sequence[Occupancy]:
        return (self._batches.occupancy(),)

    async def embed(self, inputs: Sequence[Input], *, batch: bool = False) -> list[Vector]:
        if sum(map(len, inputs)) > _FEW:
            all_ids = await asyncio.to_thread(self._tokenized, inputs)
        else:
            all_ids = self._tokenized(inputs)
        return await self._batches.embed(all_ids, batch=batch)

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
