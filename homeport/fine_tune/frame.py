"""A job as lines of a terminal: drawn, or one plain line for each thing that has happened."""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

from homeport.fine_tune import curve
from homeport.fine_tune.curve import Points
from homeport.fine_tune.progress import ACCURACY, LOSS, Curve, Progress, number, step_of
from homeport.fine_tune.server import Object

#: Lines beside the two charts, and of a chart beside its curves.
_OTHERS, _AXES = 5, 3
_EVENTS = 6
_LEAST_ROWS, _MOST_ROWS = 2, 8
#: Characters in front of a chart.
_MARGIN, _LEAST_CHART = 9, 10
_LEAST_BAR, _MOST_BAR = 10, 30
_RESET, _BOLD, _DIM, _RED = "\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m"
_YELLOW = "\x1b[33m"
#: Of curves: cyan and yellow, which colour-blind people can tell apart.
_COLOURS = {"train": "\x1b[36m", "valid": _YELLOW}
_LEVELS = {"error": _RED, "warn": _YELLOW}


def frame(progress: Progress, *, columns: int, rows: int, now: float, colours: bool = True) -> list[str]:
    """Lines that fit into a terminal of that size, one line being left for the cursor. now: Unix seconds."""
    paint = _Paint(columns, colours)
    charts = [(name, curves) for name, curves in (("loss", LOSS), ("accuracy", ACCURACY)) if _points(progress, curves)]
    lines = [*_head(progress, paint, now)]
    shown = min(_EVENTS, max(1, rows - _OTHERS - len(charts) * (_AXES + _LEAST_ROWS) - 1), len(progress.messages))
    room = rows - 1 - len(lines) - shown - 1
    if charts:
        height = min(_MOST_ROWS, room // len(charts) - _AXES)
        while charts and height < _LEAST_ROWS:  # a very small terminal has the loss alone, or nothing
            charts.pop()
            height = min(_MOST_ROWS, room // len(charts) - _AXES) if charts else 0
        for name, curves in charts:
            lines += _chart(name, progress, curves, paint, height)
    lines.append("")
    messages = progress.messages[-shown:] if shown else []
    lines += [
        paint.line(f"{_time(one)}  {_clean(one.get('message'))}", _LEVELS.get(str(one.get("level")), ""))
        for one in messages
    ]
    return lines[: max(1, rows - 1)]


def plain(event: Object) -> str:
    """An event as one line."""
    if step_of(event) is None:
        return f"{_time(event)}  {_clean(event.get('message'))}"
    total = number(event, "total_steps")
    parts = [f"step {step_of(event)}" + (f"/{int(total)}" if total else "")]
    for what, curves in (("loss", LOSS), ("accuracy", ACCURACY)):
        parts += [f"{one.name} {what} {value:.4f}" for one in curves if (value := number(event, one.key)) is not None]
    return f"{_time(event)}  {'  '.join(parts)}"


def listed(job: Object) -> str:
    """A job as one line of a list."""
    model = job.get("fine_tuned_model") or job.get("model")
    return f"{_clean(job.get('id'))}  {_clean(job.get('status')):16}  {_date(job)}  {_clean(model)}"


def ending(progress: Progress) -> str:
    """What has become of it, in a line."""
    job = progress.job
    if progress.status == "succeeded":
        return f"succeeded: {_clean(job.get('fine_tuned_model'))}"
    error = job.get("error")
    why = error.get("message") if isinstance(error, dict) else None
    return f"{_clean(progress.status)}: {_clean(why)}" if why else _clean(progress.status)


class _Paint:
    """Lines of one width."""

    def __init__(self, columns: int, colours: bool) -> None:
        self.columns = columns
        self._colours = colours

    def line(self, text: str, colour: str = "") -> str:
        return self.coloured(text[: self.columns - 1], colour)

    def coloured(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_RESET}" if self._colours and colour else text


def _head(progress: Progress, paint: _Paint, now: float) -> list[str]:
    job = progress.job
    model, made = _clean(job.get("model")), job.get("fine_tuned_model")
    lines = [paint.line(f"{_clean(job.get('id'))}  {model}" + (f" -> {_clean(made)}" if made else ""), _BOLD)]
    told = [_clean(progress.status)]
    if progress.step:
        told.append(f"step {progress.step}/{progress.total}" if progress.total else f"step {progress.step}")
    if (left := progress.seconds_left(now)) is not None:
        told.append(f"about {_duration(left)} left")
    if progress.total:
        share = min(1.0, progress.step / progress.total)
        told.append(f"{share:.0%}")
        width = min(_MOST_BAR, paint.columns - len("  ".join(told)) - 3)
        full = round(share * width)
        told += [f"{'█' * full}{'░' * (width - full)}"] if width >= _LEAST_BAR else []
    lines.append(paint.line("  ".join(told)))
    hyperparameters = job.get("hyperparameters")
    known = {**(hyperparameters if isinstance(hyperparameters, dict) else {}), "seed": job.get("seed")}
    lines.append(paint.line("  ".join(f"{_clean(name)} {_clean(value)}" for name, value in known.items()), _DIM))
    if progress.trouble:
        lines.append(paint.line(f"not connected, trying again: {_clean(progress.trouble)}", _RED))
    return lines


def _chart(name: str, progress: Progress, curves: Sequence[Curve], paint: _Paint, height: int) -> list[str]:
    points = _points(progress, curves)
    colours = [_COLOURS[one.name] for one, _ in points]
    legend = [paint.coloured(f"{one.name} {found[-1][1]:.4f}", _COLOURS[one.name]) for one, found in points]
    right = float(progress.total or progress.step or 1)
    low, high = curve.reach([found for _, found in points])
    width = max(_LEAST_CHART, paint.columns - _MARGIN - 1)
    rows = curve.cells([found for _, found in points], columns=width, rows=height, right=right)
    lines = ["", "  ".join([f"{name:{_MARGIN - 2}}", *legend])]
    labels = {0: f"{high:.3f}", height - 1: f"{low:.3f}"}
    for at, row in enumerate(rows):
        label = labels.get(at, "")
        runs = [(of, "".join(cell.text for cell in run)) for of, run in groupby(row, key=lambda cell: cell.curve)]
        if runs[-1][0] is None:
            runs.pop()
        line = "".join(paint.coloured(text, colours[of]) if of is not None else text for of, text in runs)
        lines.append(f"{label:>{_MARGIN - 2}} ┤{line}")
    end = str(int(right))
    return [*lines, paint.line(f"{'':{_MARGIN - 1}}└{'0':─<{width - len(end)}}{end}")]


def _points(progress: Progress, curves: Sequence[Curve]) -> list[tuple[Curve, Points]]:
    """Of those that have any."""
    return [(one, found) for one in curves if (found := progress.points(one))]


def _time(event: Object) -> str:
    """Where this terminal is."""
    created = event.get("created_at")
    return datetime.fromtimestamp(created).astimezone().strftime("%H:%M:%S") if isinstance(created, int) else "--:--:--"


def _date(job: Object) -> str:
    created = job.get("created_at")
    when = datetime.fromtimestamp(created).astimezone() if isinstance(created, int) else None
    return when.strftime("%Y-%m-%d %H:%M") if when is not None else " " * 16


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _clean(value: object) -> str:
    """On one line, and nothing that a terminal would obey."""
    return "".join(one if one.isprintable() else " " for one in str(value if value is not None else "-"))
