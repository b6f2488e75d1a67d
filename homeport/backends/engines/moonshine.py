"""Moonshine: a small model of English in ONNX's format, on ONNX Runtime. It works as long as a sound is, and not for 30
seconds whatever comes, so short ones are heard at once. It says what was said, and not when."""

import math
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homeport.backends.engines.silero import Speech, detector
from homeport.backends.engines.threads import default_threads
from homeport.backends.engines.turns import Turns
from homeport.backends.hearing import RATE, Ask, HearingCard, Listening, Passage, Segment, Token
from homeport.backends.text import Occupancy

if TYPE_CHECKING:
    from homeport.backends.hearing import Samples

#: What it hears at once; it was taught with no more than 30.
SECONDS = 24.0
_DECODER, _TOKENIZER = "decoder_model_merged.onnx", "tokenizer.json"
_FIRST, _LAST = 1, 2
#: Tokens of a second; a model that goes round in circles says more.
_MOST_TOKENS = 13
_PAST = "past_key_values."


class Moonshine:
    """HearingEngine. path: `encoder_model.onnx`, its decoder and tokenizer beside it. parallel, queue, threads: as of
    Whisper."""

    def __init__(self, path: Path, *, parallel: int = 16, threads: int | None = None, queue: int = 256) -> None:
        self.name = "moonshine"
        self._path = path
        self._threads = threads or default_threads()
        self._turns = Turns("moonshine", places=parallel, queue=queue)
        self._model: _Model | None = None
        self._detector: Any = None
        self._card = HearingCard(("en",), SECONDS, logprobs=True)

    @property
    def card(self) -> HearingCard:
        return self._card

    async def start(self) -> None:
        """Raises ValueError: the files are not those of such a model; OSError."""
        await self._turns.load(self._load)

    async def close(self) -> None:
        await self._turns.close()
        self._model = self._detector = None

    def _load(self) -> None:
        self._model = _Model(self._path, self._threads)
        self._detector = detector()

    def occupancy(self) -> Sequence[Occupancy]:
        return (self._turns.occupancy(),)

    def speech(self) -> "Callable[[Samples], Samples]":
        return Speech(self._detector)

    @asynccontextmanager
    async def listening(self, ask: Ask) -> AsyncGenerator[Listening, None]:
        assert self._model is not None
        async with self._turns.place():
            yield _File(self._model, self._turns, ask)


class _File:
    """Listening. Nothing is remembered from window to window."""

    def __init__(self, model: "_Model", turns: Turns, ask: Ask) -> None:
        self._model = model
        self._turns = turns
        self._temperature = ask.temperature

    async def hear(self, samples: "Samples", spoken: float, *, last: bool) -> Passage:
        return await self._turns.take(self._hear, samples)

    def _hear(self, samples: "Samples") -> Passage:
        """In the engine's thread."""
        tokens = self._model.tokens(samples, self._temperature)
        text = self._model.text([token for token, _ in tokens])
        if not text.strip():
            return Passage("en", [])
        chances = self._model.told(tokens, text)
        mean = sum(chance for _, chance in tokens) / len(tokens)
        segment = Segment(
            0.0,
            len(samples) / RATE,
            f" {text.strip()}",
            tokens=[token for token, _ in tokens],
            temperature=self._temperature,
            avg_logprob=mean,
            logprobs=chances,
        )
        return Passage("en", [segment])


class _Model:
    def __init__(self, encoder: Path, threads: int) -> None:
        """Raises ValueError, OSError."""
        import onnxruntime
        import tokenizers

        for name in (_DECODER, _TOKENIZER):
            if not encoder.with_name(name).is_file():
                raise ValueError(f"beside {encoder} there is no {name}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        paths = (encoder, encoder.with_name(_DECODER))
        self._encoder, self._decoder = [
            onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]) for path in paths
        ]
        self._past = {one.name: one.shape for one in self._decoder.get_inputs() if one.name.startswith(_PAST)}
        if not self._past:
            raise ValueError(f"{paths[1]} is no decoder of Moonshine")
        self._tokenizer = tokenizers.Tokenizer.from_file(str(encoder.with_name(_TOKENIZER)))

    def text(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens)))

    def tokens(self, samples: "Samples", temperature: float) -> list[tuple[int, float]]:
        """What was said, each token with its logarithmic probability."""
        import numpy

        (hidden,) = self._encoder.run(None, {"input_values": samples[None]})
        past = {name: numpy.zeros((0, shape[1], 1, shape[3]), numpy.float32) for name, shape in self._past.items()}
        found: list[tuple[int, float]] = []
        token = _FIRST
        for _ in range(math.ceil(len(samples) / RATE * _MOST_TOKENS) + 4):
            given = {
                "input_ids": numpy.array([[token]], numpy.int64),
                "encoder_hidden_states": hidden,
                "use_cache_branch": numpy.array([token != _FIRST]),
                **past,
            }
            logits, *present = self._decoder.run(None, given)
            token, chance = _chosen(logits[0, -1], temperature)
            if token == _LAST:
                break
            for name, value in zip(past, present, strict=True):
                if not found or ".decoder." in name:  # of the sound they are made once
                    past[name] = value
            found.append((token, chance))
        return found

    def told(self, tokens: Sequence[tuple[int, float]], text: str) -> list[Token]:
        """Tokens as texts that make up the whole, as far as bytes of a character are not apart."""
        told: list[Token] = []
        written = ""
        for at, (_, chance) in enumerate(tokens, 1):
            now = self.text([token for token, _ in tokens[:at]])
            piece = now[len(written) :] if now.startswith(written) and not now.endswith("\ufffd") else ""
            written += piece
            told.append(Token(piece, chance, piece.encode()))
        return told


def _chosen(logits: Any, temperature: float) -> tuple[int, float]:
    """A token and its logarithmic probability at temperature 1."""
    import numpy

    likely = logits.astype(numpy.float64) - logits.max()
    total = math.log(float(numpy.exp(likely).sum()))
    if not temperature:
        token = int(likely.argmax())
    else:
        shares = numpy.exp(likely / temperature).cumsum()
        token = int(numpy.searchsorted(shares, random.random() * shares[-1]))
    return token, float(likely[token]) - total
