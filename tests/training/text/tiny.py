"""Models of a few thousand random numbers, always the same ones, as GGUF files that llama.cpp serves as it does large
ones: as true to their architecture as those are, and made in milliseconds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Tokens: unknown, begin, end, a line's end, and words. No bytes: llama.cpp holds them back until they are a character.
VOCABULARY = 288
END = 2
WIDTH, HEADS, KV_HEADS, LAYERS, INNER, CONTEXT = 64, 4, 2, 2, 96, 512
#: What of each architecture is more than llama's.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {"factors": True},
    "qwen2": {"biases": True, "tied": True},
    "qwen3": {"head": 32, "head_norms": True, "base": 1_000_000.0},
    "gemma3": {"head": 32, "head_norms": True, "after_norms": True, "tied": True, "window": 12, "layers": 6},
}


def write(
    to: Path,
    architecture: str = "llama",
    *,
    kind: str = "F32",
    header: Mapping[str, Any] | None = None,
    spells: bool = False,
) -> Path:
    """kind: of its matrices, as gguf names them. header: further keys of the architecture's own, numbers or texts.
    spells: it has a token for every byte (from 3 on), and so reads any text, a chat's too."""
    import gguf
    import numpy

    about = ARCHITECTURES[architecture]
    head, layers = about.get("head", WIDTH // HEADS), about.get("layers", LAYERS)
    random = numpy.random.default_rng(7)
    packed_as = gguf.GGMLQuantizationType[kind]

    writer = gguf.GGUFWriter(to, architecture)
    writer.add_block_count(layers)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(about.get("base", 10_000.0))
    writer.add_layer_norm_rms_eps(1e-5)
    if "window" in about:
        writer.add_sliding_window(about["window"])
    for key, value in (header or {}).items():
        add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
        add[type(value)](f"{architecture}.{key}", value)
    _tokenizer(writer, spells=spells)

    def matrix(name: str, rows: int, columns: int, size: float = 1.0) -> None:
        values = (size * random.standard_normal((rows, columns)) / columns**0.5).astype("<f4")
        writer.add_tensor(f"{name}.weight", gguf.quants.quantize(values, packed_as), raw_dtype=packed_as)

    def vector(name: str, length: int, *, middle: float = 1.0) -> None:
        writer.add_tensor(name, (middle + 0.2 * random.standard_normal(length)).astype("<f4"))

    matrix("token_embd", VOCABULARY, WIDTH, size=4.0)
    vector("output_norm.weight", WIDTH)
    if not about.get("tied"):
        matrix("output", VOCABULARY, WIDTH, size=4.0)
    if about.get("factors"):
        writer.add_tensor("rope_freqs.weight", numpy.linspace(1, 8, head // 2).astype("<f4"))
    for layer in range(layers):
        block = f"blk.{layer}"
        outputs = {"attn_q": HEADS * head, "attn_k": KV_HEADS * head, "attn_v": KV_HEADS * head}
        for name, rows in outputs.items():
            matrix(f"{block}.{name}", rows, WIDTH)
            if about.get("biases"):
                vector(f"{block}.{name}.bias", rows, middle=0.0)
        matrix(f"{block}.attn_output", WIDTH, HEADS * head, size=2.0)
        matrix(f"{block}.ffn_gate", INNER, WIDTH)
        matrix(f"{block}.ffn_up", INNER, WIDTH)
        matrix(f"{block}.ffn_down", WIDTH, INNER, size=2.0)
        norms = {"attn_norm": WIDTH, "ffn_norm": WIDTH}
        if about.get("head_norms"):
            norms |= {"attn_q_norm": head, "attn_k_norm": head}
        if about.get("after_norms"):
            norms |= {"post_attention_norm": WIDTH, "post_ffw_norm": WIDTH}
        for name, length in norms.items():  # what gemma3 adds to its large embeddings has to be as large to count
            vector(f"{block}.{name}.weight", length, middle=20.0 if name.startswith("post_") else 1.0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return to


def _tokenizer(writer: Any, *, spells: bool) -> None:
    import gguf

    control, byte, normal = gguf.TokenType.CONTROL, gguf.TokenType.BYTE, gguf.TokenType.NORMAL
    bytes_ = [f"<0x{value:02X}>" for value in (range(256) if spells else b"\n")]
    pieces = ["<unk>", "<s>", "</s>", *bytes_]
    kinds = [gguf.TokenType.UNKNOWN, control, control, *[byte] * len(bytes_)]
    words = VOCABULARY - len(pieces)
    pieces += [f"▁{word}" for word in range(words)]
    kinds += [normal] * words
    writer.add_tokenizer_model("llama")
    writer.add_token_list(pieces)
    writer.add_token_scores([0.0] * len(pieces))
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(END)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(False)
