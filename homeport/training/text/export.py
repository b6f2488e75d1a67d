"""What was learnt, as a GGUF adapter that llama.cpp puts beside the same base.

Source: llama.cpp's reader of adapters (src/llama-adapter.cpp). It multiplies with alpha / the rows of lora_a. Rows of
queries and keys are where they are in the base's file, so nothing is put in another order here. In float32: what goes
into a matrix of half precision is rounded to that by llama.cpp, and beyond 65,504 there is nothing.
"""

import os
from pathlib import Path

from homeport.training.text.lora import Lora


def write(path: Path, lora: Lora) -> None:
    """The same numbers make the same bytes. Whoever looks sees the whole file, or what was there before."""
    import gguf

    beside = path.with_name(f".{path.name}.part")
    writer = gguf.GGUFWriter(beside, lora.architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, lora.alpha)
    for name, matrix in lora.state_dict().items():
        writer.add_tensor(name, matrix.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with beside.open("rb") as written:
        os.fsync(written.fileno())
    beside.replace(path)
