"""The vocabulary of the art that tests pull."""

import json
from functools import cache

from homeport.backends.scene.vocabulary import Vocabulary
from tests import model_files


@cache
def vocabulary() -> Vocabulary:
    folder = model_files.scene().parent
    return Vocabulary(
        chars=json.loads((folder / "chars.json").read_text()),
        categories=json.loads((folder / "metadata.json").read_text())["categories"],
        keywords=json.loads((folder / "emoji-en-US.json").read_text()),
    )
