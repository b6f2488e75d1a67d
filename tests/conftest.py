"""What every folder of tests may use."""

from pathlib import Path

import pytest

from tests import model_files


@pytest.fixture(scope="session")
def smollm2_file() -> Path:
    """The default model's GGUF."""
    return model_files.smollm2()
