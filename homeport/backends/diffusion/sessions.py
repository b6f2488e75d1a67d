"""A network on ONNX Runtime: what it takes, and what it gives."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
import onnxruntime

Array = numpy.ndarray[Any, numpy.dtype[Any]]

_TYPES: Mapping[str, Any] = {
    "tensor(float)": numpy.float32,
    "tensor(float16)": numpy.float16,
    "tensor(double)": numpy.float64,
    "tensor(int64)": numpy.int64,
    "tensor(int32)": numpy.int32,
    "tensor(bool)": numpy.bool_,
}


class Stopped(Exception):
    """The run was ended from outside."""


class Stop:
    """Ends the run that it was given to, from any thread, and every later one. A run ends at its next node."""

    def __init__(self) -> None:
        self.asked = False
        self.options, self.freeing = onnxruntime.RunOptions(), onnxruntime.RunOptions()
        self.freeing.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        for options in (self.options, self.freeing):
            options.log_severity_level = 4  # an end that was asked for is no error

    def ask(self) -> None:
        self.asked = True
        self.options.terminate = self.freeing.terminate = True


class Network:
    """keeps: memory of a run for the next one, as of the network that is run again and again. Without it, and at the
    end of a `last` run, it goes back."""

    def __init__(self, path: Path, threads: int, *, keeps: bool = False) -> None:
        """Raises ValueError: it is no network, or its weights are missing."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        options.enable_cpu_mem_arena = keeps
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # or it takes the cores from others
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the library's exceptions have no class in common
            raise ValueError(f"{path} cannot be loaded: {error}") from None
        self.path = path
        self._keeps = keeps
        self.inputs: dict[str, Sequence[int | str | None]] = {}
        self._types: dict[str, Any] = {}
        for one in self._session.get_inputs():
            if one.type not in _TYPES:
                raise ValueError(f"{path}: its input {one.name!r} is a {one.type}, which is not supported")
            self.inputs[one.name], self._types[one.name] = one.shape, _TYPES[one.type]
        self.outputs: list[str] = [one.name for one in self._session.get_outputs()]

    def wants(self, needed: Sequence[str], known: Sequence[str] = ()) -> None:
        """Raises ValueError: its inputs are others."""
        missing = [name for name in needed if name not in self.inputs]
        strange = [name for name in self.inputs if name not in (*needed, *known)]
        if missing or strange:
            raise ValueError(
                f"{self.path}: its inputs are {', '.join(self.inputs)}. "
                + (f"There must be {', '.join(missing)}." if missing else f"{', '.join(strange)} is not supported.")
            )

    def fixed(self, name: str, axis: int) -> int | None:
        """The size that an input must have; None: any."""
        shape = self.inputs[name]
        size = shape[axis] if len(shape) > axis else None
        return size if isinstance(size, int) else None

    def run(self, given: Mapping[str, Array], outputs: Sequence[str], stop: Stop, *, last: bool = False) -> list[Array]:
        """In the types that it wants, floats as float32 again. Raises Stopped."""
        fed = {name: _as(self._types[name], value) for name, value in given.items()}
        options = stop.freeing if last and self._keeps else stop.options
        try:
            found: list[Array] = self._session.run(list(outputs), fed, options)
        except Exception:
            if stop.asked:
                raise Stopped from None
            raise
        return [one.astype(numpy.float32, copy=False) if one.dtype.kind == "f" else one for one in found]


def _as(kind: Any, value: Array) -> Array:
    """Times may lie between those of training, and networks that count in whole ones want the nearest."""
    if value.dtype.kind == "f" and numpy.issubdtype(kind, numpy.integer):
        value = numpy.rint(value)
    return numpy.asarray(value, kind, order="C")
