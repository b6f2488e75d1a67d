"""Unpacked weights are what gguf's own code makes of them, whatever their format, in parts or whole."""

from pathlib import Path

import pytest
import torch

from homeport.training.text import network, weights
from homeport.training.text.architectures import Unsupported
from homeport.training.text.gguf_file import GGUFFile
from tests.training.text import tiny


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_1", "Q5_0"])
def test_unpacked_they_are_what_gguf_makes_of_them(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gguf

    file = tiny.write(tmp_path / "model.gguf", kind=kind)
    monkeypatch.setattr(weights, "_AT_A_TIME", 1000)  # parts that do not come out even
    ours = GGUFFile(file)
    theirs = gguf.GGUFReader(file).tensors
    assert list(ours.tensors) == [tensor.name for tensor in theirs]
    for tensor in theirs:
        expected = torch.from_numpy(gguf.quants.dequantize(tensor.data, tensor.tensor_type).copy())
        assert torch.equal(weights.load(ours, tensor.name, dtype=torch.float32, device="cpu"), expected)
        short = weights.load(ours, tensor.name, dtype=torch.bfloat16, device="cpu")
        assert torch.equal(short, expected.bfloat16())
    assert ours.parameters == sum(int(tensor.n_elements) for tensor in theirs)


def test_a_format_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    file = tiny.write(tmp_path / "model.gguf")
    data = bytearray(file.read_bytes())
    at = data.index(b"token_embd.weight") + len(b"token_embd.weight") + 4 + 2 * 8  # dimensions and their lengths
    data[at : at + 4] = (99).to_bytes(4, "little")
    file.write_bytes(data)
    with pytest.raises(Unsupported, match="format 99"):
        network.load(file)
