"""All of the art, drawn plain and recoloured: `python -m tests.backends.scene.every_drawing`. A minute or so."""

import sys

from homeport.backends.scene.art import Art
from homeport.backends.scene.rendering import Part, document, picture
from tests import model_files


def main() -> int:
    art = Art(model_files.scene())
    failed = 0
    for name in sorted(art.names):
        try:
            art.shape(name)
            part = Part(art.body(name, "blue", "a"), 0, 1)
            empty = not picture(document([part], (0, 0, 1, 1), 32, 32))[..., 3].any()
        except ValueError as error:
            print(f"{name}: {error}")
            failed += 1
            continue
        if empty:
            print(f"{name}: nothing to be seen")
            failed += 1
    print(f"{len(art.names)} drawings, {failed} that failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
