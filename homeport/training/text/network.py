"""The model: tokens become what is known at each of them, and that becomes the logits of the token that follows.

Its answers are llama.cpp's for the same file, number for number but for rounding. Examples are packed: their tokens lie
one behind the other in a single row, without padding, and each sees its own alone. (SmolLM2 on a core, eight examples
of 28 to 85 tokens, a step forth and back: filled up to one length they take 1.6 times as long, one by one 1.8 times.)
"""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from homeport.training.text import architectures, weights
from homeport.training.text.architectures import Rope, Shape, Unsupported
from homeport.training.text.gguf_file import GGUFFile
from homeport.training.text.pointwise import gated, norm
from homeport.training.text.projection import Projection


class Model:
    """Made by `load`. projections: what can be trained, by the names that llama.cpp has for it, `blk.0.attn_q`."""

    def __init__(self, shape: Shape, tensors: "_Tensors") -> None:
        self.shape = shape
        self.embedding = tensors.take("token_embd.weight", shape.width)
        self.head = tensors.perhaps("output.weight", *self.embedding.shape)
        factors = tensors.perhaps("rope_freqs.weight", shape.rope.dimensions // 2)
        self._layers = [_Layer(shape, layer, tensors) for layer in range(shape.layers)]
        self._norm = tensors.take("output_norm.weight", shape.width)
        self._turn = _Turning(shape.rope, factors, self.device)
        self._turn_local = _Turning(shape.local_rope, None, self.device) if shape.local_rope else self._turn
        self.projections: dict[str, Projection] = {}
        for layer in self._layers:
            self.projections |= layer.projections

    @property
    def device(self) -> torch.device:
        return self.embedding.device

    @property
    def dtype(self) -> torch.dtype:
        return self.embedding.dtype

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return int(self.embedding.shape[0])

    def __call__(
        self, tokens: Tensor, lengths: Sequence[int], *, cache: "Cache | None" = None, recompute: bool = False
    ) -> Tensor:
        """(tokens) of examples one behind the other, and how long each is -> (tokens, width): for `logits`.

        Examples of equal length that are neighbours are looked at together, so sorting them is worth it. recompute:
        keep only what is between the layers for the way back, and make the rest again there: a fifteenth of the memory,
        a third more time. cache: what it has seen of one example, which goes on with these tokens.
        """
        assert sum(lengths) == len(tokens)
        begin = cache.length if cache else 0
        places = torch.cat([torch.arange(begin, begin + length, device=self.device) for length in lengths])
        piece = _Piece([(length, len(list(same))) for length, same in groupby(lengths)], cache)
        turns = self._turn(places), self._turn_local(places)
        x = F.embedding(tokens, self.embedding)
        if self.shape.embedding != 1.0:
            x = (x.float() * self.shape.embedding).to(x.dtype)
        for layer in self._layers:
            turn = turns[layer.local]
            if recompute and torch.is_grad_enabled():
                x = checkpoint(layer, x, turn, piece, use_reentrant=False, preserve_rng_state=False)
            else:
                x = layer(x, turn, piece)
        if cache:
            cache.length += len(tokens)
        return norm(x, self._norm, self.shape.epsilon)

    def logits(self, hidden: Tensor) -> Tensor:
        """(any, width) -> (any, vocabulary), float32. Only of the tokens whose successors are to be learnt: with
        those of all tokens a step of SmolLM2's takes 1.2 times as long."""
        return F.linear(hidden, self.embedding if self.head is None else self.head).float()


def load(path: Path, *, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Model:
    """Raises Unsupported (architectures.py) for what cannot be trained."""
    file = GGUFFile(path)
    shape = architectures.shape(file.header)
    tensors = _Tensors(file, dtype, device)
    model = Model(shape, tensors)
    if left := tensors.left():
        raise Unsupported(f"it has parts that are not known, like {left[0]!r}")
    return model


class Cache:
    """What layers have seen of one example: its keys and values (1, heads, places, head)."""

    def __init__(self) -> None:
        self.length = 0
        self._seen: dict[int, tuple[Tensor, Tensor]] = {}

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        if layer in self._seen:
            before = self._seen[layer]
            k, v = torch.cat([before[0], k], 2), torch.cat([before[1], v], 2)
        self._seen[layer] = k, v
        return k, v


class _Tensors:
    """Takes a file's tensors out by their names, and knows which nobody asked for."""

    def __init__(self, file: GGUFFile, dtype: torch.dtype, device: str) -> None:
        self._file = file
        self._dtype = dtype
        self._device = device
        self._taken: set[str] = set()

    def take(self, name: str, *shape: int) -> Tensor:
        """shape: its last dimensions."""
        found = self.perhaps(name, *shape)
        if found is None:
            raise Unsupported(f"it has no {name!r}")
        return found

    def perhaps(self, name: str, *shape: int) -> Tensor | None:
        if name not in self._file.tensors:
            return None
        there = self._file.tensors[name].shape
        if there[-len(shape) :] != shape:
            raise Unsupported(f"{name!r} is {there}, where {shape} is expected")
        self._taken.add(name)
        # Norms, biases and factors are few, and stay exact.
        dtype = self._dtype if len(there) > 1 else torch.float32
        return weights.load(self._file, name, dtype=dtype, device=self._device)

    def left(self) -> list[str]:
        return [name for name in self._file.tensors if name not in self._taken]


class _Piece:
    """runs: (length, how many) of neighbours."""

    def __init__(self, runs: Sequence[tuple[int, int]], cache: Cache | None) -> None:
        self.runs = runs
        self.cache = cache


class _Layer:
    def __init__(self, shape: Shape, number: int, tensors: _Tensors) -> None:
        self.local = number in shape.local
        self.projections: dict[str, Projection] = {}
        self._shape = shape
        self._number = number
        queries, keys = shape.heads * shape.head, shape.kv_heads * shape.head

        def projection(name: str, outputs: int, inputs: int) -> Projection:
            name = f"blk.{number}.{name}"
            weight, bias = tensors.take(f"{name}.weight", outputs, inputs), tensors.perhaps(f"{name}.bias", outputs)
            made = self.projections[name] = Projection(weight, None if bias is None else bias.to(weight.dtype))
            return made

        def norm(name: str, width: int) -> Tensor | None:
            return tensors.perhaps(f"blk.{number}.{name}.weight", width)

        self._q = projection("attn_q", queries, shape.width)
        self._k = projection("attn_k", keys, shape.width)
        self._v = projection("attn_v", keys, shape.width)
        self._out = projection("attn_output", shape.width, queries)
        self._gate = projection("ffn_gate", shape.inner, shape.width)
        self._up = projection("ffn_up", shape.inner, shape.width)
        self._down = projection("ffn_down", shape.width, shape.inner)
        self._attention_norm = tensors.take(f"blk.{number}.attn_norm.weight", shape.width)
        self._feed_norm = tensors.take(f"blk.{number}.ffn_norm.weight", shape.width)
        self._q_norm, self._k_norm = norm("attn_q_norm", shape.head), norm("attn_k_norm", shape.head)
        self._after_attention = norm("post_attention_norm", shape.width)
        self._after_feed = norm("post_ffw_norm", shape.width)

    def __call__(self, x: Tensor, turn: Tensor, piece: _Piece) -> Tensor:
        y = self._attention(self._normed(x, self._attention_norm), turn, piece)
        x = x + self._normed(y, self._after_attention)
        y = self._normed(x, self._feed_norm)
        y = gated(self._gate(y), self._up(y), gelu=self._shape.gelu)
        return x + self._normed(self._down(y), self._after_feed)

    def _attention(self, x: Tensor, turn: Tensor, piece: _Piece) -> Tensor:
        shape = self._shape
        q = self._q(x).view(-1, shape.heads, shape.head)
        k = self._k(x).view(-1, shape.kv_heads, shape.head)
        v = self._v(x).view(-1, shape.kv_heads, shape.head)
        q = _turned(self._normed(q, self._q_norm), turn, shape.rope)
        k = _turned(self._normed(k, self._k_norm), turn, shape.rope)
        shared = shape.heads // shape.kv_heads
        if shared > 1:  # each head its own: PyTorch's fast kernel of CPUs knows no shared ones
            k, v = (t[:, :, None].expand(-1, -1, shared, -1).flatten(1, 2) for t in (k, v))
        rows = [length * many for length, many in piece.runs]
        parts = []
        for (length, many), *part in zip(piece.runs, q.split(rows), k.split(rows), v.split(rows), strict=True):
            of_q, of_k, of_v = (t.unflatten(0, (many, length)).transpose(1, 2) for t in part)
            parts.append(self._looked(of_q, of_k, of_v, piece.cache))
        return self._out(parts[0] if len(parts) == 1 else torch.cat(parts))

    def _looked(self, q: Tensor, k: Tensor, v: Tensor, cache: Cache | None) -> Tensor:
        """(examples, heads, length, head) each -> (tokens, heads * head)."""
        if cache:
            k, v = cache.extend(self._number, k, v)
        new, all_ = q.shape[2], k.shape[2]
        mask, window = None, self._shape.window
        if (self.local and all_ > window) or 1 < new < all_:
            behind = torch.arange(all_ - new, all_, device=q.device)[:, None] - torch.arange(all_, device=q.device)
            mask = behind >= 0
            if self.local:
                mask &= behind < window
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None and new == all_, scale=self._shape.attention
        )
        return y.transpose(1, 2).flatten(2).flatten(0, 1)

    def _normed(self, x: Tensor, weight: Tensor | None) -> Tensor:
        return x if weight is None else norm(x, weight, self._shape.epsilon)


class _Turning:
    """Places -> how the pairs of numbers there are turned: (places, 1, dimensions / 2), complex, of neighbours;
    (2, places, 1, dimensions), what a number and its fellow in the other half are multiplied with. In float32 whatever
    the weights are, for bfloat16 cannot tell place 257 from 258."""

    def __init__(self, rope: Rope, factors: Tensor | None, device: torch.device) -> None:
        exponents = torch.arange(0, rope.dimensions, 2, device=device, dtype=torch.float32) / rope.dimensions
        self._frequencies = rope.scale * rope.base**-exponents
        if factors is not None:
            self._frequencies = self._frequencies / factors
        self._halves = rope.halves

    def __call__(self, places: Tensor) -> Tensor:
        angles = (places.float()[:, None] * self._frequencies)[:, None]
        if not self._halves:
            return torch.polar(torch.ones_like(angles), angles)
        cosines, sines = angles.cos(), angles.sin()
        return torch.stack([torch.cat([cosines, cosines], -1), torch.cat([-sines, sines], -1)])


def _turned(x: Tensor, turn: Tensor, rope: Rope) -> Tensor:
    """(tokens, heads, head) each pair of numbers turned by what its place says."""
    if rope.dimensions < x.shape[-1]:
        first, rest = x.split([rope.dimensions, x.shape[-1] - rope.dimensions], -1)
        return torch.cat([_turned(first, turn, rope), rest], -1)
    y = x.float()
    if rope.halves:
        return (y * turn[0] + y.roll(rope.dimensions // 2, -1) * turn[1]).to(x.dtype)
    pairs = torch.view_as_complex(y.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turn).flatten(-2).to(x.dtype)
