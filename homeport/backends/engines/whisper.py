"""Whisper on CTranslate2, by faster-whisper: what OpenAI's own `whisper-1` is, of any size.

Windows come cut (local/windows.py), so each is one pass of the model, as a rule. What was heard before is the context
of what comes, as in Whisper's own way of hearing long files; a window that comes out badly is tried again with a higher
temperature, as there.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homeport.backends.engines.silero import Speech, detector
from homeport.backends.engines.threads import default_threads
from homeport.backends.engines.turns import Turns
from homeport.backends.hearing import RATE, Ask, HearingCard, Listening, Passage, Segment, Word
from homeport.backends.text import Occupancy

if TYPE_CHECKING:
    from homeport.backends.hearing import Samples

SECONDS = 30.0
#: Beside model.bin, which knows no words without it.
_TOKENIZER = "tokenizer.json"
_LADDER = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
#: What was heard at a higher temperature is no context for what follows.
_FORGETS_ABOVE = 0.5
#: Seconds of a frame of the spectrum, and of a step of the times that the model writes.
_FRAME, _STEP = 0.01, 0.02
#: Seconds at the end of what is spoken in which there is nothing that was not heard with the rest.
_TAIL = 0.5
#: Tokens of context that the model looks at.
_CONTEXT = 223


class Whisper:
    """HearingEngine. path: `model.bin`, the others of its files beside it. parallel: files that take turns; queue:
    that may wait for a place; threads: of one pass."""

    def __init__(self, path: Path, *, parallel: int = 16, threads: int | None = None, queue: int = 256) -> None:
        self.name = "whisper"
        self._folder = path.parent
        self._threads = threads or default_threads()
        self._turns = Turns("whisper", places=parallel, queue=queue)
        self._model: Any = None
        self._detector: Any = None
        self._card: HearingCard | None = None

    @property
    def card(self) -> HearingCard:
        assert self._card is not None, "start() has not been awaited"
        return self._card

    async def start(self) -> None:
        """Raises ValueError, RuntimeError: the files are not those of such a model; OSError."""
        await self._turns.load(self._load)

    async def close(self) -> None:
        await self._turns.close()
        self._model = self._detector = None

    def _load(self) -> None:
        from faster_whisper import WhisperModel

        if not (self._folder / _TOKENIZER).is_file():
            raise ValueError(f"in {self._folder} there is no {_TOKENIZER}")  # or it would be looked for on the network
        self._model = WhisperModel(
            str(self._folder), device="cpu", compute_type="int8", cpu_threads=self._threads, num_workers=1
        )
        self._detector = detector()
        known = self._model.hf_tokenizer.token_to_id
        languages = tuple(one for one in self._model.supported_languages if one == "en" or known(f"<|{one}|>"))
        self._card = HearingCard(languages, SECONDS, translates=len(languages) > 1, times=True, prompts=True)

    def occupancy(self) -> Sequence[Occupancy]:
        return (self._turns.occupancy(),)

    def speech(self) -> "Callable[[Samples], Samples]":
        return Speech(self._detector)

    @asynccontextmanager
    async def listening(self, ask: Ask) -> AsyncGenerator[Listening, None]:
        async with self._turns.place():
            yield _File(self._model, self._turns, ask)


class _File:
    """Listening. What is remembered of one file."""

    def __init__(self, model: Any, turns: Turns, ask: Ask) -> None:
        self._model = model
        self._turns = turns
        self._ask = ask
        self._language = ask.languages[0] if len(ask.languages) == 1 else ""
        self._tokenizer: Any = None
        self._before: list[int] = []

    async def hear(self, samples: "Samples", spoken: float, *, last: bool) -> Passage:
        return await self._turns.take(self._hear, samples, spoken, last=last)

    def _hear(self, samples: "Samples", spoken: float, *, last: bool) -> Passage:
        """In the engine's thread. A pass takes as long for a second as for 30, and the model may stop before the end:
        then the rest is better heard with what follows."""
        import numpy

        model = self._model
        # Silence after it, as Whisper was taught with; faster-whisper alone would put zeros into the spectrum: noise.
        features = model.feature_extractor(numpy.pad(samples, (0, max(0, round(SECONDS * RATE) - len(samples)))))
        found: list[Segment] = []
        seek = 0
        while True:
            ahead = features[:, seek : model.feature_extractor.nb_max_frames]
            quiet = ((0, 0), (0, model.feature_extractor.nb_max_frames - ahead.shape[1]))
            encoded = model.encode(numpy.pad(ahead, quiet, constant_values=features.min()))
            if self._tokenizer is None:
                self._begin(encoded)
            segments, ended = self._pass(encoded, seek, max(spoken - seek * _FRAME, _FRAME))
            found += segments
            if ended is None or ended <= seek or spoken - ended * _FRAME < _TAIL:
                return Passage(self._language, found)
            if not last:
                return Passage(self._language, found, ended * _FRAME)
            seek = ended

    def _pass(self, encoded: Any, seek: int, spoken: float) -> tuple[list[Segment], int | None]:
        """What was heard from a frame of the window on, and until which frame; None: nothing. spoken: seconds after
        which there is silence."""
        model, tokenizer, options = self._model, self._tokenizer, self._options()
        prompt = model.get_prompt(tokenizer, self._before, hotwords=options.hotwords)
        result, mean, temperature, ratio = model.generate_with_fallback(encoded, prompt, tokenizer, options)
        if result.no_speech_prob > options.no_speech_threshold and mean <= options.log_prob_threshold:
            return [], None
        tokens = result.sequences_ids[0]
        full = len(prompt) + len(tokens) >= model.max_length - 1
        parts = _parts(tokens, tokenizer.timestamp_begin, seek, spoken, whole=not full)
        if options.word_timestamps and parts:
            model.add_word_timestamps(
                [parts],
                tokenizer,
                encoded,
                round(spoken / _FRAME),
                options.prepend_punctuations,
                options.append_punctuations,
                last_speech_timestamp=0.0,
            )
        found: list[Segment] = []
        for part in parts:
            text = tokenizer.decode(part["tokens"])
            if text.strip() and part["end"] > part["start"]:
                words = [Word(one["word"], float(one["start"]), float(one["end"])) for one in part.get("words", ())]
                found.append(
                    Segment(
                        float(part["start"]),
                        float(part["end"]),
                        text,
                        tokens=part["tokens"],
                        temperature=float(temperature),
                        avg_logprob=float(mean),
                        compression_ratio=float(ratio),
                        no_speech_prob=float(result.no_speech_prob),
                        words=words if options.word_timestamps else None,
                    )
                )
        self._remember(found)
        return found, round(parts[-1]["end"] / _FRAME) if parts else None

    def _begin(self, encoded: Any) -> None:
        """The file's language, by what the model was going to listen to anyway."""
        from faster_whisper.tokenizer import Tokenizer

        model = self._model
        if not model.model.is_multilingual:
            self._language = "en"
        elif not self._language:
            likely = [(token[2:-2], chance) for token, chance in model.model.detect_language(encoded)[0]]
            wanted = [one for one in likely if not self._ask.languages or one[0] in self._ask.languages]
            self._language = max(wanted, key=lambda one: one[1])[0]
        self._tokenizer = Tokenizer(
            model.hf_tokenizer, model.model.is_multilingual, task=self._ask.task, language=self._language
        )
        if self._ask.prompt.strip():
            self._before = list(self._tokenizer.encode(f" {self._ask.prompt.strip()}"))

    def _remember(self, heard: Sequence[Segment]) -> None:
        if heard and heard[-1].temperature > _FORGETS_ABOVE:
            self._before = []
            return
        for segment in heard:
            self._before += segment.tokens
        del self._before[:-_CONTEXT]

    def _options(self) -> Any:
        """faster-whisper's defaults, but for what was asked for."""
        from faster_whisper.transcribe import TranscriptionOptions, get_suppressed_tokens

        temperature = self._ask.temperature
        return TranscriptionOptions(
            beam_size=5,
            best_of=5,
            patience=1,
            length_penalty=1,
            repetition_penalty=1,
            no_repeat_ngram_size=0,
            log_prob_threshold=-1.0,
            no_speech_threshold=0.6,
            compression_ratio_threshold=2.4,
            condition_on_previous_text=True,
            prompt_reset_on_temperature=_FORGETS_ABOVE,
            temperatures=[temperature] if temperature else list(_LADDER),
            initial_prompt=None,
            prefix=None,
            suppress_blank=True,
            suppress_tokens=get_suppressed_tokens(self._tokenizer, [-1]),
            without_timestamps=False,
            max_initial_timestamp=1.0,
            word_timestamps=self._ask.words,
            prepend_punctuations="\"'“¿([{-",
            append_punctuations="\"'.。,，!！?？:：”)]}、",
            multilingual=False,
            max_new_tokens=None,
            clip_timestamps=[],
            hallucination_silence_threshold=None,
            hotwords=", ".join(self._ask.keywords) or None,
        )


def _parts(tokens: Sequence[int], first: int, seek: int, spoken: float, *, whole: bool) -> list[dict[str, Any]]:
    """Text between two times each, as the model writes it; first: the token of its time 0, where `seek` is. What has no
    time at its end goes on until nothing is spoken; unless the model has not said all (`whole`), then it is said again.
    """
    begin = seek * _FRAME
    parts: list[dict[str, Any]] = []
    current: list[int] = []
    start = begin
    for token in tokens:
        if token < first:
            current.append(token)
            continue
        time = begin + (token - first) * _STEP
        if any(one < first for one in current):
            parts.append({"seek": seek, "start": start, "end": time, "tokens": [*current, token]})
            current, start = [], time
        else:
            current, start = [token], time
    if any(one < first for one in current) and (whole or not parts):
        parts.append({"seek": seek, "start": start, "end": max(begin + spoken, start), "tokens": current})
    return parts
