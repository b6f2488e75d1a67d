"""The drawings that pictures are made of: Fluent's flat emoji as Iconify packs them, and emojilib's words for them.

A folder with `icons.json`, `metadata.json` and `chars.json` of npm's @iconify-json/fluent-emoji-flat, and
`emoji-en-US.json` of npm's emojilib: what `homeport pull scene-1` makes.
"""

import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import resvg_py
from PIL import Image

from homeport.training.image.refusal import Refused

KINDS = {
    "animals": "Animals & Nature",
    "food": "Food & Drink",
    "travel": "Travel & Places",
    "objects": "Objects",
    "activities": "Activities",
}
#: Two dozen clocks that differ by their hands.
_CLOCK = re.compile(r".*-(oclock|thirty)")
#: A drawing is rendered once, in this size, and made smaller for each picture: twenty times as fast as rendering each
#: picture, and not to be told apart at 64 pixels.
_RENDERED = 96
#: A keyword that more drawings share says too little.
_SHARED_AT_MOST = 6
_KEYWORD = re.compile("[a-z]{3,}")


@dataclass(frozen=True)
class Drawing:
    """name: of the art, `red-apple`. other: words by which people look for it. body: SVG, in a square of 32."""

    name: str
    other: Sequence[str]
    body: str

    @property
    def words(self) -> str:
        return self.name.replace("-", " ")

    @cached_property
    def rendered(self) -> Image.Image:
        square = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">{self.body}</svg>'
        png = resvg_py.svg_to_bytes(svg_string=square, skip_system_fonts=True, width=_RENDERED, height=_RENDERED)
        return Image.open(io.BytesIO(png)).convert("RGBA")


def load(folder: Path, wanted: Sequence[str], unwanted: Collection[str] = ()) -> list[Drawing]:
    """wanted: kinds (KINDS) and names of drawings. unwanted: keywords that would say something else. In the order of
    their names."""
    icons = _read(folder / "icons.json")["icons"]
    categories = _read(folder / "metadata.json")["categories"]
    names: set[str] = set()
    for one in wanted:
        if one in KINDS:
            names.update(name for name in categories[KINDS[one]] if name in icons and not _CLOCK.fullmatch(name))
        elif one in icons:
            names.add(one)
        else:
            raise Refused(f"{one!r} is no drawing of the art, and no kind of them: {', '.join(KINDS)}.")
    other = _keywords(_read(folder / "chars.json"), _read(folder / "emoji-en-US.json"), names, unwanted)
    return [Drawing(name, other.get(name, ()), icons[name]["body"]) for name in sorted(names)]


def digest(drawings: Sequence[Drawing]) -> str:
    """By which a run that goes on knows that it has the same art."""
    told = [(drawing.name, drawing.body, list(drawing.other)) for drawing in drawings]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _keywords(
    chars: Mapping[str, str], emoji: Mapping[str, Sequence[str]], names: set[str], unwanted: Collection[str]
) -> dict[str, Sequence[str]]:
    found = {}
    for character, words in emoji.items():
        code = "-".join(f"{ord(part):x}" for part in character if part != "\ufe0f")
        name = chars.get(code)
        if name in names:
            own = {*name.split("-"), *unwanted}
            found[name] = [word for word in words[1:] if _KEYWORD.fullmatch(word) and word not in own]
    shared = Counter(word for words in found.values() for word in set(words))
    return {name: [word for word in words if shared[word] <= _SHARED_AT_MOST] for name, words in found.items()}


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except FileNotFoundError:
        raise Refused(f"There is no {file}: give the folder of the art by --data (`homeport pull scene-1`).") from None
    except (OSError, ValueError) as error:
        raise Refused(f"{file} cannot be read: {error}") from None
