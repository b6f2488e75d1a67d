"""OpenVINO as a TextEngine, with the default model. Without openvino-genai these are skipped."""

import asyncio
import struct
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

import pytest

from homeport.backends.engines import admission
from homeport.backends.engines.llama_cpp import LlamaCpp
from homeport.backends.engines.openvino import LINES, OpenVINO
from homeport.backends.engines.openvino_text import GrowingText
from homeport.backends.text import JsonObject, JsonSchema, Piece, Sampling, ToolCalls
from homeport.errors import HomeportError, InvalidRequest, ModelNotReady, SettingsError, Unavailable

pytest.importorskip("openvino_genai")

T = TypeVar("T")
QUESTION = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
GREEDY = Sampling(max_tokens=30, temperature=0.0)
ENDLESS = Sampling(max_tokens=400, temperature=0.0, ignore_eos=True)
TEXTS = (
    "Hello world",
    "  two  spaces and a tail ",
    "\n\n\ttabs\r\n",
    "def f(x):\n    return x**2  # 日本語\n",
    "👩‍👩‍👧 🎉🏳️‍🌈",
    "ñandú Ω≈ç 1234567890 12.5e-3 don't",
    "\x00\u200d\ufeff\u00a0",
    "",
    "<|im_start|>user\nhi<|im_end|>\n",
    "x <|endoftext|> y<|im_st",
    "<|im_start|><|im_start|><repo_name>a<file_sep>",
    "word " * 9000,
)


class Started:
    """An engine and the loop that it lives in."""

    def __init__(self, engine: OpenVINO) -> None:
        self.engine = engine
        self._runner = asyncio.Runner()
        self.run(engine.start())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def close(self) -> None:
        self.run(self.engine.close())
        self._runner.close()

    def prompt(self, text: str = QUESTION) -> list[int]:
        return self.run(self.engine.tokenize(text, special=True))

    def say(self, sampling: Sampling, prompt: Sequence[int] | None = None) -> list[Piece]:
        return self.run(pieces_of(self.engine, self.prompt() if prompt is None else prompt, sampling))


async def pieces_of(engine: OpenVINO, prompt: Sequence[int], sampling: Sampling, *, batch: bool = False) -> list[Piece]:
    async with aclosing(engine.generate(prompt, sampling, None, batch=batch)) as pieces:
        return [piece async for piece in pieces]


def text_of(pieces: Sequence[Piece]) -> str:
    return "".join([piece.text for piece in pieces])


def unstarted(file: Path, **settings: Any) -> OpenVINO:
    return OpenVINO(file, **{"context_length": 512, "parallel": 2, "threads": 1, "queue": 1, **settings})


@pytest.fixture(scope="module")
def openvino(smollm2_file: Path) -> Iterator[Started]:
    started = Started(unstarted(smollm2_file))
    yield started
    started.close()


def test_it_answers_and_stops_by_itself(openvino: Started) -> None:
    pieces = openvino.say(GREEDY)
    assert text_of(pieces) == "The capital of France is Paris."
    assert pieces[-1].finish == "stop"
    assert pieces[-1].completion_tokens == 8  # the end-of-text token is counted, as llama.cpp does
    assert [piece.finish for piece in pieces[:-1]] == [None] * (len(pieces) - 1)


def test_tokens_and_card_are_llama_cpps(openvino: Started, smollm2_file: Path) -> None:
    async def both() -> None:
        llama = LlamaCpp(smollm2_file, context_length=512, parallel=1, threads=1)
        await llama.start()
        try:
            for text in TEXTS:
                for special in (True, False):
                    tokens = await openvino.engine.tokenize(text, special=special)
                    assert tokens == await llama.tokenize(text, special=special), (text[:50], special)
                    assert await openvino.engine.detokenize(tokens) == await llama.detokenize(tokens) == text
            mine, other = openvino.engine.card, llama.card
            for name in ("context_length", "chat_template", "bos", "eos", "add_bos", "default_answer"):
                assert getattr(mine, name) == getattr(other, name), name
            assert mine.identity != other.identity
        finally:
            await llama.close()

    openvino.run(both())


@pytest.mark.parametrize("most", [1, 2, 25])
def test_max_tokens_is_exact(openvino: Started, most: int) -> None:
    pieces = openvino.say(Sampling(max_tokens=most, ignore_eos=True))
    assert (pieces[-1].finish, pieces[-1].completion_tokens) == ("length", most)


def test_a_stop_text_is_not_part_of_the_answer(openvino: Started) -> None:
    pieces = openvino.say(Sampling(max_tokens=30, temperature=0.0, stop=("nowhere", "France is")))
    assert (text_of(pieces), pieces[-1].finish) == ("The capital of ", "stop")
    assert pieces[-1].completion_tokens == 5


def test_each_request_has_its_own_luck(openvino: Started) -> None:
    prompt = openvino.prompt("<|im_start|>user\nWrite a poem.<|im_end|>\n<|im_start|>assistant\n")
    texts = {text_of(openvino.say(Sampling(max_tokens=15, ignore_eos=True), prompt)) for _ in range(4)}
    assert len(texts) > 1


@pytest.mark.parametrize(
    "sampling", [Sampling(max_tokens=30, temperature=1e-30), Sampling(max_tokens=30, top_p=0.0)], ids=["cold", "top_p"]
)
def test_no_luck_is_greedy(openvino: Started, sampling: Sampling) -> None:
    assert text_of(openvino.say(sampling)) == "The capital of France is Paris."


def test_top_p_and_temperature_narrow_the_choice(openvino: Started) -> None:
    for sampling in (Sampling(max_tokens=30, top_p=0.01), Sampling(max_tokens=30, temperature=0.01)):
        assert text_of(openvino.say(sampling)) == "The capital of France is Paris."


def test_requests_run_together(openvino: Started) -> None:
    prompt = openvino.prompt()

    async def together() -> list[list[Piece]]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(pieces_of(openvino.engine, prompt, GREEDY)) for _ in range(3)]
        return [task.result() for task in tasks]

    assert {text_of(pieces) for pieces in openvino.run(together())} == {"The capital of France is Paris."}


def test_the_loop_goes_on_while_a_prompt_is_read(openvino: Started) -> None:
    prompt = openvino.prompt("word " * 450)

    async def ticks() -> int:
        reading = asyncio.ensure_future(pieces_of(openvino.engine, prompt, Sampling(max_tokens=1)))
        count = 0
        while not reading.done():
            await asyncio.sleep(0)
            count += 1
        await reading
        return count

    assert openvino.run(ticks()) > 100  # two steps of the pipeline, which would let it run twice


def test_whoever_leaves_makes_room_at_once(openvino: Started) -> None:
    prompt = openvino.prompt()

    async def leave() -> str:
        for _ in range(6):  # three times as many as there are places
            async with aclosing(openvino.engine.generate(prompt, ENDLESS, None)) as pieces:
                await anext(pieces)
        return text_of(await pieces_of(openvino.engine, prompt, GREEDY))

    assert openvino.run(leave()) == "The capital of France is Paris."


def test_a_full_queue_is_503(openvino: Started) -> None:
    prompt = openvino.prompt()

    async def crowd() -> None:
        others = [asyncio.ensure_future(pieces_of(openvino.engine, prompt, ENDLESS)) for _ in range(3)]
        await asyncio.sleep(0)  # two have a place and one waits
        with pytest.raises(Unavailable):
            await pieces_of(openvino.engine, prompt, ENDLESS)
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    openvino.run(crowd())


def test_lines_that_are_sent_back_go_on_where_they_were(openvino: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone they are more than there are places. Who asks gets one from them, and nothing that they have is lost."""
    engine, lines, most = openvino.engine, 2 * LINES, 150  # none has ended when somebody asks
    monkeypatch.setattr(admission, "LINGER", 0.0)
    openvino.say(GREEDY)  # the last request for which lines hold back
    story = openvino.prompt("<|im_start|>user\nTell a story.<|im_end|>\n<|im_start|>assistant\n")
    sampling = Sampling(max_tokens=most, temperature=0.0, ignore_eos=True)
    question = openvino.prompt()
    process: Any = engine._process
    tell, hear = process.tell, process._hear
    asked: list[dict[str, Any]] = []
    said: dict[int, list[int]] = {}
    begun = threading.Event()

    def tells(message: dict[str, Any]) -> None:
        asked.extend([message] if "add" in message else [])
        tell(message)

    def hears(message: dict[str, Any]) -> None:
        for number, tokens, _ in message.get("said", ()):
            said.setdefault(number, []).extend(tokens)
        hear(message)  # with the last of them the test ends
        if len(said) == lines and min(map(len, said.values())) >= 2:
            begun.set()

    monkeypatch.setattr(process, "tell", tells)
    monkeypatch.setattr(process, "_hear", hears)

    async def run() -> list[list[Piece]]:
        at_work = [asyncio.ensure_future(pieces_of(engine, story, sampling, batch=True)) for _ in range(lines)]
        await asyncio.to_thread(begun.wait, 30)
        assert engine.occupancy()[0][1:6] == (lines, lines, 0, lines, lines)
        assert text_of(await pieces_of(engine, question, GREEDY)) == "The capital of France is Paris."
        return await asyncio.gather(*at_work)

    answers = openvino.run(run())
    assert {(pieces[-1].finish, pieces[-1].completion_tokens) for pieces in answers} == {("length", most)}
    again = [message for message in asked[lines:] if message["prompt"] != question]
    assert len(again) == lines - 1, "one of them keeps its place"
    for message in again:
        before = message["prompt"][len(story) :]
        assert 0 < len(before) == most - message["most"]
        text = GrowingText(())
        whole = [text.add(engine._vocabulary.spoken(token)) for token in (*before, *said[message["add"]])]
        assert "".join([*whole, text.rest()]) in [text_of(pieces) for pieces in answers]


@pytest.mark.parametrize(
    ("sampling", "constraint", "refused"),
    [
        (Sampling(max_tokens=1), None, None),
        (Sampling(max_tokens=1, temperature=0.3, top_p=0.5, stop=("x",), ignore_eos=True), None, None),
        (Sampling(max_tokens=1, seed=0), None, "seed"),
        (Sampling(max_tokens=1, logit_bias={5: 1.0}), None, "logit_bias"),
        (Sampling(max_tokens=1, top_logprobs=0), None, "top_logprobs"),
        (Sampling(max_tokens=1, frequency_penalty=0.1), None, "frequency_penalty"),
        (Sampling(max_tokens=1, presence_penalty=-0.1), None, "presence_penalty"),
        (Sampling(max_tokens=1), JsonObject(), "response_format"),
        (Sampling(max_tokens=1), JsonSchema({"type": "object"}), "response_format"),
        (Sampling(max_tokens=1), ToolCalls({"f": {}}, required=True, parallel=False), "tools"),
    ],
)
def test_what_it_refuses(sampling: Sampling, constraint: Any, refused: str | None) -> None:
    assert unstarted(Path("nothing.gguf")).refuses(sampling, constraint) == refused


def test_scores_and_unknown_tokens_are_refused(openvino: Started) -> None:
    with pytest.raises(InvalidRequest) as refused:
        openvino.run(openvino.engine.score([1, 2], 0))
    assert refused.value.param == "logprobs"
    with pytest.raises(InvalidRequest):
        openvino.run(openvino.engine.detokenize([49152]))
    with pytest.raises(InvalidRequest):
        openvino.say(GREEDY, [-1])


def test_a_dead_process_is_replaced(openvino: Started, smollm2_file: Path) -> None:
    prompt = openvino.prompt()

    async def die() -> str:
        async with aclosing(openvino.engine.generate(prompt, ENDLESS, None)) as pieces:
            await anext(pieces)
            process: Any = openvino.engine._process
            process._child.kill()
            with pytest.raises(HomeportError):
                async for _ in pieces:
                    pass
        return text_of(await pieces_of(openvino.engine, prompt, GREEDY))

    def memory() -> int:
        return openvino.engine.occupancy()[0].memory_bytes or 0

    before = memory()
    assert before > smollm2_file.stat().st_size
    assert openvino.run(die()) == "The capital of France is Paris."
    assert memory() > before / 2, "of the process that is there now"


def test_files_that_it_cannot_run(tmp_path: Path) -> None:
    noise, foreign = tmp_path / "noise.gguf", tmp_path / "foreign.gguf"
    noise.write_bytes(b"no model")
    foreign.write_bytes(_gguf({"general.architecture": "mamba"}))
    with pytest.raises(SettingsError):
        asyncio.run(unstarted(noise).start())
    with pytest.raises(ModelNotReady, match="'mamba'"):
        asyncio.run(unstarted(foreign).start())


def test_a_tokenizer_that_it_would_get_wrong(tmp_path: Path) -> None:
    file = tmp_path / "llama2.gguf"
    file.write_bytes(_gguf({"general.architecture": "llama", "tokenizer.ggml.model": "llama"}))
    with pytest.raises(ModelNotReady, match="tokenizer 'llama'"):
        asyncio.run(unstarted(file).start())


def test_its_telemetry_is_not_loaded() -> None:
    program = (
        "import sys; from homeport.backends.engines.openvino_worker import forbid_telemetry; forbid_telemetry(); "
        "import openvino_genai; "
        "print(sys.modules['openvino_telemetry'], 'openvino.tools.ovc.telemetry_stub' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "None True\n"


@pytest.mark.parametrize(
    ("stops", "parts", "said", "rest"),
    [
        ((), [b"caf", b"\xc3", b"\xa9!"], ["caf", "", "é!"], ""),
        ((), [b"a", b"\xf0\x9f"], ["a", ""], ""),
        (("END",), [b"an E", b"N", b"D."], ["an ", "", ""], ""),
        (("END",), [b"an E", b"N", b"T"], ["an ", "", "ENT"], ""),
        (("END",), [b"an EN"], ["an "], "EN"),
        (("bc", "abcd"), [b"xa", b"bc"], ["x", "a"], ""),
    ],
)
def test_growing_text(stops: tuple[str, ...], parts: list[bytes], said: list[str], rest: str) -> None:
    text = GrowingText(stops)
    assert [text.add(part) for part in parts] == said
    if not text.stopped:
        assert text.rest() == rest


def _gguf(texts: dict[str, str]) -> bytes:
    """A GGUF header with these texts and no tensors."""

    def packed(text: str) -> bytes:
        return struct.pack("<Q", len(text.encode())) + text.encode()

    entries = [packed(key) + struct.pack("<I", 8) + packed(value) for key, value in texts.items()]
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(entries)) + b"".join(entries)
