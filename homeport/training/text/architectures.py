"""Which models can be trained, told from the metadata of their files. Nothing here imports PyTorch.

A model is trained by this program and served by llama.cpp: what llama.cpp does with a model has to be done here as
well, number for number, or what was learnt is wrong for whoever serves it. So what is not known is refused.

Source: what llama.cpp reads of these keys, and its graphs (src/llama-model.cpp, src/models/).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace


class Unsupported(Exception):
    """What of a model is not implemented, as the end of a sentence: "This model cannot be trained: ...\""""


@dataclass(frozen=True)
class Rope:
    """How places become rotations. dimensions: of a head that are turned. halves: each of the first half with its
    fellow in the second (llama.cpp's NEOX); otherwise neighbours. base, scale: angle = place * scale * base ** (-2i /
    dimensions)."""

    dimensions: int
    halves: bool
    base: float
    scale: float


@dataclass(frozen=True)
class Shape:
    """A model, but for its weights. head: numbers of one. window: on the layers that `local` names, a token sees so
    many, itself included. local_rope: of these layers. attention: what scores are multiplied with. embedding: what the
    vectors of tokens are. gelu: in place of silu. Whatever it may have besides (biases, norms of queries and keys,
    norms behind a part, factors of frequencies, an output matrix of its own), the file's tensors tell."""

    architecture: str
    context: int
    layers: int
    width: int
    heads: int
    kv_heads: int
    head: int
    inner: int
    epsilon: float
    rope: Rope
    attention: float
    embedding: float = 1.0
    gelu: bool = False
    window: int = 0
    local: frozenset[int] = frozenset()
    local_rope: Rope | None = None


@dataclass(frozen=True)
class _Kind:
    halves: bool
    gemma: bool = False


#: SmolLM2, Llama 1 to 3 and Mistral are `llama`.
_KINDS = {
    "llama": _Kind(halves=False),
    "qwen2": _Kind(halves=True),
    "qwen3": _Kind(halves=True),
    "gemma3": _Kind(halves=True, gemma=True),
}
KNOWN = tuple(_KINDS)

#: Keys that change what comes out, and what they are when they do not.
_NEUTRAL: dict[str, tuple[object, str]] = {
    "expert_count": (0, "it is a mixture of experts"),
    "attn_logit_softcapping": (0.0, "it caps its attention scores"),
    "final_logit_softcapping": (0.0, "it caps its logits"),
    "logit_scale": (0.0, "it scales its logits"),
    "residual_scale": (0.0, "it scales its layers"),
    "embedding_scale": (0.0, "it scales its embeddings"),
    "attention.scale": (0.0, "it scales its attention scores in a way of its own"),
    "attention.causal": (True, "its tokens see what comes after them"),
    "rope.scaling.attn_factor": (1.0, "it scales its attention scores with the length of the context"),
    "pooling_type": (0, "it makes vectors, and continues no text"),
}
_LAYERS_OF_27B = 62


def check(header: Mapping[str, object]) -> str | None:
    """Why a model cannot be trained, as the end of a sentence; None if it can. header: every scalar and text of its
    file's metadata (GGUFFile.header, or engines/gguf_header.py)."""
    try:
        shape(header)
    except Unsupported as reason:
        return str(reason)
    return None


def shape(header: Mapping[str, object]) -> Shape:
    """Raises Unsupported."""
    architecture = header.get("general.architecture")
    if not isinstance(architecture, str) or architecture not in _KINDS:
        raise Unsupported(f"its architecture {architecture!r} is not one of {', '.join(KNOWN)}")
    if header.get("split.count") not in (None, 0, 1):
        raise Unsupported("its weights are in several files")
    own = _Own(header, architecture)
    for key, (neutral, reason) in _NEUTRAL.items():
        if own.header.get(f"{architecture}.{key}", neutral) != neutral:
            raise Unsupported(reason)
    kind = _KINDS[architecture]
    layers, width, heads = own.count("block_count"), own.count("embedding_length"), own.count("attention.head_count")
    head = own.count("attention.key_length", width // heads)
    if own.count("attention.value_length", width // heads) != head:
        raise Unsupported("its keys and its values have different lengths")
    kv_heads = own.count("attention.head_count_kv", heads)
    if heads % kv_heads:
        raise Unsupported("its heads do not share their keys evenly")
    known = Shape(
        architecture=architecture,
        context=own.count("context_length"),
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=kv_heads,
        head=head,
        inner=own.count("feed_forward_length"),
        epsilon=own.number("attention.layer_norm_rms_epsilon"),
        rope=_rope(own, kind, head),
        attention=head**-0.5,
    )
    return _gemma(own, known) if kind.gemma else known


def _rope(own: "_Own", kind: _Kind, head: int) -> Rope:
    scaling = own.header.get(f"{own.architecture}.rope.scaling.type", "linear")
    if scaling not in ("none", "linear"):
        raise Unsupported(f"it stretches its context by {scaling!r}")
    factor = own.number("rope.scaling.factor", own.number("rope.scale_linear", 0.0))
    scale = 1.0 if scaling == "none" or not factor else 1 / factor
    return Rope(own.count("rope.dimension_count", head), kind.halves, own.number("rope.freq_base", 10_000.0), scale)


def _gemma(own: "_Own", known: Shape) -> Shape:
    """Five layers of a narrow view to one that sees all."""
    period = own.count("attention.sliding_window_pattern", 6)
    wide = known.width // known.heads if known.layers == _LAYERS_OF_27B else known.head
    local = own.number("rope.freq_base_swa", 10_000.0)
    return replace(
        known,
        attention=wide**-0.5,
        embedding=known.width**0.5,
        gelu=True,
        window=own.count("attention.sliding_window"),
        local=frozenset(layer for layer in range(known.layers) if layer % period < period - 1),
        local_rope=Rope(known.rope.dimensions, known.rope.halves, local, 1.0),
    )


class _Own:
    """The keys of a header that are its architecture's own."""

    def __init__(self, header: Mapping[str, object], architecture: str) -> None:
        self.header = header
        self.architecture = architecture

    def count(self, key: str, default: int | None = None) -> int:
        value = self.header.get(f"{self.architecture}.{key}", default)
        if not isinstance(value, int) or value <= 0:
            raise Unsupported(f"its file says no single {key!r}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self.header.get(f"{self.architecture}.{key}", default)
        if not isinstance(value, int | float):
            raise Unsupported(f"its file says no single {key!r}")
        return float(value)
