"""Gradients are what differences say; an adapter can be switched off, taken back, kept and gone on with."""

from pathlib import Path

import pytest
import torch

from homeport.training.text import export, lora, network
from homeport.training.text.architectures import Unsupported
from homeport.training.text.network import Model
from tests.training.text import tiny
from tests.training.text.learnt import shaken

TOKENS = [1, 60, 201, 17, 80, 44, 90, 3]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return network.load(tiny.write(tmp_path / "model.gguf", "qwen2"))


def loss(model: Model) -> torch.Tensor:
    logits = model.logits(model(torch.tensor(TOKENS[:-1]), [len(TOKENS) - 1]))
    return torch.nn.functional.cross_entropy(logits, torch.tensor(TOKENS[1:]))


def test_gradients_are_what_small_steps_show(model: Model) -> None:
    learning = shaken(model)
    loss(model).backward()
    random = torch.Generator().manual_seed(1)
    for matrix in learning.parameters():
        there = torch.randn(matrix.shape, generator=random)
        with torch.no_grad():
            matrix += 1e-3 * there
            up = float(loss(model))
            matrix -= 2e-3 * there
            down = float(loss(model))
            matrix += 1e-3 * there
        assert float((matrix.grad * there).sum()) == pytest.approx((up - down) / 2e-3, rel=1e-2, abs=1e-4)


def test_the_first_step_changes_nothing_and_the_same_seed_begins_the_same(model: Model) -> None:
    before = loss(model)
    states = [lora.new(model, rank=4, alpha=8, seed=seed).state_dict() for seed in (1, 1, 2)]
    assert torch.equal(loss(model), before)
    name = "blk.0.attn_q.weight.lora_a"
    assert torch.equal(states[0][name], states[1][name])
    assert not torch.equal(states[0][name], states[2][name])
    assert states[0][name].shape == (4, tiny.WIDTH)


def test_switched_off_it_is_the_base(model: Model) -> None:
    base = loss(model)
    learning = shaken(model)
    tuned = loss(model)
    assert not torch.equal(tuned, base)
    with learning.off():
        assert torch.equal(loss(model), base)
    with learning.reference():
        assert torch.equal(loss(model), base)
    assert torch.equal(loss(model), tuned)


def test_what_began_from_an_adapter_has_it_for_its_reference(model: Model, tmp_path: Path) -> None:
    base = loss(model)
    export.write(tmp_path / "start.gguf", shaken(model, rank=3, alpha=5.0))
    begun = loss(model)
    going_on = lora.start(model, tmp_path / "start.gguf")
    assert (going_on.rank, going_on.alpha) == (3, 5.0)
    assert torch.equal(loss(model), begun)
    with torch.no_grad():
        for matrix in going_on.parameters():
            matrix += 0.1
    learnt = loss(model)
    assert not torch.equal(learnt, begun)
    with going_on.reference():
        assert torch.equal(loss(model), begun)
    with going_on.off():
        assert torch.equal(loss(model), base)
    assert torch.equal(loss(model), learnt)


def test_a_state_is_a_copy_and_only_its_own_is_taken_back(model: Model) -> None:
    learning = shaken(model)
    kept, before = learning.state_dict(), loss(model)
    with torch.no_grad():
        for matrix in learning.parameters():
            matrix.zero_()
    assert not torch.equal(loss(model), before)
    learning.load_state_dict(kept)
    assert torch.equal(loss(model), before)
    with pytest.raises(ValueError, match="another adapter"):
        lora.new(model, rank=2, alpha=4, seed=0).load_state_dict(kept)


def test_another_models_adapter_is_no_beginning(model: Model, tmp_path: Path) -> None:
    other = network.load(tiny.write(tmp_path / "other.gguf", "llama"))
    export.write(tmp_path / "start.gguf", shaken(other))
    with pytest.raises(Unsupported, match="of another model"):
        lora.start(model, tmp_path / "start.gguf")
    tiny.write(tmp_path / "same.gguf", "qwen2")
    with pytest.raises(Unsupported, match="has nothing for 'blk.0.attn_q'"):
        lora.start(model, tmp_path / "same.gguf")
