"""Metadata at the head of a GGUF file; whatever the bytes are, the answer is a value or a SettingsError."""

import struct
import tracemalloc
from pathlib import Path

import pytest

from homeport.backends.engines import gguf_header
from homeport.errors import SettingsError


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def file_of(folder: Path, *fields: bytes, version: int = 3, count: int | None = None, magic: bytes = b"GGUF") -> Path:
    file = folder / "x.gguf"
    head = magic + struct.pack("<IQQ", version, 0, len(fields) if count is None else count)
    file.write_bytes(head + b"".join(fields))
    return file


def field(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def array(key: str, kind: int, length: int, values: bytes) -> bytes:
    return field(key, 9, struct.pack("<IQ", kind, length) + values)


def test_scalars_texts_and_arrays(tmp_path: Path) -> None:
    file = file_of(
        tmp_path,
        field("general.architecture", 8, text("llama")),
        field("a", 4, struct.pack("<I", 7)),
        array("words", 8, 2, text("x") + text("yy")),
        field("b", 6, struct.pack("<f", 0.5)),
        array("numbers", 5, 3, struct.pack("<iii", 1, 2, 3)),
        array("nested", 9, 1, struct.pack("<IQ", 0, 2) + b"ab"),
        field("c", 7, b"\x01"),
        field("d", 10, struct.pack("<Q", 2**60)),
        field("ümlaut", 8, text("é")),
    )
    found = gguf_header.read(file)
    assert {key: found[key] for key in ("general.architecture", "a", "b", "c", "d", "ümlaut")} == {
        "general.architecture": "llama",
        "a": 7,
        "b": 0.5,
        "c": True,
        "d": 2**60,
        "ümlaut": "é",
    }


def test_the_default_model(smollm2_file: Path) -> None:
    """30 layers, 3 key-value heads of width 64, keys and values, 2 bytes each."""
    header = gguf_header.read(smollm2_file)
    assert header["general.architecture"] == "llama"
    assert gguf_header.kv_bytes_per_token(header) == 30 * 3 * (64 + 64) * 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GG",
        b"GGUF",
        b"GGML" + b"\0" * 100,
        b"<!DOCTYPE html><html>",
        b"GGUF" + struct.pack("<IQQ", 1, 0, 0),
        b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 2**63),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 5),
    ],
)
def test_what_is_no_gguf(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match="GGUF"):
        gguf_header.read(file)


@pytest.mark.parametrize(
    "damaged",
    [
        struct.pack("<Q", 2**62) + b"key",
        field("key", 8, struct.pack("<Q", 2**62) + b"value"),
        field("key", 8, struct.pack("<Q", 60 * 2**20) + b"value"),
        field("key", 99, b"\0" * 8),
        array("key", 99, 1, b"\0" * 8),
        array("key", 8, 2**63, b""),
        array("key", 8, 2**63, text("one")),
        array("key", 5, 2**60, b""),
        array("key", 5, 2**64 - 1, b""),
        field("key", 9, struct.pack("<IQ", 9, 1) * 5000),
        field("key", 10, b"\0\0"),
    ],
)
def test_absurd_counts_take_neither_memory_nor_time(tmp_path: Path, damaged: bytes) -> None:
    file = file_of(tmp_path, damaged, field("next", 4, b"\0\0\0\0"))
    tracemalloc.start()
    try:
        with pytest.raises(SettingsError, match="GGUF"):
            gguf_header.read(file)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_every_cut_is_told(tmp_path: Path) -> None:
    whole = file_of(tmp_path, field("k", 8, text("value")), array("words", 8, 2, text("x") + text("yy"))).read_bytes()
    file = tmp_path / "cut.gguf"
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(SettingsError, match="GGUF"):
            gguf_header.read(file)


def test_a_file_that_is_not_there_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.gguf", tmp_path):
        with pytest.raises(SettingsError, match="cannot be read"):
            gguf_header.read(path)


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ({}, 0),
        ({"general.architecture": "x", "x.block_count": "many"}, 0),
        ({"general.architecture": "x", "x.block_count": 2, "x.attention.head_count": 0, "x.embedding_length": 64}, 0),
        ({"general.architecture": "x", "x.block_count": 2, "x.attention.head_count": 4, "x.embedding_length": 64}, 512),
        (
            {
                "general.architecture": "x",
                "x.block_count": 2,
                "x.attention.head_count": 4,
                "x.attention.head_count_kv": 1,
                "x.attention.key_length": 8,
                "x.attention.value_length": 4,
            },
            48,
        ),
    ],
)
def test_bytes_of_cache_for_a_token(header: dict[str, object], size: int) -> None:
    assert gguf_header.kv_bytes_per_token(header) == size
