"""What is gathered of a batch is what a plain implementation says: one example after the other, all logits at once."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from homeport.training.text import likelihood, lora, network
from homeport.training.text.job import Example
from homeport.training.text.learner import Learner
from homeport.training.text.lora import Lora
from homeport.training.text.methods import learn
from homeport.training.text.network import Model
from homeport.training.text.pieces import Pieces, packed
from homeport.training.text.preference import Compared, Preference
from homeport.training.text.stopping import Stop
from homeport.training.text.supervised import Supervised
from tests.training.text import folders, tiny
from tests.training.text.learnt import shaken


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return network.load(tiny.write(tmp_path_factory.mktemp("base") / "model.gguf", "llama"))


@pytest.fixture
def adapter(model: Model) -> Lora:
    return shaken(model)


#: Two spans, of which the first is learnt; and everything but the first token.
ODD = [Example([1, 5, 6, 7, 8, 9, 2], [(2, 4), (6, 7)]), Example([9, 8, 7], [(1, 3)])]


@pytest.mark.parametrize("tokens", [1, 13, 40, 10_000])
def test_a_batch_in_pieces_is_one_batch(
    tokens: int, model: Model, adapter: Lora, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it matter how many logits are there at a time."""
    monkeypatch.setattr(likelihood, "_AT_A_TIME", 3 * model.vocabulary)
    batch = [*folders.examples(7), *ODD]
    wanted = -torch.cat([said(model, example) for example in batch]).mean()
    expected = torch.autograd.grad(wanted, adapter.parameters())

    score = learn(Supervised(model), batch, Pieces(tokens, Stop()))

    assert score.loss == pytest.approx(wanted.item(), rel=1e-5)
    right = torch.cat([likeliest(model, example) == torch.tensor(targets(example)) for example in batch])
    assert score.accuracy == pytest.approx(float(right.float().mean()))
    assert_same(adapter, expected)


@pytest.mark.parametrize("tokens", [1, 60, 10_000])
def test_of_pairs_it_is_what_the_papers_say(tokens: int, model: Model, adapter: Lora) -> None:
    """-log sigmoid(beta * (difference of log ratios)) - log p(preferred) / length, mean over pairs."""
    beta = 0.3
    with torch.no_grad(), adapter.off():
        batch = [
            Compared(pair.preferred, pair.rejected, (of(model, pair.preferred).item(), of(model, pair.rejected).item()))
            for pair in folders.pairs(5)
        ]
    losses, margins = [], []
    for pair in batch:
        ratio = of(model, pair.preferred) - pair.before[0]
        other = of(model, pair.rejected) - pair.before[1]
        margins.append(beta * (ratio - other))
        sft = -of(model, pair.preferred) / len(targets(pair.preferred))
        losses.append(-torch.log(torch.sigmoid(margins[-1])) + sft)
    wanted = torch.stack(losses).mean()
    expected = torch.autograd.grad(wanted, adapter.parameters())

    score = learn(Preference(model, beta), batch, Pieces(tokens, Stop()))

    assert score.loss == pytest.approx(wanted.item(), rel=1e-5)
    assert score.margin == pytest.approx(torch.stack(margins).mean().item(), rel=1e-4)
    assert score.accuracy == sum(margin.item() > 0 for margin in margins) / 5
    assert_same(adapter, expected)


def test_before_anything_is_learnt_no_pair_has_a_margin(model: Model) -> None:
    """However its answers are looked at."""
    lora.new(model, rank=4, alpha=8, seed=1)
    method = Preference(model, 0.1)
    pairs = folders.pairs(5)
    before = method.before(pairs, Pieces(30, Stop()))
    batch = [
        Compared(pair.preferred, pair.rejected, (before[2 * at], before[2 * at + 1])) for at, pair in enumerate(pairs)
    ]
    score = learn(method, batch, Pieces(10_000, Stop()))
    assert score.margin == pytest.approx(0, abs=1e-5)


def test_a_step_is_adamw_without_decay_along_a_gradient_of_limited_length(model: Model, adapter: Lora) -> None:
    rate = 0.1
    matrices = [matrix.detach().clone() for matrix in adapter.parameters()]
    moments = [(torch.zeros_like(matrix), torch.zeros_like(matrix)) for matrix in matrices]
    learner = Learner(adapter)
    for step, scale in enumerate((1e-3, 50.0), start=1):
        learner.begin()
        for at, matrix in enumerate(adapter.parameters()):
            matrix.grad = torch.full_like(matrix, scale * (1 + at))
        gradients = [matrix.grad.clone() for matrix in adapter.parameters()]
        length = torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()
        assert learner.take(step, rate)
        for matrix, gradient, (first, second) in zip(matrices, gradients, moments, strict=True):
            gradient *= min(1.0, 1.0 / float(length))
            first.mul_(0.9).add_(0.1 * gradient)
            second.mul_(0.999).add_(0.001 * gradient**2)
            matrix -= rate * (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
    for matrix, now in zip(matrices, adapter.parameters(), strict=True):
        torch.testing.assert_close(now.detach(), matrix, rtol=1e-4, atol=1e-6)


def test_a_step_to_nowhere_is_not_taken(adapter: Lora) -> None:
    before = adapter.state_dict()
    learner = Learner(adapter)
    for matrix in adapter.parameters():
        matrix.grad = torch.full_like(matrix, float("inf"))
    assert not learner.take(1, 0.1)
    assert all(torch.equal(before[name], matrix) for name, matrix in adapter.state_dict().items())


def test_pieces_hold_every_item_once_and_as_many_tokens_as_they_may() -> None:
    sizes = [3, 9, 1, 20, 4, 4, 2]
    found = packed(sizes, lambda size: size, 10)
    assert sorted(size for piece in found for size in piece) == sorted(sizes)
    assert [piece for piece in found if sum(piece) > 10] == [[20]]
    assert found[0] == [20]


def targets(example: Example) -> list[int]:
    return [token for start, end in example.learnt for token in example.tokens[start:end]]


def said(model: Model, example: Example) -> Tensor:
    """Log-probabilities of what is to be learnt."""
    logprobs = F.log_softmax(logits(model, example), -1)
    return logprobs.gather(1, torch.tensor(targets(example))[:, None])


def likeliest(model: Model, example: Example) -> Tensor:
    return logits(model, example).detach().argmax(-1)


def logits(model: Model, example: Example) -> Tensor:
    """Before each token that is to be learnt."""
    found = model.logits(model(torch.tensor(example.tokens), [len(example.tokens)]))
    return found[[at - 1 for start, end in example.learnt for at in range(start, end)]]


def of(model: Model, example: Example) -> Tensor:
    return said(model, example).sum()


def assert_same(adapter: Lora, expected: Sequence[Tensor]) -> None:
    assert any(bool(gradient.abs().max() > 1e-3) for gradient in expected)
    for matrix, gradient in zip(adapter.parameters(), expected, strict=True):
        torch.testing.assert_close(matrix.grad, gradient, rtol=1e-4, atol=1e-6)
