"""`homeport doctor`: what is installed, what is missing, and the command that mends it. Looks, changes nothing."""

import os
import platform
import shutil
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from homeport import __version__, app
from homeport.backends import models, registry
from homeport.errors import SettingsError
from homeport.settings import DEFAULT_MODEL, Settings

_SMALLEST_FREE = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """optional: nothing is broken without it."""

    ok: bool
    what: str
    mend: str = ""
    optional: bool = False


def examine(settings: Settings) -> list[Finding]:
    return [*_machine(settings), *_engines(), *_models(settings), *_keys(settings), *_wiring(settings)]


def _machine(settings: Settings) -> Iterator[Finding]:
    yield Finding(True, f"homeport {__version__}, Python {platform.python_version()}, {os.cpu_count()} cores")
    try:
        import uvloop  # noqa: F401

        yield Finding(True, "uvloop (the fast event loop)")
    except ImportError:
        yield Finding(sys.platform == "win32", "uvloop is missing", "pip install uvloop", optional=True)
    folder = next(place for place in (settings.data, *settings.data.parents) if place.exists())
    free = shutil.disk_usage(folder).free
    yield Finding(
        free > _SMALLEST_FREE,
        f"data folder {settings.data}: {free / 1e9:.1f} GB free",
        "Make room, or choose another folder with --data DIR.",
    )
    if settings.data.exists() and not os.access(settings.data, os.W_OK):
        yield Finding(False, f"{settings.data} is not writable", f"chown -R $USER {settings.data}")


def _engines() -> Iterator[Finding]:
    for engine, (_, _, extra) in registry.ENGINES.items():
        here = registry.installed(engine)
        yield Finding(
            here,
            f"engine {engine}" + ("" if here else " is not installed"),
            f"pip install 'homeport[{extra}]'",
            optional=engine != "llama_cpp",
        )


def _models(settings: Settings) -> Iterator[Finding]:
    folder = settings.data / "models"
    for name, model in app.local_models(settings).items():
        if model.engine == "echo" or model.path is not None:
            continue
        here = models.find(name, folder)
        yield Finding(
            here is not None,
            f"model {name}" + (f": {here}" if here else " is not on this machine"),
            f"homeport pull {name}",
            optional=name == DEFAULT_MODEL and bool(settings.upstreams),
        )
    for problem in models.verify(folder):
        yield Finding(False, problem.what, problem.mend)


def _keys(settings: Settings) -> Iterator[Finding]:
    file = app.key_file(settings)
    try:
        count = len(file.read())
    except SettingsError as error:
        yield Finding(False, str(error), "homeport keys create")
        return
    yield Finding(count > 0, f"{count} API keys" if count else "no API key yet", "homeport keys create", optional=True)
    if file.path.exists() and stat.S_IMODE(file.path.stat().st_mode) & 0o077:
        yield Finding(False, f"{file.path} can be read by others", f"chmod 600 {file.path}")


def _wiring(settings: Settings) -> Iterator[Finding]:
    for name, upstream in settings.upstreams.items():
        has_key = bool(upstream.api_key or upstream.bearer_token) or "127.0.0.1" in upstream.base_url
        yield Finding(
            has_key,
            f"upstream {name}: {upstream.base_url}" + ("" if has_key else " has no key"),
            f"export HOMEPORT_UPSTREAMS_{name.upper().replace('-', '_')}_API_KEY=...",
            optional=True,
        )
