"""The art of scene-1, pulled once."""

import pytest

from homeport.backends.scene.art import Art
from tests import model_files


@pytest.fixture(scope="session")
def art() -> Art:
    return Art(model_files.scene())
