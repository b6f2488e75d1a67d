"""Kokoro: a model of 82 million weights with many voices, in ONNX's format, on ONNX Runtime. It reads English here."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homeport.backends.engines.english import English
from homeport.backends.engines.threads import default_threads
from homeport.backends.engines.turns import Turns
from homeport.backends.speaking import Speaking, SpeakingCard, Spoken
from homeport.backends.text import Occupancy

if TYPE_CHECKING:
    from homeport.backends.speaking import Samples

#: OpenAI's names, and what is nearest to how those sound.
VOICES = {
    "alloy": "af_alloy",
    "ash": "am_michael",
    "ballad": "bm_george",
    "coral": "af_bella",
    "echo": "am_echo",
    "fable": "bm_fable",
    "onyx": "am_onyx",
    "nova": "af_nova",
    "sage": "af_sarah",
    "shimmer": "af_sky",
    "verse": "am_puck",
    "marin": "af_heart",
    "cedar": "am_fenrir",
}
#: How names of British voices begin; American ones with an `a`. Those of other languages are not for what is read here.
_BRITISH, _ENGLISH = "b", ("af_", "am_", "bf_", "bm_")
_RATE = 24_000
#: Beyond these the ends of sentences are cut off.
_SLOWEST, _FASTEST = 0.5, 1.25
#: Characters of a text's first piece: four seconds of sound, which take a small machine longer than that.
_FIRST = 60
#: Numbers of a voice: one row for each length that a sentence may have, in tokens.
_ROWS, _WIDTH = 510, 256
#: Its vocabulary is hibari's, and this token is on both ends.
_AROUND = 0


class Kokoro:
    """SpeakingEngine. path: the model, its voices beside it (`af_heart.bin`). parallel, queue: as of Hibari. threads:
    of one sentence, by default one less than the cores."""

    def __init__(self, path: Path, *, parallel: int = 16, threads: int | None = None, queue: int = 256) -> None:
        self.name = "kokoro"
        self._path = path
        self._threads = threads or default_threads()
        self._turns = Turns("kokoro", places=parallel, queue=queue)
        self._session: Any = None
        self._tokens: dict[str, int] = {}
        self._voices: dict[str, Any] = {}
        self._english: dict[bool, English] = {}
        self._card: SpeakingCard | None = None

    @property
    def card(self) -> SpeakingCard:
        assert self._card is not None, "start() has not been awaited"
        return self._card

    async def start(self) -> None:
        """Raises ValueError: the files are not those of such a model; OSError."""
        await self._turns.load(self._load)

    async def close(self) -> None:
        await self._turns.close()
        self._session = None
        self._english.clear()

    def _load(self) -> None:
        import hibari.tts
        import msgspec
        import numpy
        import onnxruntime

        found = {path.stem: path for path in sorted(self._path.parent.glob("*.bin")) if path.stem[:3] in _ENGLISH}
        if missing := [voice for voice in VOICES.values() if voice not in found]:
            raise ValueError(f"beside {self._path} there is no {missing[0]}.bin")
        for voice, path in found.items():
            numbers = numpy.fromfile(path, "<f4")
            if numbers.size != _ROWS * _WIDTH:
                raise ValueError(f"{path} is no voice of Kokoro")
            self._voices[voice] = numbers.reshape(_ROWS, 1, _WIDTH)
        self._tokens = msgspec.json.decode((Path(hibari.tts.ASSETS) / "vocab.json").read_bytes(), type=dict[str, int])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self._threads, 1
        options.log_severity_level = 3
        options.enable_cpu_mem_arena = False  # or it holds on to what the longest sentence took
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(str(self._path), options, providers=["CPUExecutionProvider"])
        if {one.name for one in session.get_inputs()} != {"tokens", "style", "speed"}:
            raise ValueError(f"{self._path} is not Kokoro")
        self._session = session
        self._card = SpeakingCard(
            _RATE,
            "English",
            VOICES | {voice: voice for voice in found},
            slowest=_SLOWEST,
            fastest=_FASTEST,
            first=_FIRST,
        )
        self._say("Hello.", VOICES["alloy"], 1.0)  # the first is slow

    def occupancy(self) -> Sequence[Occupancy]:
        return (self._turns.occupancy(),)

    def unspeakable(self, text: str) -> str | None:
        return self._english[False].unspeakable(text)

    @asynccontextmanager
    async def speaking(self, voice: str, speed: float) -> AsyncGenerator[Speaking, None]:
        async with self._turns.place():
            yield _Text(self, voice, speed)

    async def say(self, sentence: str, voice: str, speed: float) -> Spoken:
        return await self._turns.take(self._say, sentence, voice, speed)

    def _say(self, sentence: str, voice: str, speed: float) -> Spoken:
        """In the engine's thread."""
        import numpy

        said: list[Samples] = []
        tokens = 0
        for phonemes in self._reader(british=voice.startswith(_BRITISH)).phonemes(sentence):
            ids = [self._tokens[one] for one in phonemes if one in self._tokens]
            given = {
                "tokens": numpy.array([[_AROUND, *ids, _AROUND]], numpy.int64),
                "style": self._voices[voice][len(ids)],
                "speed": numpy.array([speed], numpy.float32),
            }
            (samples, *_) = self._session.run(None, given)
            said.append(samples.reshape(-1))
            tokens += len(ids) + 2
        return Spoken(numpy.concatenate(said) if said else numpy.zeros(0, numpy.float32), tokens)

    def _reader(self, *, british: bool) -> English:
        """Made once it is needed: most voices are American."""
        if british not in self._english:
            self._english[british] = English(british=british)
        return self._english[british]


class _Text:
    """Speaking."""

    def __init__(self, engine: Kokoro, voice: str, speed: float) -> None:
        self._engine = engine
        self._voice = voice
        self._speed = speed

    async def say(self, sentence: str) -> Spoken:
        return await self._engine.say(sentence, self._voice, self._speed)
