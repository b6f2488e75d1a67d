"""Which models can be fine-tuned, and what is said of the others."""

import struct
from pathlib import Path

import pytest

from homeport.backends.tuning.tunable import Base, Tunable
from homeport.errors import InvalidRequest, ModelNotReady
from homeport.settings import Model, Server, Settings
from tests.engines.test_gguf_header import field, file_of, text

#: As much of a header as is looked at.
LLAMA = [
    field("general.architecture", 8, text("llama")),
    *(
        field(f"llama.{key}", 4, struct.pack("<I", value))
        for key, value in {
            "context_length": 512,
            "block_count": 2,
            "embedding_length": 64,
            "attention.head_count": 4,
            "feed_forward_length": 128,
        }.items()
    ),
    field("llama.attention.layer_norm_rms_epsilon", 6, struct.pack("<f", 1e-5)),
]


def made(folder: Path, *fields: bytes) -> str:
    folder.mkdir()
    return str(file_of(folder, *fields))


def tunable(folder: Path, **models: Model) -> Tunable:
    return Tunable.of(Settings(server=Server(data=str(folder)), models=models))


def test_a_model_that_llama_cpp_serves_can_be(tmp_path: Path) -> None:
    path = made(tmp_path / "a", *LLAMA)
    for engine in ("auto", "llama_cpp"):
        assert tunable(tmp_path, mine=Model(path=path, engine=engine)).base("mine") == Base("mine", Path(path))


def test_others_are_refused_with_the_reason_and_those_that_can(tmp_path: Path) -> None:
    bert = made(tmp_path / "bert", field("general.architecture", 8, text("bert")))
    good = made(tmp_path / "good", *LLAMA)
    text_file = tmp_path / "words.txt"
    text_file.write_text("no weights")
    models = tunable(
        tmp_path,
        mine=Model(path=good),
        vino=Model(path=good, engine="openvino"),
        bert=Model(path=bert),
        words=Model(path=str(text_file)),
        echo=Model(engine="echo"),
    )
    for name, reason in (
        ("vino", "the engine 'openvino' serves it"),
        ("bert", "its architecture 'bert' is not one of llama"),
        ("words", "its weights are no GGUF file"),
        ("echo", "the engine 'echo' serves it"),
        ("nobody", ""),
    ):
        with pytest.raises(InvalidRequest) as caught:
            models.base(name)
        assert (caught.value.param, caught.value.code) == ("model", "model_not_available")
        message = caught.value.message
        assert message.startswith(f"Model {name} is not available for fine-tuning or does not exist.")
        assert message.endswith("can be fine-tuned: mine.")
        assert reason in message
        assert str(tmp_path) not in message


def test_a_model_that_is_not_here_is_to_be_pulled(tmp_path: Path) -> None:
    with pytest.raises(ModelNotReady, match="homeport pull smollm2-135m-instruct"):
        tunable(tmp_path).base("smollm2-135m-instruct")
    with pytest.raises(InvalidRequest, match="can be fine-tuned: none"):
        tunable(tmp_path).base("nobody")


def test_the_default_model_can_be(smollm2_file: Path) -> None:
    models = tunable(smollm2_file.parent, mine=Model(path=str(smollm2_file)))
    assert models.base("mine").path == smollm2_file
