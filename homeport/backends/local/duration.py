"""How long a file sounds, without decoding it: by the packets in it, not by what it says of itself.

For what is charged by the second where whoever has heard it does not say how long it was, and for budgets, which hold
against files that lie. Cheap: some milliseconds for a song.
"""

import asyncio
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from homeport import clock
from homeport.backends.local.sound import format_of, options_of

#: Seconds after which it is no longer cheap: a file of tiny packets.
_LONGEST = 1.0
_OFTEN = 256


async def milliseconds(path: Path) -> int | None:
    """None: that cannot be told here, because PyAV is not installed or the file is none that it reads."""
    return await asyncio.to_thread(_measured, path) if find_spec("av") is not None else None


def _measured(path: Path) -> int | None:
    import av

    try:
        with path.open("rb") as file:
            name = format_of(file.read(64))
        if name is None:
            return None
        with av.open(str(path), format=name, options=options_of(name)) as container:
            return _longest(container) if container.streams.audio else None
    except (av.FFmpegError, ValueError, OSError):
        return None


def _longest(container: Any) -> int | None:
    """Of the streams of sound: who hears it may take any. None: it takes too long, or there is nothing in them."""
    until = clock.monotonic() + _LONGEST
    lengths = {stream.index: _Length() for stream in container.streams.audio}
    for number, packet in enumerate(container.demux(container.streams.audio)):
        lengths[packet.stream_index].take(packet)
        if number % _OFTEN == _OFTEN - 1 and clock.monotonic() > until:
            return None
    longest = max(lengths[stream.index].units * stream.time_base * 1000 for stream in container.streams.audio)
    return round(longest) or None


class _Length:
    """Of all packets together, or from where the first one begins to where the last one ends: whatever is more."""

    def __init__(self) -> None:
        self._together = 0
        self._begin: int | None = None
        self._end = 0

    def take(self, packet: Any) -> None:
        duration = max(packet.duration or 0, 0)
        self._together += duration
        if packet.pts is not None:
            self._begin = packet.pts if self._begin is None else min(self._begin, packet.pts)
            self._end = max(self._end, packet.pts + duration)

    @property
    def units(self) -> int:
        return max(self._together, self._end - (self._begin or 0), 0)
