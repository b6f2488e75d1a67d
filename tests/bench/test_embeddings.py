"""The part of the bench that makes vectors: that it runs, and what follows from its figures."""

from pathlib import Path

import pytest

from bench import embeddings
from bench.build import NotBuilt
from bench.embeddings import Embeddings, Rate
from tests import model_files


def test_everything_is_measured(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("xllamacpp")
    pytest.importorskip("gguf")
    files = {"onnx": model_files.minilm(), "llama_cpp": model_files.minilm_gguf()}
    try:
        found = embeddings.run(tmp_path, files, sentences=8, rounds=1, shapes=((2, 2),))
    except NotBuilt as error:
        pytest.skip(str(error))
    ours = {embeddings.HTTP, embeddings.DIRECT, embeddings.BARE}
    assert found.rounds["onnx"]["2 x 2"].keys() == ours
    assert found.rounds["llama_cpp"]["2 x 2"].keys() == {*ours, embeddings.PEER}
    for shapes in found.rounds.values():
        assert all(one.sentences > 0 for rounds in shapes["2 x 2"].values() for one in rounds)
    assert "llama_cpp, llama-server" in found.table()
    assert len(found.goals()) == 3


def test_a_round_is_held_against_itself() -> None:
    """The second round was slow for everybody."""
    sources = {
        embeddings.HTTP: [Rate(96.0, 1.0), Rate(48.0, 1.0), Rate(97.0, 1.0)],
        embeddings.BARE: [Rate(100.0, 1.0), Rate(50.0, 1.0), Rate(100.0, 1.0)],
    }
    (goal,) = Embeddings({}, {"onnx": {"4 x 32": sources}}).goals()
    assert goal.value == pytest.approx(96.0)
    assert goal.verdict == "target"
