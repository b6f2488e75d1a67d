"""The weights of a GGUF file as PyTorch's tensors: in the layout that they have there, which is llama.cpp's."""

from collections.abc import Iterator
from math import prod

import torch
from torch import Tensor

from homeport.training.text.architectures import Unsupported
from homeport.training.text.gguf_file import GGUFFile, Place

_Q8_0 = 8
_PLAIN = {0: torch.float32, 1: torch.float16, 30: torch.bfloat16}
#: Numbers that are unpacked at a time, so that no second copy of a large matrix is ever there.
_AT_A_TIME = 4 * 2**20


def load(file: GGUFFile, name: str, *, dtype: torch.dtype, device: str) -> Tensor:
    """Raises Unsupported where it is packed in a way that is not known, or is cut off."""
    place = file.tensors[name]
    made = torch.empty(prod(place.shape), dtype=dtype)
    at = 0
    for part in _parts(file, place):
        made[at : at + part.numel()].copy_(part.view(-1))
        at += part.numel()
    return made.view(place.shape).to(device)


def _parts(file: GGUFFile, place: Place) -> Iterator[Tensor]:
    """Its numbers in order."""
    count = prod(place.shape)
    if place.kind in _PLAIN:
        yield _mapped(file, place.at, count, _PLAIN[place.kind])
        return
    block, size = _packing(place.kind)
    blocks = count // block
    step = max(1, _AT_A_TIME // block)
    for first in range(0, blocks, step):
        many = min(step, blocks - first)
        packed = _mapped(file, place.at + first * size, many * size, torch.uint8).view(many, size)
        yield _q8_0(packed) if place.kind == _Q8_0 else _otherwise(packed, place.kind)


def _mapped(file: GGUFFile, at: int, count: int, dtype: torch.dtype) -> Tensor:
    try:
        return torch.frombuffer(file.data, dtype=dtype, count=count, offset=at)
    except ValueError:
        raise Unsupported("its file is cut off or damaged") from None


def _packing(kind: int) -> tuple[int, int]:
    """Numbers in a block, and its bytes."""
    if kind == _Q8_0:
        return 32, 34
    import gguf

    try:
        block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)]
    except (KeyError, ValueError):
        raise Unsupported(f"its weights have the format {kind}, which is not known") from None
    return int(block), int(size)


def _q8_0(packed: Tensor) -> Tensor:
    """A half-precision scale, and 32 bytes to be multiplied with it. By far the most used here: 20 times as fast as
    numpy."""
    scales = packed[:, :2].contiguous().view(torch.float16).float()
    return packed[:, 2:].view(torch.int8) * scales


def _otherwise(packed: Tensor, kind: int) -> Tensor:
    import gguf

    try:
        values = gguf.quants.dequantize(packed.numpy(), gguf.GGMLQuantizationType(kind))
    except NotImplementedError:
        raise Unsupported(f"its weights have the format {kind}, which is not known") from None
    return torch.from_numpy(values)
