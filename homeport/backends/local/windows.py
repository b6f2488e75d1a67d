"""A long sound cut into windows that an engine can hear at once: at silences, and without those that are long.

    samples    ....aaaa..aaa..........aaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaa.aaaa......
    windows       [aaaa..aaa..  ..aaaaaaaaaaaaaaaa.][aaaaaaaaaaaaaaa.aaaa.]

So silence costs nothing, nothing is heard in it that is not there, and words are whole. A window knows when each of its
moments was.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from homeport.backends.hearing import FRAME, RATE

if TYPE_CHECKING:
    from homeport.backends.hearing import Samples

_SECONDS = FRAME / RATE
#: How much less likely speech must be to end than to begin.
_LESS = 0.15
#: Seconds of silence that are a good place to cut, and that are a bearable one.
_GOOD, _BEARABLE = 0.3, 0.1


@dataclass(frozen=True, slots=True)
class Cutting:
    """threshold: how likely a moment must be speech. before, after: seconds of silence that are kept around it.
    silence: seconds of it that are long. ends: where it is long, a window ends; else it is left out of one."""

    threshold: float = 0.5
    before: float = 0.4
    after: float = 0.4
    silence: float = 2.0
    ends: bool = False


class Window(NamedTuple):
    """begins: (sample of the window, sample of the file) where what follows was not cut. spoken: seconds of the window
    after which there is silence alone."""

    samples: "Samples"
    begins: Sequence[tuple[int, int]]
    spoken: float

    @property
    def end(self) -> float:
        """In seconds of the file."""
        return self.at(len(self.samples) / RATE)

    def at(self, seconds: float) -> float:
        """Of the window, as seconds of the file."""
        sample = min(max(round(seconds * RATE), 0), len(self.samples))
        here, there = self.begins[max(bisect_right(self.begins, (sample, -1)) - 1, 0)]
        return (there + sample - here) / RATE


class _Frame(NamedTuple):
    number: int
    speech: float
    samples: "Samples"


class Windows:
    def __init__(
        self, speech: "Callable[[Samples], Samples]", *, seconds: float, cutting: Cutting | None = None
    ) -> None:
        """speech: as HearingEngine.speech. seconds: of a window at most."""
        self._cutting = cutting or Cutting()
        self._speech = speech
        self._ended = max(self._cutting.threshold - _LESS, 0.01)
        self._most = int(seconds / _SECONDS)
        self._long = max(round(self._cutting.silence / _SECONDS), 1)
        self._after = round(self._cutting.after / _SECONDS)
        self._before: deque[_Frame] = deque(maxlen=round(self._cutting.before / _SECONDS))
        self._window: list[_Frame] = []
        self._last: list[_Frame] = []
        self._silence = 0  # frames at the window's end
        self._speaking = False
        self._number = 0
        self._rest: Samples | None = None

    def feed(self, samples: "Samples") -> list[Window]:
        """The windows that are whole by now."""
        import numpy

        if self._rest is not None:
            samples = numpy.concatenate([self._rest, samples])
        whole = len(samples) // FRAME * FRAME
        self._rest = samples[whole:]
        return list(self._fed(samples[:whole]))

    def finish(self) -> list[Window]:
        """The last ones."""
        import numpy

        found: list[Window] = []
        if self._rest is not None and len(self._rest):
            found += self._fed(numpy.pad(self._rest, (0, FRAME - len(self._rest))))
        self._trim()
        while len(self._window) > self._most:
            found.append(self._cut(self._place()))
        if self._window:
            found.append(self._cut(len(self._window)))
        return found

    def give_back(self, seconds: float) -> None:
        """What follows in the window that was cut last was not heard: it comes again, with the next one."""
        self._window[:0] = self._last[int(seconds / _SECONDS) :]

    def _fed(self, samples: "Samples") -> Iterator[Window]:
        for at, speech in enumerate(self._speech(samples).tolist()):
            frame = _Frame(self._number, speech, samples[at * FRAME : (at + 1) * FRAME])
            self._number += 1
            if speech >= self._cutting.threshold:
                self._silence = 0
                if not self._speaking:
                    self._speaking = True
                    self._window += self._before
                    self._before.clear()
            elif self._speaking and speech < self._ended:
                self._silence += 1
            if not self._speaking:
                self._before.append(frame)
                continue
            self._window.append(frame)
            if self._silence >= self._long:
                self._trim()
                self._speaking = False
                if self._cutting.ends and self._window:
                    yield self._cut(len(self._window))
            while len(self._window) >= self._most:
                yield self._cut(self._place())

    def _trim(self) -> None:
        """Of the silence at the window's end what is not kept, which may come before what follows."""
        if self._silence > self._after:
            left = self._window[-(self._silence - self._after) :]
            del self._window[-len(left) :]
            self._before.extend(left)
        self._silence = 0

    def _place(self) -> int:
        """Where to cut a window that is full: in the last good silence of its second half, or in the best there is."""
        half = self._most // 2
        silences: list[tuple[int, int]] = []  # (frames, their middle)
        begin = half
        for at in range(half, self._most + 1):
            if at == self._most or self._window[at].speech >= self._ended:
                if at > begin:
                    silences.append((at - begin, (at + begin) // 2))
                begin = at + 1
        good = [place for frames, place in silences if frames * _SECONDS >= _GOOD]
        if good:
            return good[-1]
        longest = max(silences, default=(0, 0))
        if longest[0] * _SECONDS >= _BEARABLE:
            return longest[1]
        return min(range(half, self._most), key=lambda at: self._window[at].speech) + 1

    def _cut(self, place: int) -> Window:
        import numpy

        frames, self._window = self._window[:place], self._window[place:]
        self._last = frames
        begins = [
            (at * FRAME, frame.number * FRAME)
            for at, frame in enumerate(frames)
            if at == 0 or frames[at - 1].number != frame.number - 1
        ]
        loud = (at for at in range(len(frames), 0, -1) if frames[at - 1].speech >= self._ended)
        spoken = next(loud, 0) * _SECONDS
        return Window(numpy.concatenate([frame.samples for frame in frames]), begins, spoken)
