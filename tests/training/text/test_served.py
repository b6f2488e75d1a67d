"""A real model, of eight bits: what is trained is what is served, and what differs is rounding alone.

llama.cpp rounds what goes into a matrix of eight bits to eight bits, too (by a hundredth), and the trainer does not.
Where two tokens are about as likely, one may choose the other: most often with an untrained model's free texts, as
here, seldom where something was learnt. That it is rounding is shown by the trainer rounding as well: it moves away
from itself as far as llama.cpp is. (Not to where llama.cpp is: what a last digit sends up instead of down in the first
layer has changed every rounding five layers on.) Of a model of 32 bits every number is the same: test_network.py.
"""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from homeport.training.text import export, network
from homeport.training.text.network import Model
from tests import model_files
from tests.training.text.learnt import shaken
from tests.training.text.served import Said, Served, served

QUESTIONS = ["What is the capital of France?", "Write a haiku about the sea.", "Explain gravity to a child."]
ANSWER = 16
#: Tokens that are compared, of those that might have come.
LIKELIEST = 20


@pytest.fixture(scope="module")
def model() -> Model:
    return network.load(model_files.smollm2())


@pytest.mark.parametrize("tuned", [False, True])
def test_the_trainer_would_say_what_is_served(
    model: Model, tuned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = tmp_path / "adapter.gguf" if tuned else None
    if adapter:
        export.write(adapter, shaken(model, rank=8, alpha=16.0, size=0.01))
    with served(model_files.smollm2(), adapter) as server:
        asked = [prompt(server, question) for question in QUESTIONS]
        said = [server.greedy(one, ANSWER, logprobs=LIKELIEST) for one in asked]
    exact = logprobs(model, asked, said)
    monkeypatch.setattr(functional, "linear", of_eight_bits)
    rounded = logprobs(model, asked, said)

    chosen = torch.tensor([token for one in said for token in one.tokens])[:, None]
    behind = exact.max(-1).values - exact.gather(-1, chosen)[:, 0]
    assert len(chosen) >= 32
    assert (behind == 0).float().mean() > 0.85
    assert behind.max() < 0.7
    rows = [row for one in said for row in one.logprobs]
    likeliest = torch.tensor([list(row) for row in rows])
    theirs = torch.tensor([list(row.values()) for row in rows])
    apart = (exact.gather(-1, likeliest) - theirs).abs().mean()
    by_rounding = (exact - rounded).gather(-1, likeliest).abs().mean()
    assert 0.5 < apart / by_rounding < 2


def prompt(server: Served, question: str) -> list[int]:
    return server.tokens(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n")


def logprobs(model: Model, asked: Sequence[list[int]], said: Sequence[Said]) -> Tensor:
    """The trainer's, of every token in the place of each that was said."""
    rows = [before + one.tokens for before, one in zip(asked, said, strict=True)]
    lengths = [len(row) for row in rows]
    with torch.no_grad():
        hidden = model(torch.tensor([*chain.from_iterable(rows)]), lengths).split(lengths)
        answers = [part[len(before) - 1 : -1] for part, before in zip(hidden, asked, strict=True)]
        return model.logits(torch.cat(answers)).log_softmax(-1)


def of_eight_bits(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """functional.linear as llama.cpp has it: of 32 numbers the largest becomes 127."""
    assert bias is None
    blocks = x.unflatten(-1, (-1, 32))
    scale = blocks.abs().amax(-1, keepdim=True) / 127
    whole = torch.where(scale > 0, blocks / scale, 0).round()
    return (whole * scale.half().float()).flatten(-2) @ weight.t()
