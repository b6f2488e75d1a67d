"""Adapters that nobody has trained: a few random numbers over a model's file, which change what it says. In
milliseconds, and without PyTorch."""

from pathlib import Path
from typing import Any

from homeport.backends.engines import gguf_header
from tests.training.text import tiny

#: Of the tiny model that spells, for `logit_bias`: no part of a longer character and no end, so it says plain text.
ASCII = {**{3 + byte: -100 for byte in (*range(32), *range(127, 256))}, tiny.END: -100}


def write(to: Path, base: Path, *, seed: int, size: float = 0.5, architecture: str | None = None) -> Path:
    """seed: another one is another adapter. architecture: that it says it is for; the base's."""
    import gguf
    import numpy

    header = gguf_header.read(base)
    kind = str(header["general.architecture"])

    def number(key: str) -> int:
        value = header[f"{kind}.{key}"]
        assert isinstance(value, int)
        return value

    width, inner, rank = number("embedding_length"), number("feed_forward_length"), 4
    random = numpy.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> Any:
        return (size * random.standard_normal((rows, columns)) / columns**0.5).astype("<f4")

    writer = gguf.GGUFWriter(to, architecture or kind)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, 2.0 * rank)
    for layer in range(number("block_count")):
        shapes = {"attn_q": (width, width), "attn_output": (width, width), "ffn_down": (width, inner)}
        for name, (rows, columns) in shapes.items():
            writer.add_tensor(f"blk.{layer}.{name}.weight.lora_a", matrix(rank, columns))
            writer.add_tensor(f"blk.{layer}.{name}.weight.lora_b", matrix(rows, rank))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return to
