"""The network: a caption's tokens become vectors, and a U-Net tells from them, and a noisy picture, the way to it.

Both halves have the inputs and outputs that diffusers gives theirs, so that they are exported as they are.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from homeport.training.image.words import Words

#: Of a token's vector.
TEXT = 128
_LAYERS = 2
_HEAD = 32
#: A time of 1, noise alone, as the network is told it.
TIMES = 1000
#: The velocity is told by way of the picture, (noisy - picture) / time, with times no smaller than this: a small
#: network learns what pictures look like, and never how to pass noise through (arXiv 2511.13720). Tried beside the
#: velocity itself: after the same minute of a core pictures are clean instead of grainy, and follow their prompts.
_LEAST_NOISE = 0.05
_GROUPS = 8
#: Pixels that become one place: most of the work is done on a fourth as many places.
_FOLD = 2


class TextEncoder(nn.Module):
    """Token ids (batch, length) -> vectors (batch, length, TEXT); those behind the caption's end are zero, by which
    whoever reads them knows that they say nothing. So it does not matter how far a caption was filled up."""

    def __init__(self, words: Words) -> None:
        super().__init__()
        self.register_buffer("rows", torch.tensor(words.rows), persistent=False)
        self.end = words.end
        self.embedding = nn.Embedding(max(words.rows) + 1, TEXT, padding_idx=0)  # 0: what is no word says nothing
        self.layers = nn.ModuleList(_TextLayer() for _ in range(_LAYERS))
        self.norm = nn.LayerNorm(TEXT)

    def forward(self, ids: Tensor) -> Tensor:
        ends = (ids == self.end).long()
        told = (ends.cumsum(1) - ends) == 0  # up to the first end, which is told too
        places = torch.arange(ids.shape[1], device=ids.device)
        x = self.embedding(self.rows[ids]) + _waves(places.float(), TEXT)
        for layer in self.layers:
            x = layer(x, told)
        return self.norm(x) * told[..., None]


class _TextLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(TEXT)
        self.qkv = nn.Linear(TEXT, 3 * TEXT)
        self.out = nn.Linear(TEXT, TEXT)
        self.feed = nn.Sequential(nn.LayerNorm(TEXT), nn.Linear(TEXT, 4 * TEXT), nn.GELU(), nn.Linear(4 * TEXT, TEXT))

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).chunk(3, dim=-1)
        x = x + self.out(_attention(q, k, v, told))
        return x + self.feed(x)


class UNet(nn.Module):
    """Pictures (batch, 3, height, width; -1 to 1 and noise), their times (batch; 0 is the picture, 1000 is noise) and
    captions' vectors -> velocity: noise minus picture. width: channels where the picture is finest."""

    def __init__(self, width: int) -> None:
        super().__init__()
        fine, middle, coarse, condition = width, 2 * width, 4 * width, 4 * width
        self.waves = width
        self.time = nn.Sequential(nn.Linear(width, condition), nn.SiLU(), nn.Linear(condition, condition))
        self.caption = nn.Linear(TEXT, condition)
        self.stem = nn.Conv2d(3 * _FOLD**2 + 2, fine, 3, padding=1)
        self.down_fine = _Block(fine, fine, condition)
        self.to_middle = nn.Conv2d(fine, middle, 3, stride=2, padding=1)
        self.down_middle = _Block(middle, middle, condition)
        self.look_down = _Attention(middle)
        self.to_coarse = nn.Conv2d(middle, coarse, 3, stride=2, padding=1)
        self.first = _Block(coarse, coarse, condition)
        self.look = _Attention(coarse)
        self.second = _Block(coarse, coarse, condition)
        self.from_coarse = nn.Conv2d(coarse, middle, 3, padding=1)
        self.up_middle = _Block(2 * middle, middle, condition)
        self.look_up = _Attention(middle)
        self.from_middle = nn.Conv2d(middle, fine, 3, padding=1)
        self.up_fine = _Block(2 * fine, fine, condition)
        self.head = nn.Sequential(nn.GroupNorm(_GROUPS, fine), nn.SiLU(), _zero(nn.Conv2d(fine, 12, 3, padding=1)))

    def forward(self, sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor) -> Tensor:
        words = encoder_hidden_states
        told = words.abs().sum(-1) > 0
        mean = words.sum(1) / told.sum(1, keepdim=True).clamp(min=1)
        condition = F.silu(self.time(_waves(timestep, self.waves)) + self.caption(mean))
        x = F.pixel_unshuffle(sample, _FOLD)
        x = fine = self.down_fine(self.stem(torch.cat([x, _coordinates(x)], 1)), condition)
        x = self.down_middle(self.to_middle(x), condition)
        x = middle = self.look_down(x, words, told)
        x = self.first(self.to_coarse(x), condition)
        x = self.second(self.look(x, words, told), condition)
        x = self.from_coarse(F.interpolate(x, scale_factor=2.0))
        x = self.look_up(self.up_middle(torch.cat([x, middle], 1), condition), words, told)
        x = self.from_middle(F.interpolate(x, scale_factor=2.0))
        x = self.up_fine(torch.cat([x, fine], 1), condition)
        picture = F.pixel_shuffle(self.head(x), _FOLD).float()
        noise = (timestep.float() / TIMES).clamp(min=_LEAST_NOISE)
        return (sample - picture) / noise[:, None, None, None]


class Model(nn.Module):
    def __init__(self, words: Words, width: int) -> None:
        super().__init__()
        self.text = TextEncoder(words)
        self.unet = UNet(width)

    def forward(self, noisy: Tensor, times: Tensor, ids: Tensor) -> Tensor:
        velocity: Tensor = self.unet(noisy, times, self.text(ids))
        return velocity


class _Block(nn.Module):
    """Two convolutions beside a short cut; what is wished and how noisy it is scales and shifts what is between."""

    def __init__(self, inputs: int, outputs: int, condition: int) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.GroupNorm(_GROUPS, inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.norm = nn.GroupNorm(_GROUPS, outputs, affine=False)
        self.wish = nn.Linear(condition, 2 * outputs)
        self.after = _zero(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.short = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.wish(condition)[..., None, None].chunk(2, dim=1)
        y = self.norm(self.before(x)) * (1 + scale) + shift
        return self.short(x) + self.after(F.silu(y))


class _Attention(nn.Module):
    """Each place looks at all places and at all words, in one go (as GLIDE does it: arXiv 2112.10741)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_GROUPS, channels)
        self.places = nn.Linear(channels, 3 * channels)
        self.words = nn.Linear(TEXT, 2 * channels)
        self.out = _zero(nn.Linear(channels, channels))

    def forward(self, x: Tensor, words: Tensor, told: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        q, k, v = self.places(self.norm(x).flatten(2).transpose(1, 2)).chunk(3, dim=-1)
        word_k, word_v = self.words(words).chunk(2, dim=-1)
        seen = torch.cat([torch.ones_like(q[..., 0], dtype=torch.bool), told], 1)
        y = self.out(_attention(q, torch.cat([k, word_k], 1), torch.cat([v, word_v], 1), seen))
        return x + y.transpose(1, 2).reshape(batch, channels, height, width)


def _attention(q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
    """(batch, length, channels) each; seen: which of the keys there are."""
    q, k, v = (x.unflatten(-1, (-1, _HEAD)).transpose(1, 2) for x in (q, k, v))
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=seen[:, None, None, :])
    return y.transpose(1, 2).flatten(2)


def _waves(at: Tensor, channels: int) -> Tensor:
    """Sines and cosines of many lengths."""
    half = channels // 2
    steps = torch.arange(half, device=at.device, dtype=torch.float32) / half
    angles = at.float()[..., None] * torch.exp(-math.log(10_000.0) * steps)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def _coordinates(x: Tensor) -> Tensor:
    """Where each place is, from -1 to 1: across and down."""
    across = torch.linspace(-1, 1, x.shape[3], device=x.device, dtype=x.dtype).expand(x.shape[0], 1, x.shape[2], -1)
    down = torch.linspace(-1, 1, x.shape[2], device=x.device, dtype=x.dtype)[:, None].expand(
        x.shape[0], 1, -1, x.shape[3]
    )
    return torch.cat([across, down], 1)


def _zero(module: nn.Module) -> nn.Module:
    """So that at first each part passes on what it was given."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module
