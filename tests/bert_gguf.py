"""Embedding models as GGUFs, which no package ships: the default one, made of its published weights, and a small one
of the other kind, a decoder.

Source: llama.cpp's names of tensors, and the metadata that its architectures `bert` and `llama` read.
"""

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Of Hugging Face's BERT, without `bert.`; of a layer behind `blk.N.`.
_TENSORS = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
}
_OF_LAYERS = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
_LAYER = re.compile(r"encoder\.layer\.(\d+)\.(.+)")
_LAST = 3


def write(to: Path, weights: Path, vocabulary: Path) -> None:
    """weights: safetensors of float32. vocabulary: as weights.catalogue has it, of pieces that begin a word behind
    U+2581, as GGUFs have them. Matrices become Q8_0."""
    import gguf

    tensors = dict(_read(weights))
    layers = 1 + max(int(found[1]) for name in tensors if (found := _LAYER.match(name)))
    words = tensors["embeddings.word_embeddings.weight"]
    partial = to.with_name(f"{to.name}.partial")
    writer = gguf.GGUFWriter(partial, "bert")
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_block_count(layers)
    writer.add_context_length(tensors["embeddings.position_embeddings.weight"].shape[0])
    writer.add_embedding_length(words.shape[1])
    writer.add_feed_forward_length(tensors["encoder.layer.0.intermediate.dense.weight"].shape[0])
    writer.add_head_count(12)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    _add_tokenizer(writer, vocabulary)
    for name, values in tensors.items():
        if (known := _name(name)) is None:
            continue
        if values.ndim == 2 and known not in ("position_embd.weight", "token_types.weight"):
            packed = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(known, packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(known, values)
    _end(writer)
    partial.replace(to)


def write_decoder(to: Path, vocabulary: Path, *, pooling: int = _LAST) -> None:
    """Two layers of random numbers, always the same ones."""
    import gguf
    import numpy

    width, heads, layers, context, inner = 64, 4, 2, 1024, 128
    random = numpy.random.default_rng(7)

    def matrix(rows: int, columns: int) -> Any:
        return (random.standard_normal((rows, columns)) / columns**0.5).astype("<f4")

    writer = gguf.GGUFWriter(to, "llama")
    writer.add_block_count(layers)
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_rope_dimension_count(width // heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_pooling_type(gguf.PoolingType(pooling))
    words = _add_tokenizer(writer, vocabulary)
    ones = numpy.ones(width, "<f4")
    writer.add_tensor("token_embd.weight", matrix(words, width))
    writer.add_tensor("output_norm.weight", ones)
    for layer in range(layers):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", ones)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", matrix(width, width))
        for name in ("ffn_gate", "ffn_up"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", matrix(inner, width))
        writer.add_tensor(f"blk.{layer}.ffn_down.weight", matrix(width, inner))
    _end(writer)


def _end(writer: Any) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _read(file: Path) -> Iterator[tuple[str, Any]]:
    """Source: the safetensors format. Its length, a JSON header, the numbers."""
    import numpy

    data = file.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    for name, about in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__" and about["dtype"] == "F32":
            begin, end = about["data_offsets"]
            numbers = numpy.frombuffer(data[8 + length + begin : 8 + length + end], "<f4")
            yield name, numbers.reshape(about["shape"])


def _name(name: str) -> str | None:
    stem, _, part = name.rpartition(".")
    if stem in _TENSORS:
        return f"{_TENSORS[stem]}.{part}"
    found = _LAYER.match(stem)
    return f"blk.{found[1]}.{_OF_LAYERS[found[2]]}.{part}" if found else None


def _add_tokenizer(writer: Any, vocabulary: Path) -> int:
    """How many pieces there are."""
    import gguf

    pieces: list[str] = json.loads(vocabulary.read_text("utf-8"))
    special = {piece: place for place, piece in enumerate(pieces) if re.fullmatch(r"\[[A-Z]+\]", piece)}
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("jina-v2-en")
    writer.add_token_type_count(2)
    writer.add_token_list(pieces)
    writer.add_token_types([control if piece in special else normal for piece in pieces])
    writer.add_unk_token_id(special["[UNK]"])
    writer.add_sep_token_id(special["[SEP]"])
    writer.add_pad_token_id(special["[PAD]"])
    writer.add_bos_token_id(special["[CLS]"])
    writer.add_eos_token_id(special["[SEP]"])
    return len(pieces)
