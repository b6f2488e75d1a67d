"""The model is the one that llama.cpp serves; packed examples are what they are alone."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from homeport.training.text import export, network
from homeport.training.text.generate import greedy
from homeport.training.text.network import Model
from tests.training.text import tiny
from tests.training.text.learnt import shaken
from tests.training.text.served import Said, served

PROMPT = [1, 60, 201, 17, 80, 44, 90, 3, 250, 128, 31, 77, 78, 79, 5, 9, 260]
ANSWER = 16
ARCHITECTURES = list(tiny.ARCHITECTURES)
#: llama.cpp looks gelu up in a table of half precision.
TOLERANCE = {"gemma3": 3e-2}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {name: tiny.write(folder / f"{name}.gguf", name) for name in ARCHITECTURES}


def logprobs(model: Model, tokens: Sequence[int]) -> torch.Tensor:
    with torch.no_grad():
        return model.logits(model(torch.tensor(tokens), [len(tokens)])).log_softmax(-1)


def assert_same(model: Model, said: Said) -> None:
    """Every log-probability before every token of the answer, and so the answer."""
    ours = logprobs(model, [*PROMPT, *said.tokens[:-1]])[len(PROMPT) - 1 :]
    theirs = torch.tensor([[row[token] for token in range(tiny.VOCABULARY)] for row in said.logprobs])
    torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE.get(model.shape.architecture, 1e-4))
    assert greedy(model, PROMPT, ANSWER, ends=[tiny.END]) == [one for one in said.tokens if one != tiny.END]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_its_numbers_are_llama_cpps_with_an_adapter_and_without(
    files: dict[str, Path], architecture: str, tmp_path: Path
) -> None:
    file, adapter = files[architecture], tmp_path / "adapter.gguf"
    model = network.load(file)
    with served(file) as base:
        plain = base.greedy(PROMPT, ANSWER, logprobs=tiny.VOCABULARY)
    assert_same(model, plain)
    export.write(adapter, shaken(model))
    with served(file, adapter) as tuned:
        other = tuned.greedy(PROMPT, ANSWER, logprobs=tiny.VOCABULARY)
    assert_same(model, other)
    assert other.tokens != plain.tokens  # or nothing was shown


def test_a_stretched_context_is_llama_cpps(tmp_path: Path) -> None:
    stretched = {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}
    file = tiny.write(tmp_path / "model.gguf", "qwen3", header=stretched)
    with served(file) as base:
        said = base.greedy(PROMPT, ANSWER, logprobs=tiny.VOCABULARY)
    assert_same(network.load(file), said)
    with pytest.raises(AssertionError):
        assert_same(network.load(tiny.write(tmp_path / "other.gguf", "qwen3")), said)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_packed_examples_learn_what_they_learn_alone(files: dict[str, Path], architecture: str) -> None:
    model = network.load(files[architecture])
    learning = shaken(model)
    lengths = [5, 20, 20, 7, 20]
    random = torch.Generator().manual_seed(3)
    examples = [torch.randint(tiny.VOCABULARY, (length,), generator=random) for length in lengths]

    packed = model(torch.cat(examples), lengths)
    packed.square().sum().backward()
    of_packed = [one.grad for one in learning.parameters()]
    for one in learning.parameters():
        one.grad = None
    alone = [model(example, [len(example)]) for example in examples]
    sum(one.square().sum() for one in alone).backward()

    torch.testing.assert_close(packed, torch.cat(alone))
    for together, apart in zip(of_packed, learning.parameters(), strict=True):
        torch.testing.assert_close(together, apart.grad, rtol=1e-4, atol=1e-4)


def test_what_is_made_again_on_the_way_back_is_the_same(files: dict[str, Path]) -> None:
    model = network.load(files["gemma3"])
    learning = shaken(model)
    grads = []
    for recompute in (False, True):
        hidden = model(torch.tensor(PROMPT), [7, len(PROMPT) - 7], recompute=recompute)
        hidden.square().sum().backward()
        grads.append([one.grad for one in learning.parameters()])
        for one in learning.parameters():
            one.grad = None
    assert all(torch.equal(kept, again) for kept, again in zip(*grads, strict=True))


def test_half_the_bytes_say_nearly_the_same(files: dict[str, Path]) -> None:
    exact, short = (network.load(files["llama"], dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    shaken(exact), shaken(short)
    one, other = logprobs(exact, PROMPT), logprobs(short, PROMPT)
    assert other.dtype == torch.float32
    assert 0 < (one - other).abs().mean() < 0.1


def test_far_places_stay_apart_however_short_the_weights_are(files: dict[str, Path]) -> None:
    """bfloat16 cannot count past 256: what says where a token is has to be more exact than the weights."""
    model = network.load(files["llama"], dtype=torch.bfloat16)
    same = [7] * 400
    with torch.no_grad():
        hidden = model(torch.tensor([1, *same]), [401])
        long = network.load(files["llama"])(torch.tensor([1, *same]), [401])
    torch.testing.assert_close(hidden[-50:].float(), long[-50:], rtol=0.1, atol=0.1)
