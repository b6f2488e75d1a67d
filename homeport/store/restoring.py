"""A data folder that is being restored says so, until all of it is there: a restore that was cut is no state to serve.

The mark is a file, written before anything else and taken away last.
"""

from pathlib import Path

from homeport.errors import SettingsError

_NAME = "restoring"


def is_cut(data: Path) -> bool:
    """A restore has begun there and not ended."""
    return (data / _NAME).exists()


def check(data: Path) -> None:
    """Raises SettingsError."""
    if is_cut(data):
        raise SettingsError(
            f"A restore into {data} has not come to its end: what is there is not whole. Run `homeport restore` again."
        )


def begin(data: Path, source: Path) -> None:
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    (data / _NAME).write_text(f"{source}\n", "utf-8")


def end(data: Path) -> None:
    (data / _NAME).unlink()
