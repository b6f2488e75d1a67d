"""Pictures side by side in a PNG."""

from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from homeport.training.image.refusal import Refused


def save(file: Path, pictures: Tensor, *, columns: int, times: int) -> None:
    """pictures: (number, 3, side, side), -1 to 1, by rows. times: how large a pixel becomes."""
    pixels = ((pictures.cpu().numpy() + 1) * 127.5).round().astype(np.uint8).transpose(0, 2, 3, 1)
    pixels = pixels.repeat(times, 1).repeat(times, 2)
    rows = [np.concatenate(list(pixels[at : at + columns]), 1) for at in range(0, len(pixels), columns)]
    try:
        Image.fromarray(np.concatenate(rows)).save(file, "PNG")
    except OSError as error:
        raise Refused(f"--out {file}: {error.strerror or error}.") from None
