"""BERT's tokenizer, against what the reference implementation gives for the same texts (tokenizers 0.23, made once)."""

import json
from pathlib import Path

import pytest

from homeport.backends.engines.wordpiece import WordPiece
from tests import model_files

KNOWN: list[tuple[str, list[int]]] = [
    ("H\xe9llo w\xf6rld! na\xefve caf\xe9", [7592, 2088, 999, 15743, 7668]),
    (
        "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8 and \ud55c\uad6d\uc5b4",
        [
            1864,
            1876,
            1950,
            1671,
            30239,
            30227,
            30233,
            30240,
            1998,
            1469,
            30006,
            30021,
            29991,
            30014,
            30020,
            29999,
            30008,
        ],
    ),
    (
        "don't stop-believing... (1990's)",
        [2123, 1005, 1056, 2644, 1011, 8929, 1012, 1012, 1012, 1006, 2901, 1005, 1055, 1007],
    ),
    ("emoji \U0001f600 and tabs\tnew\nline", [7861, 29147, 2072, 100, 1998, 21628, 2015, 2047, 2240]),
    (
        "\u0130stanbul \u03a3\u0391\u03a3 \u1f48\u0394\u03a5\u03a3\u03a3\u0395\u038e\u03a3",
        [9960, 1173, 14608, 29733, 1169, 29722, 29735, 29733, 29733, 29723, 29735, 29733],
    ),
    ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", [100]),
    ("x\u200by\xadz \ufeffq", [1060, 2100, 2480, 1053]),
    ("$100 \u20ac5 \xa33 \xbd \xb2", [1002, 2531, 1574, 2629, 28182, 1092, 1082]),
    ("\ufb01ne \ufb00 \u01c4 \u01f0", [1984, 2638, 100, 100, 1046]),
    ("", []),
    ("   ", []),
    ("unaffable embeddings tokenization", [14477, 20961, 3468, 7861, 8270, 4667, 2015, 19204, 3989]),
    ("\x00null\ufffd", [19701]),
    (
        "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645",
        [1295, 17149, 29820, 29816, 25573, 1271, 25573, 23673, 29830, 25573, 23673, 22192],
    ),
    ("\u0928\u092e\u0938\u094d\u0924\u0947", [1327, 29867, 29874, 29859]),
    ("\u0663\u0664\u0665", [100]),
    ("a_b__c", [1037, 1035, 1038, 1035, 1035, 1039]),
    ("co\u0301mbining", [11566]),
    ("\u3007\u3005\u3006", [100]),
    ("\u2103 \u2122 \u2121", [100, 1580, 100]),
]


@pytest.fixture(scope="module")
def tokenizer() -> WordPiece:
    return WordPiece.read(model_files.minilm().with_name("vocab.json"))


@pytest.mark.parametrize(("text", "ids"), KNOWN)
def test_the_reference_says_the_same(tokenizer: WordPiece, text: str, ids: list[int]) -> None:
    assert tokenizer.ids(text) == ids
    assert tokenizer.ids(text) == ids  # now that its words are remembered


def test_what_looks_special_is_text(tokenizer: WordPiece) -> None:
    special = {tokenizer.first, tokenizer.last, tokenizer.unknown, tokenizer.padding, 103}
    assert not special & set(tokenizer.ids("[CLS] a [SEP] b [MASK] [PAD] [UNK]"))


def test_the_special_tokens_are_berts(tokenizer: WordPiece) -> None:
    assert (tokenizer.first, tokenizer.last, tokenizer.unknown, tokenizer.padding) == (101, 102, 100, 0)
    assert tokenizer.size == 30522


def test_both_ways_to_write_a_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nhello\nwor\n##ld\n!\n", "utf-8")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "\u2581hello", "\u2581wor", "ld", "\u2581!"]
    (tmp_path / "vocab.json").write_text(json.dumps(pieces), "utf-8")
    for name in ("vocab.txt", "vocab.json"):
        tokenizer = WordPiece.read(tmp_path / name)
        assert tokenizer.ids("Hello world! held ld") == [4, 5, 6, 7, 1, 1]
        assert (tokenizer.first, tokenizer.size) == (2, 8)


def test_a_vocabulary_without_its_special_tokens_is_none(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("hello\n", "utf-8")
    with pytest.raises(KeyError):
        WordPiece.read(tmp_path / "vocab.txt")
