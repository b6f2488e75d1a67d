"""What is heard: word error rates on recordings whose text is known, and what Homeport adds to faster-whisper.

`http` is a Homeport of its own process; `direct` is faster-whisper's `transcribe` in this process, with the same
weights, threads and defaults. A round does each once, one after the other. CPU seconds are compared, which on one
thread are the seconds that it takes when nobody else computes.
"""

import io
import json
import statistics
import threading
import time
import wave
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from bench import processes, recordings
from bench.processes import KEY, NotStarted, Served
from bench.recordings import Recording
from bench.report import Goal, paired, table
from homeport.backends.models import PullError
from tests import model_files

TOGETHER = 4
#: Minutes of the long file, and how many pass between two moments in which somebody speaks.
LONG, PAUSE = 60, 5
WHISPER, MOONSHINE = "whisper-base", "moonshine-tiny"
_BOUNDARY = "bench-6c9f1d2e8a"


@dataclass(frozen=True)
class Errors:
    """wrong: of so many words."""

    language: str
    model: str
    recordings: int
    words: int
    wrong: int


@dataclass
class Hearing:
    """seconds: of the sound that is timed. cpu, wall: source -> seconds, of each round; `told`: the language was.
    together: wall seconds of so many requests at once, and of the same one by one. chat: milliseconds of an answer
    without a model, alone and beside them. peak: bytes that an hour takes, beyond what the server held before."""

    errors: list[Errors] = field(default_factory=list)
    seconds: float = 0.0
    cpu: dict[str, list[float]] = field(default_factory=dict)
    wall: dict[str, list[float]] = field(default_factory=dict)
    together: tuple[float, float] = (0.0, 0.0)
    chat: tuple[float, float] = (0.0, 0.0)
    peak: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        wrong = [
            [
                f"{one.language}, {one.model}",
                str(one.recordings),
                str(one.words),
                f"{100 * one.wrong / one.words:.1f} %",
            ]
            for one in self.errors
        ]
        speeds = [
            [
                f"{name}, {self.seconds:.0f} s",
                f"{statistics.median(cpu):.2f}",
                f"{statistics.median(cpu) / self.seconds:.3f}",
            ]
            for name, cpu in self.cpu.items()
        ]
        (at_once, one_by_one), (alone, beside) = self.together, self.chat
        rows = [
            [f"{TOGETHER} at once", f"{at_once:.1f} s"],
            [f"{TOGETHER} one by one", f"{one_by_one:.1f} s"],
            ["an answer of echo, alone", f"{alone:.1f} ms"],
            ["an answer of echo, beside them", f"{beside:.1f} ms"],
            [f"{LONG} minutes, the server's memory beyond what it held before", f"{self.peak / 1e6:.0f} MB"],
        ]
        return "\n\n".join(
            [
                "hearing\n" + table(["language", "recordings", "words", "wrong"], wrong),
                table(["", "CPU seconds", "of real time"], speeds),
                table(["", "median"], rows),
            ]
        )

    def goals(self) -> list[Goal]:
        """The language that is not told Homeport finds out by the way, faster-whisper by listening twice."""
        goals: list[Goal] = []
        for what in ("", ", told"):
            beside = paired(self.cpu[f"http{what}"], self.cpu[f"direct{what}"])
            goals.append(Goal(f"CPU of a transcription, of faster-whisper's{what}", beside, 1.05, 1.0, unit="x"))
        return [
            *goals,
            Goal("words of English that are wrong", self._english(), 5, 2, unit=" %"),
            Goal(f"memory that {LONG} minutes take", self.peak / 1e6, 100, 50, unit=" MB"),
        ]

    def _english(self) -> float | None:
        first = next(iter(self.errors), None)
        return None if first is None else 100 * first.wrong / first.words


def run(folder: Path, *, rounds: int, each: int, minutes: int = LONG) -> Hearing:
    """each: prompts of each language. minutes: of the long file. Raises NotStarted."""
    try:
        files = {WHISPER: model_files.whisper(), MOONSHINE: model_files.moonshine()}
    except PullError as error:
        raise NotStarted(str(error)) from None
    settings = "".join(f'[models."{name}"]\npath = "{file}"\nthreads = 1\n' for name, file in files.items())
    settings = settings.replace('encoder_model.onnx"\n', 'encoder_model.onnx"\nengine = "moonshine"\n')
    settings += '[models.echo]\nengine = "echo"\n'
    spoken = {"English": ("en", recordings.english())}
    if each:
        spoken |= {name: (code, recordings.prompts(code, each)) for code, name in recordings.PROMPTS.items()}
    found = Hearing()
    with processes.homeport(folder, settings, core=processes.cores()[0]) as server:
        for name, (code, said) in spoken.items():
            found.errors.append(_errors(server, name, code, WHISPER, said))
            if code == "en":
                found.errors.append(_errors(server, name, code, MOONSHINE, said))
        _speed(server, files[WHISPER], spoken["English"][1], rounds, found)
        _together(server, found)
        found.peak = _peak(server, minutes)
    return found


def _errors(server: Served, name: str, code: str, model: str, said: Sequence[Recording]) -> Errors:
    heard = [asked(server, one.sound, model=model, language=code)["text"] for one in said]
    count = sum(len(recordings.words(one.text)) for one in said)
    wrong = sum(recordings.wrong(one.text, text) for one, text in zip(said, heard, strict=True))
    return Errors(name, model, len(said), count, wrong)


def _speed(server: Served, weights: Path, said: Sequence[Recording], rounds: int, found: Hearing) -> None:
    """What a reader reads in a minute, and the language told or not."""
    from faster_whisper import WhisperModel

    sound = _in_a_row([one.sound for one in said] * 2)
    found.seconds = (len(sound) - 44) / 32_000
    model = WhisperModel(str(weights.parent), device="cpu", compute_type="int8", cpu_threads=1)

    def directly(language: str | None) -> None:
        segments, _ = model.transcribe(io.BytesIO(sound), language=language)
        assert "".join(one.text for one in segments)

    sources: dict[str, tuple[Callable[[], Any], Callable[[], float]]] = {
        "http": (lambda: asked(server, sound, model=WHISPER), server.cpu),
        "direct": (lambda: directly(None), time.process_time),
        "http, told": (lambda: asked(server, sound, model=WHISPER, language="en"), server.cpu),
        "direct, told": (lambda: directly("en"), time.process_time),
    }
    for _ in range(rounds):
        for name, (work, cpu) in sources.items():
            before, began = cpu(), time.perf_counter()
            work()
            found.wall.setdefault(name, []).append(time.perf_counter() - began)
            found.cpu.setdefault(name, []).append(cpu() - before)


def _together(server: Served, found: Hearing) -> None:
    sound = recordings.famous().sound

    def hear(_: int) -> None:
        asked(server, sound, model=WHISPER, language="en")

    alone = [_chat(server) for _ in range(50)]
    began = time.perf_counter()
    for number in range(TOGETHER):
        hear(number)
    one_by_one = time.perf_counter() - began
    beside: list[float] = []
    over = threading.Event()

    def chat() -> None:
        while not over.is_set():
            beside.append(_chat(server))
            time.sleep(0.01)

    with ThreadPoolExecutor(TOGETHER + 1) as pool:
        chatting = pool.submit(chat)
        began = time.perf_counter()
        for done in [pool.submit(hear, number) for number in range(TOGETHER)]:
            done.result()
        found.together = (time.perf_counter() - began, one_by_one)
        over.set()
        chatting.result()
    found.chat = (statistics.median(alone), statistics.median(beside))


def _chat(server: Served) -> float:
    """Milliseconds."""
    body = json.dumps({"model": "echo", "messages": [{"role": "user", "content": "Hello."}]}).encode()
    began = time.perf_counter()
    _post(server, "/v1/chat/completions", body, "application/json")
    return (time.perf_counter() - began) * 1e3


def _peak(server: Served, minutes: int) -> int:
    """The server has heard a minute before, in full windows, so what its model takes it holds already."""
    sound = recordings.famous().sound
    asked(server, _in_a_row([sound] * 6), model=WHISPER, language="en")
    with wave.open(io.BytesIO(sound)) as opened:
        speech = opened.readframes(opened.getnframes())
    quiet = bytes(PAUSE * 60 * 32_000 - len(speech))
    long = _as_flac((speech + quiet) * (minutes // PAUSE) or speech)
    before = _most(server.pid)
    asked(server, long, model=WHISPER, language="en")
    return _most(server.pid) - before


def _most(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmHWM:")) * 1024


def _in_a_row(sounds: Sequence[bytes]) -> bytes:
    """WAV files as one, with a second between them."""
    to = io.BytesIO()
    with wave.open(to, "wb") as written:
        written.setparams((1, 2, 16_000, 0, "NONE", ""))
        for sound in sounds:
            with wave.open(io.BytesIO(sound)) as opened:
                written.writeframes(opened.readframes(opened.getnframes()) + bytes(32_000))
    return to.getvalue()


def _as_flac(samples: bytes) -> bytes:
    """An hour as WAV is more than OpenAI takes."""
    import numpy

    from tests import sounds

    loud = numpy.frombuffer(samples, "<i2").astype(numpy.float32)
    loud /= 32_768
    return sounds.encoded("flac", loud)


def asked(server: Served, sound: bytes, **fields: str) -> Any:
    parts = [
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'.encode()
    body = b"".join([*parts, head, sound, f"\r\n--{_BOUNDARY}--\r\n".encode()])
    return _post(server, "/v1/audio/transcriptions", body, f"multipart/form-data; boundary={_BOUNDARY}")


def _post(server: Served, path: str, body: bytes, kind: str) -> Any:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=600)
    try:
        connection.request("POST", path, body, {"Authorization": f"Bearer {KEY}", "Content-Type": kind})
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
        return json.loads(content)
    finally:
        connection.close()
