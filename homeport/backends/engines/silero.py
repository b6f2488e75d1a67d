"""Which moments of a sound are speech: Silero's detector in ONNX's format, as faster-whisper ships it."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homeport.backends.hearing import FRAME

if TYPE_CHECKING:
    from homeport.backends.hearing import Samples

_FILE = Path("assets") / "silero_vad_v6.onnx"
#: Samples of the frame before that the model sees with each.
_BEFORE = 64
_STATE = (1, 1, 128)
#: Frames that go through the model together.
_AT_ONCE = 1000


def detector() -> Any:
    """The model, which any number of files may share. Raises OSError."""
    import onnxruntime

    found = find_spec("faster_whisper")
    folders = found.submodule_search_locations if found is not None else None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    path = Path(next(iter(folders or ()), "faster_whisper")) / _FILE
    return onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])


class Speech:
    """Of one file, whose pieces follow one another: what the model remembers goes from piece to piece."""

    def __init__(self, detector: Any) -> None:
        import numpy

        self._detector = detector
        self._memory = (numpy.zeros(_STATE, numpy.float32), numpy.zeros(_STATE, numpy.float32))
        self._before = numpy.zeros(_BEFORE, numpy.float32)

    def __call__(self, samples: "Samples") -> "Samples":
        """As HearingEngine.speech."""
        import numpy

        frames = samples.reshape(-1, FRAME)
        edges = numpy.concatenate([self._before[None], frames[:-1, -_BEFORE:]]) if len(frames) else frames
        found: list[Samples] = []
        for at in range(0, len(frames), _AT_ONCE):
            with_edges = numpy.concatenate([edges[at : at + _AT_ONCE], frames[at : at + _AT_ONCE]], axis=1)
            h, c = self._memory
            output, h, c = self._detector.run(None, {"input": with_edges, "h": h, "c": c})
            self._memory = h, c
            found.append(output.reshape(-1))
        if len(frames):
            self._before = frames[-1, -_BEFORE:].copy()
        return numpy.concatenate(found) if found else numpy.zeros(0, numpy.float32)
