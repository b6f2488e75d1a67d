"""An adapter's file: read back it is the same, and the same numbers are the same bytes."""

from pathlib import Path

import pytest
import torch

from homeport.training.text import export, lora, network
from homeport.training.text.gguf_file import GGUFFile
from homeport.training.text.network import Model
from tests.training.text import tiny
from tests.training.text.learnt import shaken


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return network.load(tiny.write(tmp_path / "model.gguf", "qwen3"))


def test_read_back_it_is_the_same(model: Model, tmp_path: Path) -> None:
    learning = shaken(model, rank=6, alpha=9.0)
    export.write(tmp_path / "adapter.gguf", learning)
    again = lora.start(model, tmp_path / "adapter.gguf").state_dict()
    kept = learning.state_dict()
    assert list(again) == list(kept)
    assert all(torch.equal(again[name], kept[name]) for name in kept)
    assert GGUFFile(tmp_path / "adapter.gguf").header == {
        "general.architecture": "qwen3",
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": 9.0,
    }


def test_the_same_numbers_are_the_same_bytes_and_nothing_else_is_left(model: Model, tmp_path: Path) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    export.write(folder / "adapter.gguf", shaken(model))
    first = (folder / "adapter.gguf").read_bytes()
    export.write(folder / "adapter.gguf", shaken(model, seed=6))
    assert (folder / "adapter.gguf").read_bytes() != first
    export.write(folder / "adapter.gguf", shaken(model))
    assert (folder / "adapter.gguf").read_bytes() == first
    assert [file.name for file in folder.iterdir()] == ["adapter.gguf"]
