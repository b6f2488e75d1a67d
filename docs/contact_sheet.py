"""docs/images/contact-sheet.webp: what scene-1 draws for 24 prompts. `python docs/contact_sheet.py`, to look at.

The pictures that docs/images.md shows and lists, in this order, each with the seed beside it.
"""

import asyncio
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # so that `homeport` and `tests` are found when this file is run as a script

from homeport.backends.drawing import Wish  # noqa: E402
from homeport.backends.engines.scene import Scene  # noqa: E402
from tests import model_files  # noqa: E402

SHEET = ROOT / "docs" / "images" / "contact-sheet.webp"
PROMPTS = (
    ("three red apples and a pear on a wooden table", 1),
    ("a white cat and a black dog in a meadow at sunset", 2),
    ("a green car and a yellow bus in the city in the rain", 1),
    ("an owl on a tree in the forest at night", 1),
    ("two sailboats and a whale on the sea", 3),
    ("five pink balloons and two birds in the sky", 1),
    ("a red house between two trees under a rainbow", 1),
    ("a penguin with a top hat, snow falling", 1),
    ("six tropical fish and an octopus under water", 2),
    ("a rocket, a ringed planet and three stars in space", 1),
    ("a dragon flying over a castle in the mountains in fog", 1),
    ("a cup of coffee and two croissants on the table", 1),
    ("a palm tree and two crabs on the beach at dawn, a red sailboat on the sea", 1),
    ("a snowman in front of three fir trees in the snow", 2),
    ("six rabbits around a campfire at night", 1),
    ("two camels and a cactus in the desert", 2),
    ("a basket with four oranges in it, on a blue background", 1),
    ("a golden retriever to the left of a red ball", 1),
    ("a black cat on a blue couch in a room, a potted plant beside it", 1),
    ("a pink elephant on a yellow background", 1),
    ("twenty sheep in a meadow", 1),
    ("a police car behind a purple racing car on the road", 1),
    ("a ship on the sea in a storm", 1),
    ("a huge strawberry next to a tiny mouse", 1),
)
COLUMNS, SIDE, GAP = 6, 300, 8


async def main() -> None:
    from PIL import Image

    engine = Scene(model_files.scene())
    await engine.start()
    rows = -(-len(PROMPTS) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (SIDE + GAP) + GAP, rows * (SIDE + GAP) + GAP), "white")
    for number, (prompt, seed) in enumerate(PROMPTS):
        row, column = divmod(number, COLUMNS)
        async for drawn in engine.draw(Wish("generation", prompt, SIDE, SIDE, seed, quality="high")):
            at = (GAP + column * (SIDE + GAP), GAP + row * (SIDE + GAP))
            sheet.paste(Image.fromarray(drawn.pixels).convert("RGB"), at)
            sys.stdout.write(f"{prompt}\n    {drawn.revised}\n")
    await engine.close()
    SHEET.parent.mkdir(exist_ok=True)
    sheet.save(SHEET, quality=82, method=6)
    sys.stdout.write(f"{SHEET}: {SHEET.stat().st_size / 1000:.0f} kB\n")


if __name__ == "__main__":
    asyncio.run(main())
