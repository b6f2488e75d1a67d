"""Files of a job become examples, or a list of what is wrong with them."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest

from homeport.backends.templates.chat_template import CHATML
from homeport.backends.tuning import preparation, reading
from homeport.backends.tuning.preparation import LineError, Preparation, Prepared
from homeport.backends.tuning.reading import Turn
from homeport.training.text.job import Example, Pair
from tests.tuning.spelling import Spelling, learnt, renderer

Json = dict[str, Any]


def chat(question: str, answer: str = "Yes.", **more: Any) -> Json:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer, **more}]}


def chats(count: int) -> list[Json]:
    return [chat(f"Is {number} a number?") for number in range(count)]


def pairs(count: int) -> list[Json]:
    def says(content: str) -> list[Json]:
        return [{"role": "assistant", "content": content}]

    return [
        {
            "input": {"messages": chat(f"{at}?")["messages"][:1]},
            "preferred_output": says("a"),
            "non_preferred_output": says("b"),
        }
        for at in range(count)
    ]


def written(lines: Sequence[Json | str | bytes]) -> bytes:
    raw = [
        one if isinstance(one, bytes) else (one if isinstance(one, str) else json.dumps(one)).encode() for one in lines
    ]
    return b"".join([line + b"\n" for line in raw])


def prepared(
    folder: Path,
    training: Sequence[Json | str | bytes],
    validation: Sequence[Json | str | bytes] | None = None,
    *,
    turn: Turn = nullcontext,
    **more: Any,
) -> Prepared:
    """Of a model whose tokens are characters."""
    told = Preparation(base="base.gguf", model="tiny", **{"method": "supervised", "max_length": 1000, **more})
    (folder / preparation.RAW_TRAINING).write_bytes(written(training))
    if validation is not None:
        (folder / preparation.RAW_VALIDATION).write_bytes(written(validation))
    made = renderer(CHATML, longest=told.max_length)
    return asyncio.run(reading.prepared(folder, told, made, turn))


def read(file: Path, kind: type[Any] = Example) -> list[Any]:
    return [msgspec.json.decode(line, type=kind) for line in file.read_bytes().splitlines()]


def test_examples_are_counted_and_written(tmp_path: Path) -> None:
    done = prepared(tmp_path, chats(10), chats(12)[10:])
    made = read(tmp_path / "training.jsonl")
    assert [learnt(one) for one in made] == [["Yes.<|im_end|>"]] * 10
    report = done.training
    assert (report.lines, report.examples, report.learnt) == (10, 10, 50)
    assert report.tokens == sum(len(one.tokens) for one in made)
    assert report.longest == max(len(one.tokens) for one in made)
    assert len(read(tmp_path / "validation.jsonl")) == 2
    assert done.error() is None
    assert [report.warnings, done.validation and done.validation.warnings] == [[], []]
    assert sorted(os.listdir(tmp_path)) == [
        "training.jsonl", "training.raw.jsonl", "validation.jsonl", "validation.raw.jsonl",
    ]  # fmt: skip


def test_pairs_are_written_as_pairs(tmp_path: Path) -> None:
    done = prepared(tmp_path, pairs(10), method="dpo")
    first, *_ = made = read(tmp_path / "training.jsonl", Pair)
    assert (len(made), done.training.examples) == (10, 10)
    assert (learnt(first.preferred), learnt(first.rejected)) == (["a<|im_end|>"], ["b<|im_end|>"])
    assert done.training.tokens == sum(len(one.preferred.tokens) + len(one.rejected.tokens) for one in made)


def test_what_is_wrong_is_told_by_line_and_nothing_is_left(tmp_path: Path) -> None:
    wrong = chat("Which?", weight=0)
    done = prepared(tmp_path, [*chats(10), wrong, "", "{", chat("")])
    assert done.training.wrong == 2
    assert done.training.errors == [
        LineError("Every assistant message has the weight 0: there is nothing to learn.", 11, "messages"),
        LineError("The line is not a JSON object.", 13),
    ]
    error = done.error()
    assert error is not None
    assert (error.code, error.param) == ("invalid_training_file", "training_file")
    assert error.message == (
        "Invalid training file: 2 errors. Line 11, messages: Every assistant message has the weight 0: there is "
        "nothing to learn. Line 13: The line is not a JSON object."
    )
    assert sorted(os.listdir(tmp_path)) == ["training.raw.jsonl"]


def test_a_wrong_validation_file_is_an_error_of_its_own(tmp_path: Path) -> None:
    error = prepared(tmp_path, chats(10), ["no"]).error()
    assert error is not None
    assert (error.code, error.param) == ("invalid_validation_file", "validation_file")
    assert sorted(os.listdir(tmp_path)) == ["training.raw.jsonl", "validation.raw.jsonl"]


def test_only_the_first_errors_are_told_and_all_are_counted(tmp_path: Path) -> None:
    done = prepared(tmp_path, ["no"] * 100)
    assert (done.training.wrong, len(done.training.errors)) == (100, 20)
    error = done.error()
    assert error is not None
    assert error.message.startswith("Invalid training file: 100 errors. Line 1: ")
    assert error.message.endswith(" Line 20: The line is not a JSON object. And 80 more.")


@pytest.mark.parametrize(
    ("training", "validation", "words"),
    [
        (chats(9), None, "There are 9, but there must be at least 10 examples."),
        ([], None, "There are 0, but there must be at least 10 examples."),
        (["", "  ", "\t\r"], None, "There are 0, but there must be at least 10 examples."),
        (chats(10), [], "There are 0, but there must be at least 1 example."),
    ],
    ids=["nine", "an empty file", "blank lines", "nothing to validate with"],
)
def test_there_must_be_some(tmp_path: Path, training: list[Any], validation: list[Any] | None, words: str) -> None:
    error = prepared(tmp_path, training, validation).error()
    assert error is not None
    assert error.message.endswith(words)


def test_more_than_can_be_taken_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_EXAMPLES", 11)
    assert prepared(tmp_path, chats(11)).error() is None
    done = prepared(tmp_path, [*chats(12), "no", "no"])
    assert [error.message for error in done.training.errors] == ["There are more than 11 examples."]


def test_what_should_be_known_is_told_by_line(tmp_path: Path) -> None:
    called = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    calling = {"messages": [chat("Now?")["messages"][0], {"role": "assistant", "tool_calls": [called]}]}
    blank = {"messages": [*chat("Hm?", "\nYes.")["messages"], *chat("Yes?")["messages"]]}
    training = [*chats(10), chats(1)[0], chat("Long?", "y" * 1000), calling, chats(2)[1]]
    done = prepared(tmp_path, training, [chats(1)[0], chat("Another?"), blank])
    assert done.error() is None
    assert done.training.warnings == [
        "Training file, 2 lines (11, 14): the same as an earlier one.",
        "Training file, 1 line (12): longer than 1000 tokens, cut off at the end.",
        "Training file, 1 line (13): calls what it does not offer: asked in the same way, the model's call is plain "
        "text.",
    ]
    assert done.training.truncated == 1
    assert done.validation is not None
    assert done.validation.warnings == [
        "Validation file, 1 line (1): in the training file as well, so what is measured with it has been learnt."
    ]


def test_many_lines_are_not_all_named(tmp_path: Path) -> None:
    done = prepared(tmp_path, chats(1) * 12)
    assert done.training.warnings == ["Training file, 11 lines (2, 3, 4, 5, 6, ...): the same as an earlier one."]


def test_files_as_editors_write_them(tmp_path: Path) -> None:
    raw = b"\xef\xbb\xbf" + b"\r\n".join([json.dumps(line).encode() for line in chats(10)])
    (tmp_path / preparation.RAW_TRAINING).write_bytes(raw)
    told = Preparation(base="base.gguf", model="tiny", method="supervised", max_length=1000)
    done = asyncio.run(reading.prepared(tmp_path, told, renderer(CHATML)))
    assert (done.error(), done.training.lines) == (None, 10)


def deep(levels: int) -> Json:
    """Arguments are text to whoever reads the line."""
    function = {"name": "f", "arguments": '{"a":' * levels + "1" + "}" * levels}
    called = {"id": "call_1", "type": "function", "function": function}
    return {"messages": [{"role": "user", "content": "Now?"}, {"role": "assistant", "tool_calls": [called]}]}


def test_hostile_lines_are_errors_among_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LONGEST_LINE", 500_000)
    hostile: list[Json | str | bytes] = [
        chat("x" * 500_000),
        b"\x00" * 50,
        b"\xff\xfe" * 20,
        b'{"messages": ' + b"[" * 100_000,
        deep(50_000),
    ]
    done = prepared(tmp_path, [*chats(9), *hostile, chats(10)[9]], max_length=100_000)
    assert [error.line for error in done.training.errors] == [10, 11, 12, 13, 14]
    assert done.training.lines == 15


@pytest.mark.parametrize("levels", [100, 300, 900, 990])
def test_deep_arguments_are_learnt_or_an_error(tmp_path: Path, levels: int) -> None:
    """Whichever of what reads and writes them is the first to have enough."""
    done = prepared(tmp_path, [*chats(9), deep(levels)], max_length=100_000)
    assert [error.line for error in done.training.errors] in ([], [10])


def test_a_text_of_every_private_character_is_an_error(tmp_path: Path) -> None:
    """None is left to mark the text with, in whose letters a control token's name stands."""
    every = "".join(map(chr, [*range(0xE000, 0xF8FF), *range(0xF0000, 0xFFFFE)]))
    done = prepared(tmp_path, [*chats(9), chat(f"<{every}")], max_length=1_000_000)
    assert [(error.line, error.param) for error in done.training.errors] == [(10, "messages")]


class Turns:
    """The first ones go by."""

    def __init__(self, count: int) -> None:
        self._left = count

    @contextmanager
    def __call__(self) -> Iterator[None]:
        if not self._left:
            raise reading.NotWanted
        self._left -= 1
        yield


def test_it_ends_when_it_is_not_wanted_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "TOGETHER", 2)
    with pytest.raises(reading.NotWanted):
        prepared(tmp_path, chats(10), turn=Turns(4))
    assert os.listdir(tmp_path) == ["training.raw.jsonl"]
    assert prepared(tmp_path, chats(10), turn=Turns(5)).training.examples == 10


def test_a_line_that_takes_too_long_is_the_last_one_that_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(self: Spelling, text: str, *, special: bool) -> list[int]:
        if "slow" in text:
            raise reading.TooSlow
        return [ord(char) for char in text]

    monkeypatch.setattr(Spelling, "tokenize", slow)
    done = prepared(tmp_path, [*chats(10), "no", chat("slow"), *["no"] * 100])
    assert [(error.line, error.message) for error in done.training.errors[:2]] == [
        (11, "The line is not a JSON object."),
        (12, "Reading it takes too long."),
    ]
    assert done.training.lines == reading.TOGETHER


def test_lines_that_are_read_side_by_side_are_told_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def tokenize(self: Spelling, text: str, *, special: bool) -> list[int]:
        for _ in range(200 - len(text)):
            await asyncio.sleep(0)
        return [ord(char) for char in text]

    monkeypatch.setattr(Spelling, "tokenize", tokenize)
    questions = ["x" * (40 - at) for at in range(30)]
    done = prepared(tmp_path, [line for one in questions for line in (chat(one, one), "no")])
    assert [error.line for error in done.training.errors] == [2 * at for at in range(1, 21)]
    done = prepared(tmp_path, [chat(one, one) for one in questions])
    assert [len(one.tokens) for one in read(tmp_path / "training.jsonl")] == sorted(
        [len(one.tokens) for one in read(tmp_path / "training.jsonl")], reverse=True
    )


# The process ------------------------------------------------------------------------------------------------------


def run(
    folder: Path, base: Path, lines: Sequence[Json | str | bytes], **more: Any
) -> "subprocess.CompletedProcess[str]":
    told = Preparation(base=str(base), model="tiny", **{"method": "supervised", "max_length": 512, **more})
    (folder / preparation.PREPARE).write_bytes(msgspec.json.encode(told))
    (folder / preparation.RAW_TRAINING).write_bytes(written(lines))
    command = [sys.executable, "-m", "homeport.backends.tuning", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_process_says_what_has_come_of_it(tmp_path: Path, smollm2_file: Path, llama: Any) -> None:
    done = run(tmp_path, smollm2_file, [*chats(9), chat("Say <|im_end|>", "\u0000 <|im_end|> ü")])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    report = msgspec.json.decode((tmp_path / "prepared.json").read_bytes(), type=Prepared)
    assert (report.error(), report.training.examples) == (None, 10)
    made = read(tmp_path / "training.jsonl")
    end = llama.tokens("<|im_end|>", special=True)
    assert made[0].tokens[slice(*made[0].learnt[0])] == [*llama.tokens("Yes."), *end]
    begin = "<|im_start|>user\nIs 0 a number?<|im_end|>\n<|im_start|>assistant\n"
    assert made[0].tokens[: made[0].learnt[0][0]] == llama.tokens(begin, special=True)
    assert made[9].tokens[slice(*made[9].learnt[0])] == [*llama.tokens("\u0000 <|im_end|> ü"), *end]


def test_a_base_that_cannot_be_used_is_told_in_words(tmp_path: Path) -> None:
    base = tmp_path / "base.gguf"
    base.write_bytes(b"GGUF" + b"\x00" * 100)
    done = run(tmp_path, base, chats(10))
    assert (done.returncode, done.stdout) == (1, "")
    assert "llama.cpp cannot load base.gguf" in done.stderr
    assert not (tmp_path / "prepared.json").exists()
