"""What is spoken: how soon the first of it is there, how fast it comes, what Homeport adds to the engine, and whether a
recogniser hears what was meant.

`http` is a Homeport of its own process, asked for `pcm`; `direct` is the same engine class in this process, called
through its seam with the same sentences. A round does each once, one after the other; CPU seconds are compared.
"""

import asyncio
import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from bench import hearing, processes, recordings
from bench.processes import KEY, NotStarted, Served
from bench.report import Goal, paired, table
from homeport.backends.engines.hibari import Hibari
from homeport.backends.engines.kokoro import Kokoro
from homeport.backends.local.sentences import sentences
from homeport.backends.models import PullError
from homeport.backends.speaking import SpeakingEngine
from tests import model_files

TOGETHER = 4
#: Bytes of `pcm` in a second.
_SECOND = 48_000
_TEXT = (
    "The station opened in nineteen twelve, and every morning a train left for the coast at seven. It carried milk, "
    "letters and children who went to school. Nobody thought that it would ever stop. Then the road came, and with it "
    "the buses; the trains grew shorter, and one winter there were none. Today the platform is a garden. In summer, "
    "people sit between the roses where the rails used to be, and drink their coffee in the shade of the old clock."
)


@dataclass
class Speaking:
    """Of each model. seconds: that the text takes to be heard. first: seconds to its first byte, of each round. cpu:
    source -> CPU seconds. words, wrong: of those that the recogniser heard. together: wall seconds of so many requests
    at once, and of the same one by one. peak: bytes that a text of so many characters takes, beyond what the server
    held before."""

    seconds: dict[str, float] = field(default_factory=dict)
    first: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    words: int = 0
    wrong: dict[str, int] = field(default_factory=dict)
    together: dict[str, tuple[float, float]] = field(default_factory=dict)
    peak: dict[str, int] = field(default_factory=dict)
    characters: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        rows = [
            [
                name,
                f"{1000 * statistics.median(self.first[name]):.0f} ms",
                f"{statistics.median(cpu['http']) / self.seconds[name]:.3f}",
                f"{statistics.median(cpu['direct']) / self.seconds[name]:.3f}",
                f"{self.wrong[name]} of {self.words}",
                f"{self.together[name][0]:.2f} / {self.together[name][1]:.2f} s",
                f"{self.peak[name] / 1e6:.0f} MB",
            ]
            for name, cpu in self.cpu.items()
        ]
        head = ["", "first byte", "CPU, of real time", "the engine alone", "words wrong"]
        return "speaking\n" + table(
            [*head, f"{TOGETHER} at once / one by one", f"peak of {self.characters} characters"], rows
        )

    def goals(self) -> list[Goal]:
        goals: list[Goal] = []
        for name, cpu in self.cpu.items():
            beside = paired(cpu["http"], cpu["direct"])
            goals += [
                Goal(f"CPU of speech by {name}, of the engine's", beside, 1.25, 1.05, unit="x"),
                Goal(f"words of {name} that are heard wrong", 100 * self.wrong[name] / self.words, 5, 2, unit=" %"),
            ]
        return goals


def run(folder: Path, *, rounds: int, characters: int) -> Speaking:
    """characters: of a long text. Raises NotStarted."""
    try:
        kokoro, whisper = model_files.kokoro(), model_files.whisper()
    except PullError as error:
        raise NotStarted(str(error)) from None
    settings = (
        f'[models.hibari]\nengine = "hibari"\n[models.kokoro]\nengine = "kokoro"\nthreads = 1\npath = "{kokoro}"\n'
        f'[models.whisper-base]\nthreads = 1\npath = "{whisper}"\n'
    )
    engines: dict[str, Callable[[], SpeakingEngine]] = {
        "hibari": Hibari,
        "kokoro": lambda: Kokoro(kokoro, threads=1),
    }
    found = Speaking(words=len(recordings.words(_TEXT)), characters=characters)
    with processes.homeport(folder, settings, core=processes.cores()[0]) as server:
        for name, made in engines.items():
            asyncio.run(_compared(server, name, made(), rounds, found))
            found.wrong[name] = _wrong(server, name)
            found.together[name] = _together(server, name)
            before = server.peak()
            _asked(server, name, (f"{_TEXT} " * 9)[:characters])
            found.peak[name] = server.peak() - before
    return found


async def _compared(server: Served, name: str, engine: SpeakingEngine, rounds: int, found: Speaking) -> None:
    cpu: dict[str, list[float]] = found.cpu.setdefault(name, {"http": [], "direct": []})
    await engine.start()
    try:
        for _ in range(rounds):
            before = server.cpu()
            first, sound = await asyncio.to_thread(_asked, server, name, _TEXT)
            cpu["http"].append(server.cpu() - before)
            found.first.setdefault(name, []).append(first)
            found.seconds[name] = len(sound) / _SECOND
            before = time.process_time()
            async with engine.speaking(engine.card.voices["alloy"], 1.0) as speaking:
                for sentence in sentences(_TEXT, first=engine.card.first):
                    await speaking.say(sentence)
            cpu["direct"].append(time.process_time() - before)
    finally:
        await engine.close()


def _wrong(server: Served, name: str) -> int:
    """Words that Whisper hears otherwise, of the text as mp3."""
    _, sound = _asked(server, name, _TEXT, response_format="mp3")
    heard = hearing.asked(server, sound, model="whisper-base", language="en")["text"]
    return recordings.wrong(_TEXT, heard.replace("1912", "nineteen twelve").replace("at 7", "at seven"))


def _together(server: Served, name: str) -> tuple[float, float]:
    text = sentences(_TEXT)[0]

    def speak(_: int) -> None:
        _asked(server, name, text)

    began = time.perf_counter()
    for number in range(TOGETHER):
        speak(number)
    one_by_one = time.perf_counter() - began
    with ThreadPoolExecutor(TOGETHER) as pool:
        began = time.perf_counter()
        list(pool.map(speak, range(TOGETHER)))
        return time.perf_counter() - began, one_by_one


def _asked(server: Served, model: str, text: str, response_format: str = "pcm") -> tuple[float, bytes]:
    """Seconds to the first byte of sound, and all of it."""
    wanted = {"model": model, "input": text, "voice": "alloy", "response_format": response_format}
    connection = HTTPConnection("127.0.0.1", server.port, timeout=600)
    try:
        began = time.perf_counter()
        connection.request(
            "POST",
            "/v1/audio/speech",
            json.dumps(wanted),
            {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
        )
        answer = connection.getresponse()
        first = answer.read(1)
        took = time.perf_counter() - began
        content = first + answer.read()
        assert answer.status == 200, content
        return took, content
    finally:
        connection.close()
