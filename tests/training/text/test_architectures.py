"""What cannot be trained is refused before anything is loaded, with the reason."""

from pathlib import Path
from typing import Any

import pytest

from homeport.backends.engines import gguf_header
from homeport.training.text import network
from homeport.training.text.architectures import KNOWN, Unsupported, check
from homeport.training.text.gguf_file import GGUFFile
from tests.training.text import tiny


@pytest.mark.parametrize("architecture", KNOWN)
def test_what_is_known_is_taken(architecture: str, tmp_path: Path) -> None:
    file = tiny.write(tmp_path / "model.gguf", architecture)
    assert check(gguf_header.read(file)) is None
    assert gguf_header.read(file) == GGUFFile(file).header


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("expert_count", 8, "mixture of experts"),
        ("rope.scaling.type", "yarn", "stretches its context by 'yarn'"),
        ("rope.scaling.attn_factor", 1.2, "attention scores"),
        ("final_logit_softcapping", 30.0, "caps its logits"),
        ("attention.causal", False, "see what comes after"),
        ("pooling_type", 3, "makes vectors"),
    ],
)
def test_what_is_done_otherwise_is_refused(key: str, value: Any, reason: str, tmp_path: Path) -> None:
    file = tiny.write(tmp_path / "model.gguf", header={key: value})
    assert reason in str(check(gguf_header.read(file)))
    with pytest.raises(Unsupported, match=reason):
        network.load(file)


def test_weights_in_several_files_are_refused(tmp_path: Path) -> None:
    header = gguf_header.read(tiny.write(tmp_path / "model.gguf"))
    assert check(header | {"split.count": 1}) is None
    assert check(header | {"split.count": 3}) == "its weights are in several files"


def test_another_architecture_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    said = str(check({"general.architecture": "bert"}))
    assert "'bert'" in said
    assert all(name in said for name in KNOWN)


def test_a_part_that_is_not_known_is_refused(tmp_path: Path) -> None:
    """Of Qwen3, by name a llama: norms that the one has and the other has not."""
    qwen = tiny.write(tmp_path / "qwen3.gguf", "qwen3").read_bytes()
    (tmp_path / "llama.gguf").write_bytes(qwen.replace(b"output_norm.weight", b"output_more.weight"))
    with pytest.raises(Unsupported, match="no 'output_norm.weight'"):
        network.load(tmp_path / "llama.gguf")
    (tmp_path / "llama.gguf").write_bytes(qwen.replace(b"blk.1.attn_q_norm", b"blk.1.attn_q_more"))
    with pytest.raises(Unsupported, match="parts that are not known, like 'blk.1.attn_q_more.weight'"):
        network.load(tmp_path / "llama.gguf")


@pytest.mark.parametrize("length", [0, 3, 30, 2000, -100])
def test_a_damaged_file_is_refused(length: int, tmp_path: Path) -> None:
    file = tiny.write(tmp_path / "model.gguf")
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(Unsupported, match="file is"):
        network.load(file)


def test_parameters_are_counted(tmp_path: Path) -> None:
    import gguf

    file = tiny.write(tmp_path / "tiny.gguf", kind="Q8_0")
    assert GGUFFile(file).parameters == sum(int(tensor.n_elements) for tensor in gguf.GGUFReader(file).tensors)
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(Unsupported, match="cut off"):
        GGUFFile(file)
