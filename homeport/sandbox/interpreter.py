"""The Python that runs the code, and which folders of the machine it needs for that."""

import asyncio
import json
import sys
from pathlib import Path
from typing import NamedTuple

_TELL = (
    "import json, os, sys; base = getattr(sys, '_base_executable', None) or sys.executable; "
    "real = os.path.realpath(sys.executable); "
    "print(json.dumps([sys.executable, sys.prefix, sys.base_prefix, os.path.dirname(os.path.dirname(base)), "
    "os.path.dirname(os.path.dirname(real)), sys.version_info[0] * 100 + sys.version_info[1]]))"
)
_SECONDS = 30
_OLDEST = 310
#: Of the folder that a Python is installed in; what else is there is nobody's business.
_PARTS = ("bin", "lib", "lib64", "pyvenv.cfg")
#: Of the system: programs, libraries, time zones, fonts. Nothing of /etc but how libraries are found.
_SYSTEM = (
    "/usr/bin",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/share/fonts",
    "/usr/share/zoneinfo",
    "/etc/alternatives",
    "/etc/fonts",
    "/etc/ld.so.cache",
)
_LINKS = ("/bin", "/lib", "/lib32", "/lib64")


class Interpreter(NamedTuple):
    """program: its path. folders: of the machine, to be seen inside at the same place. links: path -> target."""

    program: str
    folders: tuple[str, ...]
    links: dict[str, str]


async def of(program: str | None) -> Interpreter:
    """program: None for the one that runs this. Raises OSError: it does not run, or is too old."""
    process = await asyncio.create_subprocess_exec(
        program or sys.executable,
        "-I",
        "-c",
        _TELL,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={},
    )
    try:
        async with asyncio.timeout(_SECONDS):
            told, _ = await process.communicate()
        executable, *prefixes, version = json.loads(told)
    except (TimeoutError, ValueError):
        raise OSError(f"{program or sys.executable} does not run as a Python does") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if version < _OLDEST:
        raise OSError(f"{executable} is older than Python {_OLDEST // 100}.{_OLDEST % 100}")
    return Interpreter(executable, tuple(_folders(prefixes)), _links())


def _folders(prefixes: list[str]) -> list[str]:
    """Each once, none within another."""
    wanted = {path for path in _SYSTEM if Path(path).exists()}
    wanted |= {link for link in _LINKS if Path(link).exists() and not Path(link).is_symlink()}
    for prefix in prefixes:
        wanted |= {str(path) for part in _PARTS if (path := Path(prefix, part)).exists()}
    inside = {path for path in wanted if any(f"{other}/" == path[: len(other) + 1] for other in wanted - {path})}
    return sorted(wanted - inside)


def _links() -> dict[str, str]:
    """Where a distribution has moved its folders to /usr."""
    return {link: str(Path(link).readlink()) for link in _LINKS if Path(link).is_symlink()}
