"""What was said as subtitles: SubRip (`srt`) and WebVTT (`vtt`)."""

from collections.abc import Iterable
from typing import NamedTuple


class Line(NamedTuple):
    """start, end: seconds."""

    start: float
    end: float
    text: str


def srt(lines: Iterable[Line]) -> str:
    blocks = [
        f"{number}\n{_time(one.start, ',')} --> {_time(one.end, ',')}\n{_plain(one.text)}\n\n"
        for number, one in enumerate(lines, 1)
    ]
    return "".join(blocks) or "\n"


def vtt(lines: Iterable[Line]) -> str:
    blocks = [f"{_time(one.start, '.')} --> {_time(one.end, '.')}\n{_plain(one.text)}\n\n" for one in lines]
    return "WEBVTT\n\n" + "".join(blocks)


def _time(seconds: float, point: str) -> str:
    """Hours too, whatever there are of them, or players disagree."""
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{point}{milliseconds:03}"


def _plain(text: str) -> str:
    """An arrow or an empty line in it would be read as the begin of another."""
    return " ".join(text.split()).replace("-->", "->")
