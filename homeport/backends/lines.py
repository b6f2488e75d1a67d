"""Lines of batches beside everybody else: how many of the places of what is shared they may have.

A line waits behind whoever asks for an answer now, however long it has waited, and does not count among those who wait:
nobody is refused because of it, and it is not refused itself. What runs is not interrupted. So there must be a place
that no line ever has, or a request would wait for the end of one: that costs a batch an eighth of an engine with 8
places or more (which is less of its speed: places share one processor), one place of a smaller one, and nothing where
there is only one.
"""

#: One place of so many is never a line's.
SPARE = 8
#: While a request is being answered or waits, lines have one place of so many.
BESIDE = 4


def places_for_lines(places: int, *, alone: bool) -> int:
    """At least one, if there is one. alone: nobody else is being answered, or waits."""
    theirs = places - max(1, places // SPARE) if alone else places // BESIDE
    return min(places, max(1, theirs))
