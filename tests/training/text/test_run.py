"""A training run, begun as Homeport begins it: what comes out, and what becomes of it when it is struck on the way."""

import fcntl
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from homeport.training.text import __main__ as command
from homeport.training.text import device, generate, lora, network
from homeport.training.text.__main__ import main
from homeport.training.text.events import Events
from homeport.training.text.job import Began, Checkpoint, Ended, Event, Example, Pair, Step
from homeport.training.text.network import Model
from tests.training.text import folders, tiny

#: Of a trainer's life until it is struck, at most: pieces, events, files. A whole run has about 150.
_MOMENTS = 25
#: Of weights: what this machine's processor has instructions for.
PRECISION = str(device.precision(torch.device("cpu"))).removeprefix("torch.")


def test_it_learns_what_examples_show(tmp_path: Path) -> None:
    """And answers what it has not seen, with the adapter that it wrote."""
    folder = folders.write(tmp_path / "job", folders.examples(60), folders.examples(20, seed=1), n_epochs=8, lora_r=8)
    assert main([str(folder)]) == 0

    began, *middle, ended = folders.events(folder)
    steps = [event for event in middle if isinstance(event, Step)]
    assert began == Began(0, 120, "cpu", PRECISION, began.parameters if isinstance(began, Began) else 0)
    assert [step.step for step in steps] == list(range(1, 121))
    assert sum(step.tokens for step in steps) == 8 * sum(len(example.tokens) for example in folders.examples(60))
    assert [step.step for step in steps if step.valid_loss is not None] == [*range(1, 120, 12), 120]
    checkpoints = [event for event in middle if isinstance(event, Checkpoint)]
    assert [(one.step, one.epoch, one.file) for one in checkpoints] == [
        (90, 6, "checkpoint-90.gguf"),
        (105, 7, "checkpoint-105.gguf"),
        (120, 8, "checkpoint-120.gguf"),
    ]
    assert steps[0].loss > 3
    assert steps[0].valid_loss is not None
    assert steps[0].valid_loss > 3
    assert checkpoints[-1].full_valid_loss is not None
    assert checkpoints[-1].full_valid_loss < 0.3
    assert checkpoints[-1].full_valid_accuracy is not None
    assert checkpoints[-1].full_valid_accuracy > 0.95
    assert isinstance(ended, Ended)
    assert (ended.how, ended.step, ended.why) == ("succeeded", 120, None)
    assert ended.peak_bytes > 2**20
    assert (folder / "adapter.gguf").read_bytes() == (folder / "checkpoint-120.gguf").read_bytes()

    model = network.load(folder / "base.gguf")
    unseen = folders.examples(20, seed=2)
    assert answered(model, unseen) == 0
    lora.start(model, folder / "adapter.gguf")
    assert answered(model, unseen) >= 19


def test_it_takes_on_what_is_preferred(tmp_path: Path) -> None:
    """Not only is the other one less likely: it says it."""
    folder = folders.write(tmp_path / "job", folders.pairs(40), folders.pairs(10, seed=1))
    assert main([str(folder)]) == 0

    steps = folders.steps(folder)
    assert steps[0].margin == pytest.approx(0, abs=1e-6)
    assert steps[-1].margin is not None
    assert steps[-1].margin > 1
    assert steps[-1].loss < steps[0].loss / 2
    assert steps[-1].valid_accuracy == 1
    model = network.load(folder / "base.gguf")
    unseen = [pair.preferred for pair in folders.pairs(20, seed=2)]
    assert answered(model, unseen) == 0
    lora.start(model, folder / "adapter.gguf")
    assert answered(model, unseen) >= 19


@pytest.mark.parametrize(
    ("items", "seconds"), [(folders.examples(30), 0), (folders.pairs(30), 0.1)], ids=["supervised", "dpo"]
)
def test_struck_at_random_moments_it_ends_with_the_same_adapter(
    items: Sequence[Example | Pair], seconds: float, tmp_path: Path
) -> None:
    """seconds: between states."""
    held_out = folders.examples(9, seed=1) if isinstance(items[0], Example) else folders.pairs(9, seed=1)
    undisturbed = folders.write(tmp_path / "undisturbed", items, held_out)
    assert main([str(undisturbed)]) == 0
    chance = random.Random(3)
    blows = [f"{chance.choice(('KILL', 'KILL', 'USR1'))}@{chance.randrange(1, _MOMENTS)}" for _ in range(8)]
    folder = folders.write(tmp_path / "struck", items, held_out)
    statuses = blown(folder, seconds, *blows, "-")

    assert statuses[-1] == 0
    assert statuses.count(-signal.SIGKILL) >= 3
    for name in ("adapter.gguf", "checkpoint-8.gguf", "state", "reference"):
        if (undisturbed / name).exists():
            assert (folder / name).read_bytes() == (undisturbed / name).read_bytes(), name
    assert folders.steps(folder) == folders.steps(undisturbed)
    assert checkpoints(folder) == checkpoints(undisturbed)
    assert len([event for event in folders.events(folder) if isinstance(event, Began)]) > 3


def test_what_was_lost_is_said_again(tmp_path: Path) -> None:
    """Of a run that had written no state when it was killed, in the middle of a line."""
    folder = folders.write(tmp_path / "job", folders.examples(20))
    assert blown(folder, 1000, "KILL@13") == [-signal.SIGKILL]
    before = folders.events(folder)
    with (folder / "events.jsonl").open("ab") as file:
        file.write(b'{"event":"step","st')
    assert main([str(folder)]) == 0

    events = folders.events(folder)
    assert events[: len(before)] == before
    assert [event.at for event in events if isinstance(event, Began)] == [0, 0]
    steps = [msgspec.structs.replace(event, seconds=0) for event in events if isinstance(event, Step)]
    lost = [step for step in steps if steps.count(step) > 1]
    assert len(lost) >= 4
    assert [step.step for step in steps] == [*range(1, len(lost) // 2 + 1), *range(1, 16)]


def test_a_run_that_has_ended_says_so_again(tmp_path: Path) -> None:
    folder = folders.write(tmp_path / "job", folders.examples(10), n_epochs=1)
    assert main([str(folder)]) == 0
    adapter = (folder / "adapter.gguf").read_bytes()
    (folder / "adapter.gguf").unlink()
    assert main([str(folder)]) == 0
    assert (folder / "adapter.gguf").read_bytes() == adapter
    began, ended = folders.events(folder)[-2:]
    assert isinstance(began, Began)
    assert began.at == 3
    assert isinstance(ended, Ended)
    assert (ended.how, ended.step) == ("succeeded", 3)


@pytest.mark.parametrize(
    ("number", "how"), [(signal.SIGUSR1, "paused"), (signal.SIGINT, "paused"), (signal.SIGTERM, "cancelled")]
)
def test_it_is_asked_to_end(number: int, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the next piece of a step."""
    folder = folders.write(tmp_path / "job", folders.examples(20))
    before = signal.getsignal(number)
    with monkeypatch.context() as patched:
        struck(patched, number, step=4)
        assert main([str(folder)]) == 0
    ended = folders.events(folder)[-1]
    assert isinstance(ended, Ended)
    assert (ended.how, ended.step) == (how, 4)
    assert (folder / "state").exists() == (how == "paused")
    assert signal.getsignal(number) is before


def test_it_goes_on_from_another_adapter(tmp_path: Path) -> None:
    first = folders.write(tmp_path / "first", folders.examples(40))
    assert main([str(first)]) == 0
    second = folders.write(tmp_path / "second", folders.examples(10, seed=1), n_epochs=1, lora_r=64, learning_rate=1e-4)
    (second / "start.gguf").write_bytes((first / "adapter.gguf").read_bytes())
    assert main([str(second)]) == 0
    assert folders.steps(first)[0].loss > 10
    assert folders.steps(second)[0].loss < 2
    assert (second / "adapter.gguf").stat().st_size == (first / "adapter.gguf").stat().st_size


def test_a_run_goes_on_with_the_adapter_that_it_has_whatever_is_wanted_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folders.write(tmp_path / "job", folders.examples(20), lora_r=4)
    with monkeypatch.context() as patched:
        struck(patched, signal.SIGUSR1, step=4)
        assert main([str(folder)]) == 0
    job = msgspec.json.decode((folder / "job.json").read_bytes())
    (folder / "job.json").write_bytes(msgspec.json.encode(job | {"lora_r": 32, "lora_alpha": 64}))
    assert main([str(folder)]) == 0
    assert [event.at for event in folders.events(folder) if isinstance(event, Began)] == [0, 4]
    made = lora.start(network.load(folder / "base.gguf"), folder / "adapter.gguf")
    assert (made.rank, made.alpha) == (4, 8)


def test_it_ends_with_the_process_that_began_it(tmp_path: Path) -> None:
    """Which had no time to say anything: the state is written, and nothing is said."""
    folder = folders.write(tmp_path / "job", folders.examples(60), n_epochs=50, batch_size=1)
    trainer = [sys.executable, "-m", "homeport.training.text", str(folder), "--save-every", "1000"]
    begin = "import subprocess, sys; sys.exit(subprocess.Popen(sys.argv[1:], process_group=0).wait())"
    parent = subprocess.Popen([sys.executable, "-c", begin, *trainer], env=environment())
    await_line(folder / "events.jsonl", b'"step"', parent)
    parent.kill()
    parent.wait()
    with (folder / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until it has ended

    assert not any(isinstance(event, Ended) for event in folders.events(folder))
    assert (folder / "state").exists()


def test_nobody_else_trains_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folders.write(tmp_path / "job", folders.examples(10))
    monkeypatch.setattr(command, "_LOCK_SECONDS", 0.0)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main([str(folder)]) == 2
    assert "Another trainer works in" in capsys.readouterr().err
    assert not (folder / "events.jsonl").exists()
    assert main([str(folder)]) == 0


def test_a_rate_that_is_much_too_high_is_said(tmp_path: Path) -> None:
    folder = folders.write(tmp_path / "job", folders.examples(20), learning_rate=1e30)
    assert main([str(folder)]) == 1
    ended = folders.events(folder)[-1]
    assert isinstance(ended, Ended)
    assert ended.how == "failed"
    assert ended.why is not None
    assert "Lower `learning_rate_multiplier`" in ended.why


def test_with_less_memory_it_takes_smaller_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enough = folders.write(tmp_path / "enough", folders.examples(40), batch_size=16, n_epochs=1)
    assert main([str(enough)]) == 0
    little(monkeypatch, tokens=100)
    short = folders.write(tmp_path / "short", folders.examples(40), batch_size=16, n_epochs=1)
    assert main([str(short)]) == 0
    for one, other in zip(folders.steps(enough), folders.steps(short), strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-3)


def test_with_much_too_little_memory_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    little(monkeypatch, tokens=3)
    folder = folders.write(tmp_path / "job", folders.examples(20))
    assert main([str(folder)]) == 1
    ended = folders.events(folder)[-1]
    assert isinstance(ended, Ended)
    assert ended.why is not None
    assert "not enough memory" in ended.why


def test_a_model_that_cannot_be_trained_is_said(tmp_path: Path) -> None:
    folder = folders.write(tmp_path / "job", folders.examples(20))
    tiny.write(folder / "base.gguf", header={"expert_count": 8})
    assert main([str(folder)]) == 1
    ended = folders.events(folder)[-1]
    assert isinstance(ended, Ended)
    assert ended.why == "The model cannot be trained: it is a mixture of experts."


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("job.json", None, "job.json: No such file"),
        ("job.json", b"{}", "missing required field `base`"),
        ("job.json", b"nonsense", "job.json: JSON is malformed"),
        ("training.jsonl", None, "There is no training.jsonl"),
        ("training.jsonl", b"", "training.jsonl has no examples"),
        ("training.jsonl", b'{"tokens":[1,2],"learnt":[[1,2]]}\n{"tokens":[1]}', "training.jsonl, line 2: "),
        ("training.jsonl", b'{"tokens":[1,2],"learnt":[]}', "line 1: nothing of it is to be learnt"),
        ("training.jsonl", b'{"tokens":[1,2],"learnt":[[0,1]]}', "without the first"),
        ("training.jsonl", b'{"tokens":[1,2],"learnt":[[1,3]]}', "spans of its tokens"),
        ("training.jsonl", b'{"tokens":[1,2,3],"learnt":[[2,3],[1,2]]}', "in order"),
        ("training.jsonl", b'{"tokens":[1,288],"learnt":[[1,2]]}', "the model has 288 tokens"),
        ("training.jsonl", b'{"tokens":[1,-1],"learnt":[[1,2]]}', "the model has 288 tokens"),
        ("validation.jsonl", b'{"tokens":[1,2],"learnt":[[0,1]]}', "validation.jsonl, line 1"),
        ("base.gguf", None, "base: No such file"),
        ("state", b"\x08\0\0\0\0\0\0\0nonsense", "state is not what this program writes"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(
    name: str, content: bytes | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folders.write(tmp_path / "job", folders.examples(10))
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    assert main([str(folder)]) == 2
    assert told in capsys.readouterr().err


def test_a_state_of_another_run_is_not_gone_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = folders.write(tmp_path / "ended", folders.examples(20))
    assert main([str(ended)]) == 0
    for name, told, other in (
        ("fewer", "other examples", {"training": folders.examples(19)}),
        ("shorter", "other hyperparameters", {"training": folders.examples(20), "n_epochs": 1}),
    ):
        folder = folders.write(tmp_path / name, **other)
        (folder / "state").write_bytes((ended / "state").read_bytes())
        assert main([str(folder)]) == 2
        assert told in capsys.readouterr().err


def test_a_graphics_card_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    folder = folders.write(tmp_path / "job", folders.examples(10), device="cuda")
    assert main([str(folder)]) == 2
    assert "PyTorch finds none here" in capsys.readouterr().err


def test_no_folder_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "is no folder" in capsys.readouterr().err


def test_whoever_looks_on_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folders.write(tmp_path / "job", folders.examples(10), folders.examples(3, seed=1), n_epochs=1)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main([str(folder)]) == 0
    told = capsys.readouterr().err
    for part in (
        f"{PRECISION} on cpu",
        "step 1/3  loss ",
        "  held out ",
        "epoch 1: checkpoint-3.gguf",
        "succeeded at step 3",
    ):
        assert part in told


def answered(model: Model, unseen: Sequence[Example]) -> int:
    """How many of them it gives the answer to, to the token."""
    right = 0
    for example in unseen:
        ((start, end),) = example.learnt
        said = generate.greedy(model, example.tokens[:start], 6, ends=(tiny.END,))
        right += said == example.tokens[start : end - 1]
    return right


def checkpoints(folder: Path) -> dict[int, Checkpoint]:
    return {event.step: event for event in folders.events(folder) if isinstance(event, Checkpoint)}


def blown(folder: Path, seconds: float, *blows: str) -> list[int]:
    """Statuses of trainers, one after the other: killed.py."""
    made = subprocess.run(
        [sys.executable, "-m", "tests.training.text.killed", str(folder), str(seconds), *blows],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=environment(),
    )
    return [int(line) for line in made.stdout.split()]


def struck(monkeypatch: pytest.MonkeyPatch, number: int, *, step: int) -> None:
    """It gets a signal when it has said that it took this step."""
    say = Events.say

    def then(events: Events, event: Event) -> None:
        say(events, event)
        if isinstance(event, Step) and event.step == step:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(Events, "say", then)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}


def await_line(file: Path, part: bytes, process: "subprocess.Popen[bytes]") -> None:
    while not (file.exists() and part in file.read_bytes()):
        assert process.poll() is None
        time.sleep(0.02)


def little(monkeypatch: pytest.MonkeyPatch, *, tokens: int) -> None:
    """Memory for so many."""
    there = Model.__call__

    def call(model: Model, given: Any, *arguments: Any, **named: Any) -> Any:
        if len(given) > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return there(model, given, *arguments, **named)

    monkeypatch.setattr(Model, "__call__", call)
