"""Where a run computes, in which precision, and how much it takes at a time."""

import os
import resource
import sys
from pathlib import Path

import torch

from homeport.training.text.architectures import Shape
from homeport.training.text.ending import Refused

#: Of all memory, for what is kept of a piece on the way to its loss. Not of what is free just now: a run that goes on
#: takes the same pieces, and so comes to the same numbers.
_SHARE_OF_CARD, _SHARE_OF_MACHINE = 0.4, 0.1
#: A core gains nothing from larger pieces (docs/fine-tuning.md#training), and memory is everybody's.
_MOST_OF_MACHINE = 2**30
_FEWEST, _MOST = 256, 16_384
_STATUS = Path("/proc/self/status")


def chosen(name: str) -> torch.device:
    """name: `auto`, `cpu` or `cuda`. Apple's is not chosen: LoRA's gradients there were never compared with a CPU's."""
    if name == "cuda" and not torch.cuda.is_available():
        raise Refused("It is to be trained on a graphics card, and PyTorch finds none here.")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def set_up(device: torch.device, threads: int | None) -> None:
    """So that numbers do not depend on chance. Nothing that is used of a CPU's operations does, with as many threads;
    telling PyTorch so would load its compiler, which takes 2.6 s."""
    torch.set_num_threads(threads or cores())
    if device.type == "cuda":
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # nothing here reads what it has not written
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # noqa: TID251  cuBLAS reads it there
        torch.backends.cuda.matmul.allow_tf32 = False


def precision(device: torch.device) -> torch.dtype:
    """Of the model's weights. Where a CPU has no instructions for bfloat16, it is slower than float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    has = torch.cpu.get_capabilities()
    return torch.bfloat16 if has.get("avx512_bf16") or has.get("amx_bf16") else torch.float32


def piece_tokens(shape: Shape, device: torch.device, dtype: torch.dtype) -> int:
    """How many tokens are learnt from at a time. What a layer keeps of a token is vectors of three lengths; how many of
    each was measured (2.1 MB a token of the default model in float32, logits and all)."""
    of_a_layer = 10 * shape.width + 8 * shape.heads * shape.head + 5 * shape.inner
    of_a_token = shape.layers * of_a_layer * dtype.itemsize
    if device.type == "cuda":
        room = _SHARE_OF_CARD * torch.cuda.get_device_properties(device).total_memory
    else:
        room = min(_SHARE_OF_MACHINE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), _MOST_OF_MACHINE)
    return max(_FEWEST, min(_MOST, int(room / of_a_token)))


def out_of_memory(error: BaseException) -> bool:
    """A CPU's allocator has no exception of its own."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "not enough memory" in str(error)


def peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if _STATUS.exists():
        # On Linux getrusage counts what the process that began this one had.
        return (
            next(int(line.split()[1]) for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM")) * 1024
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
