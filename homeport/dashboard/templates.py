"""Jinja's environment, and the words that all templates use."""

from datetime import UTC, datetime
from decimal import Decimal

import jinja2
from markupsafe import Markup

from homeport import __version__
from homeport.dashboard.static import Static

_UNITS = ("bytes", "KB", "MB", "GB", "TB")


def environment(static: Static) -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("homeport.dashboard", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(static=static.url, version=__version__)
    made.filters.update(number=number, money=money, size=size, when=when, percent=percent, duration=duration)
    return made


def number(value: float | None) -> str:
    """`12,345`; nothing known: a dash."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def money(value: str | float | None) -> str:
    """Dollars: two digits, more where they would say 0.00."""
    if value is None:
        return "–"
    dollars = Decimal(str(value))
    if dollars == 0 or abs(dollars) >= Decimal("0.01"):
        return f"${dollars:,.2f}"
    return f"${dollars:.2g}" if abs(dollars) < Decimal("0.000001") else f"${dollars:.6f}".rstrip("0")


def size(value: float | None) -> str:
    """Bytes, in units of 1,000."""
    if value is None:
        return "–"
    unit = 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value /= 1000
        unit += 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 or value >= 100 else f"{value:.1f} {_UNITS[unit]}"


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def duration(seconds: float | None) -> str:
    """`12 ms`, `1.2 s`, `3 min 4 s`, `2 h 10 min`, `3 days 4 h`."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if hours >= 48:
        return f"{hours // 24} days {hours % 24} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min {seconds % 60:.0f} s"


def when(seconds: float | None) -> Markup:
    """A moment, which core/format.js says in the reader's own time."""
    if seconds is None:
        return Markup("–")
    at = datetime.fromtimestamp(seconds, UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(at.isoformat(), f"{at:%Y-%m-%d %H:%M}")
