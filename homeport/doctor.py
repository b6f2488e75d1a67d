"""`homeport doctor`: what is installed, what is missing, and the command that mends it. Looks, changes nothing."""

import asyncio
import os
import platform
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from homeport import __version__
from homeport.backends import models, registry
from homeport.backing import local_models
from homeport.errors import HomeportError, SettingsError
from homeport.settings import DEFAULT_EMBEDDING_MODEL, DEFAULT_MODEL, Settings
from homeport.store import restoring

_SMALLEST_FREE = 1_000_000_000
#: Models that `homeport pull` brings unless it is told others.
_PULLED = (DEFAULT_MODEL, DEFAULT_EMBEDDING_MODEL)
#: Names of a finding that are shown.
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """optional: nothing is broken without it."""

    ok: bool
    what: str
    mend: str = ""
    optional: bool = False


def examine(settings: Settings, *, deep: bool = False) -> list[Finding]:
    """deep: every stored file is read, and every page of a database."""
    return [
        *_machine(settings),
        *_tls(settings),
        *_engines(),
        *_trainer(settings),
        *_cells(settings),
        *_models(settings),
        *_state(settings, deep),
        *_stored(settings, deep),
        *_vectors(settings),
        *_shared(settings),
        *_wiring(settings),
    ]


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


def _tls(settings: Settings) -> Iterator[Finding]:
    from homeport.api import tls

    try:
        certificate = tls.certificate(settings.server)
    except SettingsError as error:
        yield Finding(False, "the certificate cannot be used", str(error))
        return
    if certificate is not None:
        yield Finding(True, f"certificate {settings.server.tls_cert}")
        if stat.S_IMODE(certificate.key.stat().st_mode) & 0o077:
            yield Finding(False, f"{certificate.key} can be read by others", f"chmod 600 {certificate.key}")


def _engines() -> Iterator[Finding]:
    for engine, (_, _, extra) in registry.ENGINES.items():
        here = registry.installed(engine)
        yield Finding(
            here,
            f"engine {engine}" + ("" if here else " is not installed"),
            f"pip install 'homeport[{extra}]'",
            optional=engine != "llama_cpp",
        )


def _trainer(settings: Settings) -> Iterator[Finding]:
    works = settings.jobs.in_server and (not settings.jobs.lanes or "fine_tuning" in settings.jobs.lanes)
    if works:
        here = find_spec("torch") is not None
        yield Finding(
            here,
            "trainer for fine-tuning" + ("" if here else ": PyTorch is not installed"),
            "pip install 'homeport[train]' (docs/fine-tuning.md says which build of PyTorch)",
            optional=True,
        )


def _cells(settings: Settings) -> Iterator[Finding]:
    """Where code runs: a cell is really made."""
    if settings.code_interpreter.enabled:
        from homeport.sandbox import probe
        from homeport.sandbox.cell import Limits

        reason = asyncio.run(probe.walls(settings.code_interpreter, Limits(), hidden=[settings.data])).reason
        yield Finding(
            not reason,
            "the code interpreter's cells" + (" cannot be made" if reason else ""),
            reason,
            optional=True,
        )


def _models(settings: Settings) -> Iterator[Finding]:
    folder = settings.data / "models"
    for name, model in local_models(settings).items():
        if model.engine == "echo" or model.engine in registry.BUILT_IN or model.path is not None:
            continue
        here = models.find(name, folder)
        yield Finding(
            here is not None,
            f"model {name}" + (f": {here}" if here else " is not on this machine"),
            f"homeport pull {name}",
            optional=name not in settings.models and (bool(settings.upstreams) or name not in _PULLED),
        )
    for problem in models.verify(folder):
        yield Finding(False, problem.what, problem.mend)


def _state(settings: Settings, deep: bool) -> Iterator[Finding]:
    """Databases that are there: readable, whole, of this version's form; how many keys they have."""
    if restoring.is_cut(settings.data):
        yield Finding(False, f"a restore into {settings.data} has not come to its end", "homeport restore, again")
        return
    if settings.database_url is None and not (settings.data / "state.db").exists():
        yield Finding(False, "no API key yet", "homeport keys create", optional=True)
        return
    from homeport.control import keys
    from homeport.store import migrations
    from homeport.store.database import Database

    async def look(url: str, history: str) -> tuple[str, int]:
        database = Database(url)
        try:
            problem = await migrations.problem(database, history, deep=deep)
            return problem, await keys.count(database) if history == "state" and not problem else 0
        finally:
            await database.close()

    for history, url in (("state", settings.state_url), ("usage", settings.usage_url)):
        if settings.database_url is None and not (settings.data / f"{history}.db").exists():
            continue
        try:
            problem, count = asyncio.run(look(url, history))
        except (HomeportError, SettingsError) as error:
            yield Finding(False, f"the database ({history}): {error}", "check database_url, and that the server runs")
            continue
        what = "PostgreSQL" if settings.database_url else str(settings.data / f"{history}.db")
        yield Finding(not problem, f"{what} ({history})" + (f": {problem}" if problem else ""), "see the line above")
        if history == "state" and not problem:
            known = f"{count} API keys" if count else "no API key yet"
            yield Finding(count > 0, known, "homeport keys create", optional=True)
    for file in sorted(settings.data.glob("*.db")):
        if stat.S_IMODE(file.stat().st_mode) & 0o077:
            yield Finding(False, f"{file} can be read by others", f"chmod 600 {file}")


def _stored(settings: Settings, deep: bool) -> Iterator[Finding]:
    """Files and the rows that know of them; jobs that nobody works on."""
    if restoring.is_cut(settings.data) or not (settings.database_url or (settings.data / "state.db").exists()):
        return
    from homeport.store import health
    from homeport.store.blobs import chosen
    from homeport.store.database import Database

    async def look() -> health.Health | None:
        database = Database(settings.state_url)
        try:
            return await health.look(chosen(settings, database), deep=deep)
        finally:
            await database.close()

    try:
        found = asyncio.run(look())
    except (HomeportError, SettingsError) as error:
        yield Finding(False, f"stored files: {error}", "check the settings [files], and that the store is there")
        return
    if found is None:
        return  # the database is of another form, which was said
    yield Finding(
        not found.missing,
        f"{found.blobs} stored contents in {found.where}" + _some(found.missing, "without their bytes: those of files"),
        "bring them from a backup, or delete these files",
    )
    if deep:
        yield Finding(
            not found.damaged,
            "every stored content was read" + _some(found.damaged, "damaged: those of files"),
            "bring them from a backup, or delete these files",
        )
    if found.orphans:
        yield Finding(
            False,
            f"{found.orphans} contents that no file refers to, older than an hour",
            "a Homeport that runs takes them away within the hour",
            optional=True,
        )
    if found.stale_jobs:
        yield Finding(False, f"{found.stale_jobs} jobs wait for their worker, which has gone", "homeport serve")
    yield Finding(
        not found.idle_batches,
        "every unfinished batch is worked on"
        if not found.idle_batches
        else "unfinished batches that nobody works on" + _some(found.idle_batches, ""),
        "cancel them (POST /v1/batches/ID/cancel), and make them anew",
    )
    if found.idle_tunings:
        yield Finding(
            False,
            "fine-tuning jobs that nobody works on" + _some(found.idle_tunings, ""),
            "cancel them (POST /v1/fine_tuning/jobs/ID/cancel), and make them anew",
        )


def _vectors(settings: Settings) -> Iterator[Finding]:
    """What compares the vectors of vector stores, where a database could."""
    if settings.database_url is None or not settings.vector_stores.pgvector:
        return
    from homeport.store import pgvector
    from homeport.store.database import Database

    async def look() -> bool:
        database = Database(settings.state_url)
        try:
            return await pgvector.missing(database)
        finally:
            await database.close()

    try:
        missing = asyncio.run(look())
    except HomeportError:
        return  # which was said
    yield Finding(
        not missing,
        "PostgreSQL's extension `vector`" + (" is not there: vectors are compared in memory" if missing else ""),
        "install pgvector on the database's machine, or set vector_stores.pgvector = false",
        optional=True,
    )


def _some(names: Sequence[str], what: str) -> str:
    """`: 5 ..., a, b, c, ...`; nothing of nothing."""
    if not names:
        return ""
    return f": {len(names)} {what} {', '.join(names[:_SHOWN])}".replace("  ", " ") + (
        ", ..." if len(names) > _SHOWN else ""
    )


def _shared(settings: Settings) -> Iterator[Finding]:
    if settings.redis_url is None:
        return
    try:
        from redis import Redis, RedisError
    except ModuleNotFoundError:
        yield Finding(False, "redis_url is set, and Redis's client is missing", "pip install 'homeport[redis]'")
        return
    try:
        with Redis.from_url(settings.redis_url, socket_timeout=2, socket_connect_timeout=2) as redis:
            redis.ping()
    except (RedisError, OSError, ValueError):
        yield Finding(False, "Redis does not answer at redis_url", "check redis_url, and that Redis runs")
    else:
        yield Finding(True, "Redis answers")


def _wiring(settings: Settings) -> Iterator[Finding]:
    for name, upstream in settings.upstreams.items():
        has_key = bool(upstream.api_key or upstream.bearer_token) or "127.0.0.1" in upstream.base_url
        yield Finding(
            has_key,
            f"upstream {name}: {upstream.base_url}" + ("" if has_key else " has no key"),
            f"export HOMEPORT_UPSTREAMS_{name.upper().replace('-', '_')}_API_KEY=...",
            optional=True,
        )
