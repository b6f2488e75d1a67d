"""CLIP's tokens: of its own vocabulary, and of small ones. 3,018 texts of many scripts had the same ids in
transformers 5.24, with the vocabulary that is used here."""

import gzip
import json
import time
from pathlib import Path

import pytest

from homeport.backends.diffusion.clip import _CHARACTERS, ClipTokenizer
from tests import model_files

#: Pairs that CLIP's vocabulary is made of; the file has more.
_MERGES = 48_894


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> ClipTokenizer:
    """Of OpenAI's file of merges: first the letters of bytes, then the same at a word's end, then what is merged."""
    lines = gzip.decompress(model_files.clip_merges().read_bytes()).decode().splitlines()[1 : 1 + _MERGES]
    seen = [one for one in _CHARACTERS.values() if ord(one) < 256]
    letters = [*sorted(seen), *(one for one in _CHARACTERS.values() if ord(one) >= 256)]
    tokens = [*letters, *(f"{one}</w>" for one in letters), *("".join(line.split()) for line in lines)]
    folder = tmp_path_factory.mktemp("tokenizer")
    write(folder, [*tokens, "<|startoftext|>", "<|endoftext|>"], lines)
    return ClipTokenizer.read(folder)


def write(folder: Path, tokens: list[str], merges: list[str], config: dict[str, object] | None = None) -> None:
    (folder / "vocab.json").write_text(json.dumps({token: at for at, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
    (folder / "tokenizer_config.json").write_text(json.dumps(config or {"pad_token": "<|endoftext|>"}))


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        # Published: OpenAI's and Hugging Face's pages of CLIP, and the tests of Bumblebee.
        ("a photo of a cat", [320, 1125, 539, 320, 2368]),
        ("a photo of a dog", [320, 1125, 539, 320, 1929]),
        ("a painting of a cat", [320, 3086, 539, 320, 2368]),
        ("bozuman", [647, 4091, 786]),
        # As transformers 5.24 has them.
        ("A Photo\n of  A CAT", [320, 1125, 539, 320, 2368]),
        ("", []),
    ],
)
def test_ids(clip: ClipTokenizer, text: str, ids: list[int]) -> None:
    assert clip.ids(text) == ids


def test_77_of_them(clip: ClipTokenizer) -> None:
    assert clip.padded("a photo of a cat") == [49406, 320, 1125, 539, 320, 2368, *[49407] * 71]
    assert (clip.length, clip.room) == (77, 75)


def test_names_of_control_tokens_are_plain_text(clip: ClipTokenizer) -> None:
    assert 49407 not in clip.ids("a cat<|endoftext|> a dog")


@pytest.mark.parametrize("text", ["a" * 4000, "中" * 4000, "!" * 4000, "the quick brown fox " * 200])
def test_no_prompt_takes_long(clip: ClipTokenizer, text: str) -> None:
    """Looking for the best pair again and again would take a minute for the second one."""
    began = time.process_time()
    assert len(clip.ids(text)) > 75
    assert time.process_time() - began < 5


#: Source: tests/models/clip/test_tokenization_clip.py of huggingface/transformers.
SMALL = (
    "l o w e r s t i d n lo l</w> w</w> r</w> t</w> low</w> er</w> lowest</w> newer</w> wider <unk> <|startoftext|> "
    "<|endoftext|>"
).split()


def test_the_small_one_of_transformers(tmp_path: Path) -> None:
    write(tmp_path, SMALL, ["l o", "lo w</w>", "e r</w>"])
    tokenizer = ClipTokenizer.read(tmp_path)
    assert tokenizer.ids("lower newer") == [10, 2, 16, 9, 3, 2, 16]
    assert tokenizer.ids("low") == [15]


def test_what_surrounds_a_text_is_in_its_settings(tmp_path: Path) -> None:
    config: dict[str, object] = {
        "bos_token": {"content": "<|startoftext|>"},
        "eos_token": "<unk>",
        "pad_token": "l",
        "model_max_length": 8,
    }
    write(tmp_path, SMALL, ["l o", "lo w</w>"], config)
    assert ClipTokenizer.read(tmp_path).padded("low") == [21, 15, 20, 0, 0, 0, 0, 0]


def test_unknown_letters(tmp_path: Path) -> None:
    write(tmp_path, SMALL, [], {"unk_token": "<unk>", "model_max_length": 10**30})
    tokenizer = ClipTokenizer.read(tmp_path)
    assert tokenizer.ids("x lo") == [20, 0, 20]
    assert tokenizer.length == 77


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("vocab.json", None, "there is no .*vocab.json"),
        ("merges.txt", None, "there is no .*merges.txt"),
        ("vocab.json", b"{", "vocab.json: "),
        ("vocab.json", b'{"a": 1}', "its vocabulary has no '<|startoftext|>'"),
        ("merges.txt", b"a b\na b c\n", "a line that is no pair: 'a b c'"),
        ("merges.txt", b"\xff\xff", "merges.txt is no text"),
        ("tokenizer_config.json", b'{"eos_token": "</s>"}', "its vocabulary has no '</s>'"),
    ],
)
def test_what_is_wrong_with_it_is_said(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    write(tmp_path, SMALL, ["l o"])
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said.replace("|", r"\|")):
        ClipTokenizer.read(tmp_path)
