"""A model, and one picture of it: the way from noise to pixels, gone pass by pass.

Of an edit or a variation the way begins at the given picture with some noise. Under a mask it begins with noise alone,
and what is to be kept is put back after every pass, as noisy as the rest is then; a model for inpainting is told it
instead. At the end it is put back once more, pixel for pixel.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy

from homeport.backends.diffusion import canvas, folder
from homeport.backends.diffusion.schedulers import Latents, Lcm
from homeport.backends.diffusion.sessions import Array, Network, Stop
from homeport.backends.diffusion.texts import Texts, Told
from homeport.errors import HomeportError

if TYPE_CHECKING:
    from homeport.backends.drawing import Mask, Pixels, Quality, Wish

#: Of the steps of medium quality.
QUALITIES: "dict[Quality, float]" = {"low": 0.6, "medium": 1.0, "high": 1.6}
#: How much of the way is gone: an edit must be able to change what is seen, a variation to stay what it was.
EDIT, VARIATION = 0.8, 0.65
#: What a network for drawing is told, and may be.
_NEEDED, _KNOWN = ("sample", "timestep", "encoder_hidden_states"), ("timestep_cond",)
_OF_TWO_TEXTS = ("text_embeds", "time_ids")
_MOST_STEPS = 1000
_LCM_STEPS = 4
#: The channel of the mask, beside the latents' own and those of what is kept.
_MASK = 1
_PIXELS = 3
_LATENTS = 4


class Painter:
    """guidance, steps: None for what its pipeline has. Loads all networks; raises ValueError, OSError."""

    def __init__(self, path: Path, threads: int, *, guidance: float | None = None, steps: int | None = None) -> None:
        parts = folder.read(path)
        self.parts = parts
        self.texts = Texts(parts, threads)
        self.network = Network(parts.drawing, threads, keeps=True)
        self.network.wants((*_NEEDED, *(_OF_TWO_TEXTS if parts.pipeline.two_texts else ())), _KNOWN)
        #: It was taught to follow a prompt as closely as it is told to, at once.
        self.distilled = "timestep_cond" in self.network.inputs
        own = parts.pipeline.guidance if self.distilled or not isinstance(parts.scheduler, Lcm) else 1.0
        self.guidance = own if guidance is None else guidance
        self._steps = steps or (_LCM_STEPS if isinstance(parts.scheduler, Lcm) else parts.pipeline.steps)
        if self.distilled and not parts.guidance_width:
            raise ValueError(f"{parts.drawing}: it has timestep_cond, and its config.json no time_cond_proj_dim")
        self.encoder = Network(parts.encoder, threads) if parts.encoder is not None else None
        self.decoder = Network(parts.decoder, threads) if parts.decoder is not None else None
        self.channels = self._channels()
        self.masked = self._masked()
        #: Multiples of it are drawn, in pixels: an exported network enlarges latents by two, wherever it has halved.
        self.multiple = parts.factor * parts.depth
        self.side = parts.side * parts.factor
        self.shape = self._shape()

    def steps(self, quality: "Quality") -> int:
        return min(max(1, round(self._steps * QUALITIES[quality])), _MOST_STEPS)

    @property
    def edits(self) -> bool:
        return self.encoder is not None or self.decoder is None

    def encode(self, pixels: Latents, stop: Stop) -> Latents:
        """The mean, where it says one: no lots are drawn."""
        if self.encoder is None:
            return pixels
        name = next(iter(self.encoder.inputs))
        (found, *_) = self.encoder.run({name: pixels[None]}, self.encoder.outputs[:1], stop)
        latents: Latents = (found[0][: self.channels] - self.parts.shift) * self.parts.scaling
        return latents

    def decode(self, latents: Latents, stop: Stop) -> Latents:
        """Raises HomeportError: its numbers are none."""
        if self.decoder is None:
            return latents
        name = next(iter(self.decoder.inputs))
        given = latents[None] / self.parts.scaling + self.parts.shift
        (found, *_) = self.decoder.run({name: given}, self.decoder.outputs[:1], stop)
        return sound(found[0])

    def guided(self) -> Array:
        """How closely a distilled model is to follow its prompt, as it is told it."""
        half = (self.parts.guidance_width or 0) // 2
        lengths = numpy.exp(-numpy.log(10_000.0) * numpy.arange(half) / max(half - 1, 1))
        angles = (self.guidance - 1) * 1000 * lengths
        told = numpy.concatenate([numpy.sin(angles), numpy.cos(angles)])
        return numpy.pad(told, (0, (self.parts.guidance_width or 0) % 2))[None].astype(numpy.float32)

    def _channels(self) -> int:
        if self.decoder is None:
            return _PIXELS
        return self.parts.latents or self.decoder.fixed(next(iter(self.decoder.inputs)), 1) or _LATENTS

    def _masked(self) -> bool:
        """Whether it is told a mask. Raises ValueError."""
        told = 2 * self.channels + _MASK
        by_kind = told if self.parts.pipeline.masked else self.channels
        channels = self.parts.channels or self.network.fixed("sample", 1) or by_kind
        if channels not in (self.channels, told):
            raise ValueError(
                f"{self.parts.drawing}: it has {channels} channels, and must have {self.channels}, or {told} for masks"
            )
        if channels == told and not self.edits:
            raise ValueError(f"{self.parts.folder}: a model for masks needs its vae_encoder/model.onnx")
        return channels == told

    def _shape(self) -> tuple[int, int] | None:
        """Width and height, of a network that draws no others."""
        height, width = (self.network.fixed("sample", axis) for axis in (2, 3))
        if height is None or width is None:
            return None
        return width * self.parts.factor, height * self.parts.factor


class Picture:
    """One wish. `begin`, then `advance` until all passes are `done` of `total`, then `finished`; `seen` between. None
    of them at once, and each blocks; they raise Stopped after `stop.ask`, from any thread."""

    def __init__(self, painter: Painter, wish: "Wish") -> None:
        self._painter = painter
        self._wish = wish
        self.stop = Stop()
        self.done = 0
        shape = painter.shape or canvas.size(wish.width, wish.height, side=painter.side, multiple=painter.multiple)
        self._width, self._height = shape
        self._noise = numpy.random.RandomState(numpy.random.Philox(key=wish.seed))
        self._mask: Mask | None = wish.mask if wish.kind == "edit" else None
        strength = 1.0
        if wish.bases and self._mask is None:
            strength = EDIT if wish.kind == "edit" else VARIATION
        self._course = painter.parts.scheduler.course(painter.steps(wish.quality), strength)
        self._whole = strength == 1.0
        self.total = len(self._course.times)

    def begin(self) -> None:
        painter, wish = self._painter, self._wish
        self._told = painter.texts.told(wish.prompt, self.stop)
        guides = painter.guidance > 1 and bool(wish.prompt) and not painter.distilled
        self._without = painter.texts.told("", self.stop) if guides else None
        self._more: Told = self._also_told()
        noise = self._fresh()
        self._first = noise
        self._base = self._cells = None
        kept: Latents | None = None
        if wish.bases:
            pixels = canvas.read(wish.bases[0].pixels, self._width, self._height, white=self._mask is None)
            self._base = painter.encode(pixels, self.stop)
            if self._mask is not None:
                self._cells = canvas.cells(self._mask, self._width, self._height, painter.parts.factor)
                kept = pixels * (1 - canvas.covered(self._mask, self._width, self._height))
        if painter.masked:
            self._beside = self._told_of_mask(kept)
        if self._whole or self._base is None:
            self._latents = noise * numpy.float32(self._course.initial)
        else:
            self._latents = self._course.noised(0, self._base, noise)

    def advance(self) -> None:
        """One pass. Raises HomeportError: the numbers are none any more."""
        at, course = self.done, self._course
        output = self._asked(course.scaled(at, self._latents), float(course.times[at]))
        latents = sound(course.step(at, output, self._latents, self._fresh))
        if self._cells is not None and self._base is not None and not self._painter.masked:
            latents = self._cells * latents + (1 - self._cells) * course.noised(at + 1, self._base, self._first)
        self._latents = latents
        self.done += 1

    def seen(self) -> "Pixels":
        """As the last pass guessed it."""
        return self._shown(self._latents if self._course.clean is None else self._course.clean)

    def finished(self) -> "Pixels":
        return self._shown(self._latents)

    def _shown(self, latents: Latents) -> "Pixels":
        wish = self._wish
        drawn = canvas.shown(self._painter.decode(latents, self.stop), wish.width, wish.height)
        return drawn if self._mask is None else canvas.pasted(drawn, wish.bases[0].pixels, self._mask)

    def _asked(self, latents: Latents, time: float) -> Latents:
        """What the network says; with guidance, of the prompt and of none, and further away from the latter."""
        if self._painter.masked:
            latents = numpy.concatenate([latents, self._beside])
        tellings = [self._told] if self._without is None else [self._without, self._told]
        network = self._painter.network
        if network.fixed("sample", 0) == 1:
            outputs = [self._run(latents[None], time, [told]) for told in tellings]
        else:
            outputs = [self._run(numpy.stack([latents] * len(tellings)), time, tellings)]
        found = numpy.concatenate(outputs)
        plain: Latents = found[0]
        return plain if self._without is None else plain + numpy.float32(self._painter.guidance) * (found[1] - plain)

    def _run(self, latents: Latents, time: float, tellings: list[Told]) -> Latents:
        network = self._painter.network
        shape = network.inputs["timestep"]
        each = len(shape) == 1 and shape[0] == network.inputs["sample"][0]
        told = {name: numpy.concatenate([one[name] for one in tellings]) for name in tellings[0]}
        more = {name: numpy.repeat(value, len(tellings), axis=0) for name, value in self._more.items()}
        given = {
            "sample": latents,
            "timestep": numpy.full(((len(latents),) if each else (1,)) if shape else (), time),
            **{name: value for name, value in {**told, **more}.items() if name in network.inputs},
        }
        (found,) = network.run(given, network.outputs[:1], self.stop, last=self.done == self.total - 1)
        return found

    def _also_told(self) -> Told:
        """time_ids: as SDXL has it, the size that the picture was cut to, and from what, and where."""
        sides = [self._height, self._width]
        told: dict[str, Array] = {}
        if "time_ids" in self._painter.network.inputs:
            told["time_ids"] = numpy.array([[*sides, 0, 0, *sides]], numpy.float32)
        if self._painter.distilled:
            told["timestep_cond"] = self._painter.guided()
        return told

    def _told_of_mask(self, kept: Latents | None) -> Latents:
        """For a model that is told it: the mask, and what is kept; all is to be drawn where there is none."""
        painter = self._painter
        cells = numpy.ones_like(self._first[:1]) if self._cells is None else self._cells
        pixels = numpy.zeros((_PIXELS, self._height, self._width), numpy.float32) if kept is None else kept
        return numpy.concatenate([cells, painter.encode(pixels, self.stop)])

    def _fresh(self) -> Latents:
        """Noise: numpy's oldest normal numbers, which stay what they are, from the counter-based generator Philox with
        the seed as its key."""
        factor = self._painter.parts.factor
        shape = (self._painter.channels, self._height // factor, self._width // factor)
        return self._noise.standard_normal(shape).astype(numpy.float32)


def sound(values: Latents) -> Latents:
    """Raises HomeportError: the model has overflowed, as those of float16 do."""
    if not numpy.isfinite(values).all():
        raise HomeportError(
            "The model's numbers overflowed, and there is no picture. Ask for it again with another seed or prompt; if "
            "that does not help, its weights are damaged, or need more than 16 bits."
        )
    return values
