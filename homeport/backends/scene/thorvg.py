"""ThorVG (https://www.thorvg.org), as far as it is needed: an SVG -> pixels, in memory of ours.

thorvg-python brings the library, and classes over it. They make a ctypes type for each length of a text and each size
of a picture, which Python never forgets, so the functions are declared here, once, as `thorvg_capi.h` has them. A call
of ctypes gives Python's lock away: nobody waits for what ThorVG does. It draws in the thread that calls it; several may
draw at once.
"""

from ctypes import CDLL, c_bool, c_char_p, c_int, c_uint32, c_void_p
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from homeport.backends.drawing import Pixels

#: Red, green, blue and opacity, a byte each: colours multiplied by opacity, and not.
MULTIPLIED, STRAIGHT = 0, 2
_DEFAULT = 1
_FUNCTIONS = {
    "tvg_engine_init": (c_uint32,),
    "tvg_swcanvas_set_target": (c_void_p, c_void_p, c_uint32, c_uint32, c_uint32, c_int),
    "tvg_canvas_add": (c_void_p, c_void_p),
    "tvg_canvas_draw": (c_void_p, c_bool),
    "tvg_canvas_sync": (c_void_p,),
    "tvg_canvas_destroy": (c_void_p,),
    "tvg_picture_load_data": (c_void_p, c_char_p, c_uint32, c_char_p, c_char_p, c_bool),
    "tvg_paint_rel": (c_void_p,),
}


@cache
def load() -> CDLL:
    """Raises ImportError: it is not installed."""
    from thorvg_python.engine import THORVG_LIB

    if THORVG_LIB is None:
        raise ImportError("thorvg-python is installed without its library", name="thorvg_python")
    library: CDLL = THORVG_LIB
    for name, arguments in _FUNCTIONS.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, c_int
    library.tvg_swcanvas_create.argtypes, library.tvg_swcanvas_create.restype = (c_int,), c_void_p
    library.tvg_picture_new.argtypes, library.tvg_picture_new.restype = (), c_void_p
    _done(library.tvg_engine_init(0))
    return library


def draw(svg: str, into: "Pixels", *, colours: int = STRAIGHT) -> None:
    """An SVG of so many pixels' width and height. into: without gaps; what is in there is lost. Raises ValueError: it
    is no SVG."""
    if not into.flags.c_contiguous or not into.flags.writeable:
        raise ValueError("pixels must be without gaps, and writable")
    height, width, _ = into.shape
    library, text = load(), svg.encode()
    canvas, picture = library.tvg_swcanvas_create(_DEFAULT), library.tvg_picture_new()
    try:
        try:
            _done(library.tvg_picture_load_data(picture, text, len(text), b"svg", None, True))
            _done(library.tvg_swcanvas_set_target(canvas, into.ctypes.data, width, width, height, colours))
        except ValueError:
            library.tvg_paint_rel(picture)
            raise
        _done(library.tvg_canvas_add(canvas, picture))  # whose it is from now on
        _done(library.tvg_canvas_draw(canvas, True))
        _done(library.tvg_canvas_sync(canvas))
    finally:
        library.tvg_canvas_destroy(canvas)


def _done(result: int) -> None:
    if result:
        raise ValueError(f"ThorVG does not draw this (its result {result})")
