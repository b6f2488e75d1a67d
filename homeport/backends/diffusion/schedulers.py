"""The way from noise to a picture: at which times the model is asked, and what its answer makes of the latents.

A `Scheduler` is a model's own, a `Course` one picture's. All of them are checked against the values that diffusers has
published for its own (tests/backends/diffusion/test_schedulers.py); formulas are numbered as in the papers.
"""

import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy

from homeport.backends.diffusion import noise
from homeport.backends.diffusion.noise import Levels, Settings

Latents = numpy.ndarray[Any, numpy.dtype[numpy.float32]]
#: Fresh noise in the latents' shape.
Noise = Callable[[], Latents]


class Course(Protocol):
    """For one picture: passes 0, 1, ... of the model, in this order, each once.

    times: what the model is told at each pass. initial: what noise alone is multiplied with at the beginning. clean:
    the picture as the last pass guessed it, None before the first.
    """

    times: Levels
    initial: float
    clean: Latents | None

    def noised(self, at: int, clean: Latents, noise: Latents) -> Latents:
        """A picture with as much noise as there is before pass `at`; after the last one, none."""
        ...

    def scaled(self, at: int, latents: Latents) -> Latents:
        """As the model wants to see them."""
        ...

    def step(self, at: int, output: Latents, latents: Latents, fresh: Noise) -> Latents:
        """output: of the model. Gives the latents before the next pass."""
        ...


class Scheduler(Protocol):
    def course(self, steps: int, strength: float = 1.0) -> Course:
        """steps: of the whole way. strength: how much of it is gone, from a picture with so much noise; 1 begins with
        noise alone. At least one step is made."""
        ...


def read(found: Mapping[str, Any]) -> Scheduler:
    """What scheduler_config.json says. Raises ValueError."""
    name = str(found.get("_class_name") or "")
    kind = _KINDS.get(name)
    if kind is None and name in STOOD_IN_FOR:
        kind = _KINDS["EulerDiscreteScheduler"]
    if kind is None:
        raise ValueError(f"its scheduler {name!r} is not known. Known: {', '.join([*_KINDS, *sorted(STOOD_IN_FOR)])}")
    return kind.made(noise.read(found, kind.defaults))


class _Preserving:
    """Courses in which the picture loses variance as noise gains it: their latents always have about 1."""

    initial = 1.0

    def __init__(self, settings: Settings, shares: Levels, times: Levels) -> None:
        self.times = times
        self.clean: Latents | None = None
        self._settings = settings
        self._shares = shares
        self._last = 1.0 if settings.set_alpha_to_one else float(shares[0])

    def scaled(self, at: int, latents: Latents) -> Latents:
        return latents

    def noised(self, at: int, clean: Latents, noise: Latents) -> Latents:
        if at >= len(self.times):
            return clean
        share = self._share(at)
        return _f32(share**0.5 * clean + (1 - share) ** 0.5 * noise)

    def _share(self, at: int) -> float:
        """Before pass `at`; after the last one."""
        return float(self._shares[int(self.times[at])]) if at < len(self.times) else self._last

    def _read(self, share: float, output: Latents, latents: Latents) -> tuple[Latents, Latents]:
        """The picture and the noise in the latents, by what the model says of them."""
        kept, lost = share**0.5, (1 - share) ** 0.5
        if self._settings.prediction_type == "epsilon":
            clean, noise = (latents - lost * output) / kept, output
        elif self._settings.prediction_type == "v_prediction":
            clean, noise = kept * latents - lost * output, kept * output + lost * latents
        else:
            clean, noise = output, (latents - kept * output) / max(lost, 1e-12)
        if self._settings.clip_sample:
            reach = self._settings.clip_sample_range
            clean = numpy.clip(clean, -reach, reach)
        return clean, noise


class Ddim:
    """Song et al., Denoising Diffusion Implicit Models (2020), with eta = 0: nothing is random on the way."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._shares = noise.shares(settings)

    def course(self, steps: int, strength: float = 1.0) -> Course:
        times = numpy.round(noise.times(self._settings, steps))
        return _DdimCourse(self._settings, self._shares, _rest(times, strength))


class _DdimCourse(_Preserving):
    def step(self, at: int, output: Latents, latents: Latents, fresh: Noise) -> Latents:
        """Formula (12)."""
        after = self._share(at + 1)
        self.clean, noise = self._read(self._share(at), output, latents)
        return _f32(after**0.5 * self.clean + (1 - after) ** 0.5 * noise)


class Pndm:
    """Liu et al., Pseudo Numerical Methods for Diffusion Models on Manifolds (2022): three steps of Runge and Kutta,
    unless `skip_prk_steps`, and then a linear multistep method. A way that begins in the middle has the latter alone.
    """

    def __init__(self, settings: Settings) -> None:
        if settings.prediction_type == "sample":
            raise ValueError("prediction_type = 'sample' is not supported by PNDM")
        self._settings = settings
        self._shares = noise.shares(settings)

    def course(self, steps: int, strength: float = 1.0) -> Course:
        all_times = numpy.round(noise.times(self._settings, steps))
        times = _rest(all_times, strength)
        if len(times) < len(all_times) or self._settings.skip_prk_steps or steps <= _CAREFUL:
            return _PndmCourse(self._settings, self._shares, numpy.insert(times, 1, times[1:2]))
        half = self._settings.num_train_timesteps // steps // 2
        careful = [
            time
            for begin, end in itertools.pairwise(times[: _CAREFUL + 1])
            for time in (begin, end + half, end + half, end)
        ]
        return _PndmCourse(self._settings, self._shares, numpy.append(careful, times[_CAREFUL:]), careful=len(careful))


#: Steps of Runge and Kutta, and the passes of each.
_CAREFUL, _PASSES = 3, 4
#: What an answer of each pass counts for, and the times of the next two passes that the step goes to.
_SHARES_OF_PASSES = (1 / 6, 1 / 3, 1 / 3, 1 / 6)
_GOES_TO = (1, 1, 1, 0)
#: How the last answers count, the newest first, by how many there are (Adams and Bashforth).
_MULTISTEP = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


class _PndmCourse(_Preserving):
    def __init__(self, settings: Settings, shares: Levels, times: Levels, *, careful: int = 0) -> None:
        """times: of passes. The first `careful` are of Runge and Kutta; without them the first step is made twice, the
        second time with the mean of the answers at both of its ends."""
        super().__init__(settings, shares, times)
        self._careful = careful
        self._answers: list[Latents] = []
        self._sum: Latents | None = None
        self._begun: tuple[int, Latents] | None = None

    def step(self, at: int, output: Latents, latents: Latents, fresh: Noise) -> Latents:
        self.clean = self._read(self._share(at), output, latents)[0]
        if at < self._careful:
            return self._carefully(at, output, latents)
        if not self._careful and at == 1:
            begun, first = self._begun or (0, latents)
            return self._moved(begun, 1, first, _f32((output + self._answers[0]) / 2))
        if not self._careful and at == 0:
            self._begun = (0, latents)
        self._answers = [output, *self._answers[:3]]
        weights = _MULTISTEP[len(self._answers) - 1]
        mean = sum((weight * one for weight, one in zip(weights, self._answers, strict=True)), numpy.zeros_like(output))
        return self._moved(at, at + 1, latents, _f32(mean))

    def _carefully(self, at: int, output: Latents, latents: Latents) -> Latents:
        begin, part = at - at % _PASSES, at % _PASSES
        if part == 0:
            self._begun, self._sum = (begin, latents), numpy.zeros_like(output)
            self._answers = [output, *self._answers[:3]]
        assert self._begun is not None
        assert self._sum is not None
        self._sum = self._sum + _SHARES_OF_PASSES[part] * output
        mean = self._sum if part == _PASSES - 1 else output
        return self._moved(begin, at + _GOES_TO[part], self._begun[1], _f32(mean))

    def _moved(self, begin: int, end: int, latents: Latents, output: Latents) -> Latents:
        """Formula (9), between the times of two passes."""
        before, after = self._share(begin), self._share(end)
        if self._settings.prediction_type == "v_prediction":
            output = before**0.5 * output + (1 - before) ** 0.5 * latents
        whole = before * (1 - after) ** 0.5 + (before * (1 - before) * after) ** 0.5
        return _f32((after / before) ** 0.5 * latents - (after - before) / whole * output)


class Lcm:
    """Luo et al., Latent Consistency Models (2023): the model guesses the picture at once, and what it guessed is made
    noisy again for the next guess. Its times are some of those that it was distilled with."""

    def __init__(self, settings: Settings) -> None:
        if not 1 <= settings.original_inference_steps <= settings.num_train_timesteps:
            raise ValueError(f"original_inference_steps = {settings.original_inference_steps} makes no sense")
        self._settings = settings
        self._shares = noise.shares(settings)

    def course(self, steps: int, strength: float = 1.0) -> Course:
        """Algorithm 3. There are no more steps than times."""
        original = self._settings.original_inference_steps
        stride = self._settings.num_train_timesteps // original
        times = numpy.arange(max(1, int(original * strength)), 0, -1) * float(stride) - 1
        chosen = numpy.floor(numpy.linspace(0, len(times), min(steps, len(times)), endpoint=False))
        return _LcmCourse(self._settings, self._shares, times[chosen.astype(int)])


class _LcmCourse(_Preserving):
    #: Of the pictures, as the paper has it.
    _deviation = 0.5

    def step(self, at: int, output: Latents, latents: Latents, fresh: Noise) -> Latents:
        guess, _ = self._read(self._share(at), output, latents)
        time = self.times[at] * self._settings.timestep_scaling
        whole = time**2 + self._deviation**2
        self.clean = _f32(time / whole**0.5 * guess + self._deviation**2 / whole * latents)
        return self.noised(at + 1, self.clean, fresh()) if at + 1 < len(self.times) else self.clean


class Euler:
    """Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models (2022), algorithm 2 without
    churn: the picture keeps its variance and noise is added to it, so much as `sigma`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._shares = noise.shares(settings)

    def course(self, steps: int, strength: float = 1.0) -> Course:
        settings = self._settings
        times = noise.times(settings, steps)
        every = ((1 - self._shares) / self._shares) ** 0.5
        sigmas: Levels = numpy.interp(times, numpy.arange(len(every)), every)
        if settings.use_karras_sigmas:
            sigmas = _karras(sigmas, settings)
            times = numpy.interp(numpy.log(sigmas), numpy.log(every), numpy.arange(len(every)))
        largest = float(sigmas.max())
        initial = (largest**2 + 1) ** 0.5 if settings.timestep_spacing == "leading" else largest
        last = every[0] if settings.final_sigmas_type == "sigma_min" else 0.0
        rest = _rest(times, strength)
        sigmas = numpy.append(sigmas[len(times) - len(rest) :], last)
        return _EulerCourse(settings, rest, sigmas, initial)


def _karras(sigmas: Levels, settings: Settings) -> Levels:
    """Formula (5), with their rho of 7."""
    largest = sigmas[0] if settings.sigma_max is None else settings.sigma_max
    smallest = sigmas[-1] if settings.sigma_min is None else settings.sigma_min
    found: Levels = numpy.linspace(largest ** (1 / 7), smallest ** (1 / 7), len(sigmas)) ** 7
    return found


class _EulerCourse:
    def __init__(self, settings: Settings, times: Levels, sigmas: Levels, initial: float) -> None:
        self.times = times
        self.initial = initial
        self.clean: Latents | None = None
        self._sigmas = sigmas
        self._prediction = settings.prediction_type

    def noised(self, at: int, clean: Latents, noise: Latents) -> Latents:
        return _f32(clean + self._sigmas[at] * noise) if at < len(self.times) else clean

    def scaled(self, at: int, latents: Latents) -> Latents:
        return _f32(latents / (self._sigmas[at] ** 2 + 1) ** 0.5)

    def step(self, at: int, output: Latents, latents: Latents, fresh: Noise) -> Latents:
        sigma, after = self._sigmas[at], self._sigmas[at + 1]
        if self._prediction == "epsilon":
            clean = latents - sigma * output
        elif self._prediction == "v_prediction":
            clean = latents / (sigma**2 + 1) - sigma / (sigma**2 + 1) ** 0.5 * output
        else:
            clean = output
        self.clean = _f32(clean)
        return _f32(latents + (latents - clean) / sigma * (after - sigma))


class FlowEuler:
    """Esser et al., Scaling Rectified Flow Transformers (2024): the model says in which direction noise is, seen from
    the picture, and Euler's method goes the other way. Times are the shares of noise, in thousandths."""

    def __init__(self, settings: Settings) -> None:
        if settings.shift <= 0:
            raise ValueError(f"shift = {settings.shift} makes no sense")
        self._settings = settings

    def course(self, steps: int, strength: float = 1.0) -> Course:
        count = self._settings.num_train_timesteps
        shares = self._shifted(numpy.linspace(1.0, self._shifted(1 / count), steps))
        rest = _rest(numpy.asarray(shares), strength)
        return _FlowCourse(rest * count, numpy.append(rest, 0.0))

    def _shifted(self, share: Any) -> Any:
        """More steps where there is much noise, of shifts above 1; as diffusers has it, of the last share twice."""
        shift = self._settings.shift
        return shift * share / (1 + (shift - 1) * share)


class _FlowCourse:
    initial = 1.0

    def __init__(self, times: Levels, shares: Levels) -> None:
        """shares: of noise, before each pass and after the last one."""
        self.times = times
        self.clean: Latents | None = None
        self._shares = shares

    def noised(self, at: int, clean: Latents, noise: Latents) -> Latents:
        return _f32(self._shares[at] * noise + (1 - self._shares[at]) * clean)

    def scaled(self, at: int, latents: Latents) -> Latents:
        return latents

    def step(self, at: int, output: Latents, latents: Latents, fresh: Noise) -> Latents:
        self.clean = _f32(latents - self._shares[at] * output)
        return _f32(latents + (self._shares[at + 1] - self._shares[at]) * output)


def _rest(times: Levels, strength: float) -> Levels:
    """The last ones, so many as `strength` says, and one at least."""
    passes = min(max(1, int(len(times) * strength)), len(times))
    return times[len(times) - passes :]


def _f32(latents: Any) -> Latents:
    """Scalars are float64, and what they are multiplied with must not stay so."""
    return numpy.asarray(latents, numpy.float32)


class _Kind(NamedTuple):
    """defaults: where its class in diffusers has others than noise.Settings."""

    made: Callable[[Settings], Scheduler]
    defaults: Mapping[str, Any]


_KINDS: Mapping[str, _Kind] = {
    "DDIMScheduler": _Kind(Ddim, {"clip_sample": True}),
    "PNDMScheduler": _Kind(Pndm, {"set_alpha_to_one": False}),
    "EulerDiscreteScheduler": _Kind(Euler, {"timestep_spacing": "linspace"}),
    "LCMScheduler": _Kind(Lcm, {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}),
    "FlowMatchEulerDiscreteScheduler": _Kind(FlowEuler, {}),
}
#: Other ways through the same noise, for which Euler's stands in: models are taught the noise, and not the way.
STOOD_IN_FOR = frozenset(
    {
        "DDPMScheduler",
        "DEISMultistepScheduler",
        "DPMSolverMultistepScheduler",
        "DPMSolverSinglestepScheduler",
        "EulerAncestralDiscreteScheduler",
        "HeunDiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler",
        "KDPM2DiscreteScheduler",
        "LMSDiscreteScheduler",
        "UniPCMultistepScheduler",
    }
)
