"""What kind a file is, and how its bytes become text: by what is in it."""

import gzip
import io
import json
import random
import wave
import zipfile

import pytest

from homeport.documents.charset import text_of
from homeport.documents.document import UnreadableFile
from tests.documents import made
from tests.documents.conftest import Read

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(300)


def _wav() -> bytes:
    sound = io.BytesIO()
    with wave.open(sound, "wb") as writing:
        writing.setnchannels(1)
        writing.setsampwidth(2)
        writing.setframerate(8000)
        writing.writeframes(bytes(1000))
    return sound.getvalue()


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (b"", "invalid_file", "It is empty"),
        (b" \n\t ", "invalid_file", "no text in it"),
        (PNG, "unsupported_file", "picture"),
        (b"BM" + bytes(200), "unsupported_file", "picture"),
        (_wav(), "unsupported_file", "recording"),
        (b"\0\0\0\x18ftypmp42" + bytes(200), "unsupported_file", "video"),
        (gzip.compress(b"text" * 100, mtime=0), "unsupported_file", "upload the files in it one by one"),
        (made.zipped({"a.txt": "text"}), "unsupported_file", "upload the files in it one by one"),
        (b"\x7fELF\2\1\1" + bytes(200), "unsupported_file", "program"),
        (b"SQLite format 3\0" + bytes(200), "unsupported_file", "database"),
        (random.Random(1).randbytes(3000), "unsupported_file", "neither text nor a document"),
        (b"{\\rtf1\\ansi text}", "unsupported_file", "save it as .docx"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000), "unsupported_file", "old binary format"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(70_000) + "EncryptedPackage".encode("utf-16-le"),
            "invalid_file",
            "encrypted",
        ),
        (made.zipped({"[Content_Types].xml": "<Types/>"}), "unsupported_file", "kind that is not read"),
        (b'{"nbformat": 4, "cells": 7}', "invalid_file", "no notebook"),
    ],
)
def test_what_is_not_read(read: Read, content: bytes, code: str, message: str) -> None:
    """The name does not help."""
    with pytest.raises(UnreadableFile, match=message) as refused:
        read(content, "report.txt")
    assert refused.value.code == code
    first = "The file type is not supported. " if code == "unsupported_file" else "The file could not be parsed. "
    assert refused.value.message.startswith(first)


@pytest.mark.parametrize("name", ["report.txt", "report.docx", "report"])
def test_content_goes_before_the_name(read: Read, name: str) -> None:
    assert read(made.pdf([["text"]]), name).kind == "application/pdf"
    assert read(b"BMW and MZ are no programs", name).kind == "text/plain"


def test_texts_that_look_like_something_else(read: Read) -> None:
    assert read(b"<html>\n", "a.md").kind == "text/markdown"
    assert read(b"From: here\n\nto there", "a.txt").kind == "text/plain"
    assert read(json.dumps({"cells": 1}).encode(), "a.json").kind == "application/json"


def test_an_encrypted_archive(read: Read) -> None:
    content = bytearray(made.docx("<w:p/>"))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        start = archive.start_dir
    content[start + 8] |= 1
    with pytest.raises(UnreadableFile, match="encrypted"):
        read(bytes(content))


RUSSIAN = "Привет, как дела? Это просто текст на русском языке."
JAPANESE = "こんにちは世界。これは日本語の文章です。" * 3


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("utf-8", "naïve 你好 😀"),
        ("utf-8-sig", "naïve"),
        ("utf-16", "你好"),
        ("utf-16-le", "plain words"),
        ("utf-16-be", "plain words"),
        ("utf-32", "你好"),
        ("cp1252", "café"),
        ("cp1252", "“It’s 5 €”, she said – créée à Besançon"),
        ("cp1250", "Příliš žluťoučký kůň úpěl ďábelské ódy."),
        ("cp1251", RUSSIAN),
        ("koi8-r", RUSSIAN),
        ("cp1253", "Καλημέρα κόσμε, αυτό είναι ένα κείμενο στα ελληνικά. " * 3),
        ("cp1255", "שלום עולם, זהו טקסט בעברית. " * 3),
        ("cp1256", "مرحبا بالعالم، هذا نص عربي للاختبار."),
        ("shift_jis", JAPANESE),
        ("euc-jp", JAPANESE),
        ("gb18030", "你好，世界。这是一个中文文本，用来测试编码检测。"),
        ("big5", "你好，世界。這是一個中文文本。"),
        ("euc-kr", "안녕하세요 세계. 이것은 한국어 텍스트입니다."),
    ],
)
def test_charsets(charset: str, text: str) -> None:
    assert text_of(text.encode(charset)) == text


def test_a_text_in_utf_8_with_a_byte_missing_is_still_in_utf_8() -> None:
    text = "Größe und Maß — täglich. " * 50
    assert text_of(text.encode()[:-100] + b"\xc3") == text[: len(text.encode()[:-100].decode())] + "\ufffd"


@pytest.mark.parametrize("content", [random.Random(7).randbytes(100_000), b"\0\1\2\3abc" * 20])
def test_no_text(content: bytes) -> None:
    assert text_of(content) is None
