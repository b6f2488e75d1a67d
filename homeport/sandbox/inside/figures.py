"""What matplotlib draws with (`MPLBACKEND`): `plt.show()` leaves pictures in the folder."""

import os
from itertools import count

from matplotlib._pylab_helpers import Gcf
from matplotlib.backends.backend_agg import FigureCanvasAgg as FigureCanvas

from .watch import DATA

__all__ = ["FigureCanvas", "show"]


def show(*_arguments: object, **_named: object) -> None:
    """Of every open figure `figure-N.png`, which none had before; then they are closed, as in a notebook."""
    for manager in Gcf.get_all_fig_managers():
        _save(manager.canvas.figure)
    Gcf.destroy_all()


def _save(figure: object) -> None:
    for number in count(1):
        try:
            opened = open(os.path.join(DATA, f"figure-{number}.png"), "xb")
        except FileExistsError:
            continue
        with opened:
            figure.savefig(opened, format="png", bbox_inches="tight")  # type: ignore[attr-defined]
        return
