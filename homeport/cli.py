"""The command `homeport`: parse arguments, call one function, print what a person wants to know.

Each subcommand imports what it needs when it runs, so that `homeport --help` answers at once.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from homeport import __version__
from homeport.errors import SettingsError
from homeport.settings import Settings

_DESCRIPTION = """\
Homeport: the OpenAI REST API at home.

One process answers OpenAI's REST API with local models or with upstreams (OpenAI, Azure, vLLM, anything compatible).
Programs change their base_url and nothing else.
"""
_EPILOG = """\
first steps:
  homeport pull                     bring the default models to this machine (about 120 MB, once)
  homeport serve                    serve it on http://127.0.0.1:8000/v1
  homeport doctor                   what is installed, what is missing, and the command that mends it

Settings come from homeport.toml and from HOMEPORT_... variables; docs/configuration.md lists them all.
"""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except SettingsError as error:
        print(f"homeport: {error}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="homeport", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"homeport {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    serve = _command(
        commands,
        "serve",
        "serve the API",
        """\
        Serve the API until SIGTERM or Ctrl-C; requests in flight are finished first. Touches no network by itself.
        Without any configuration a first key is made and shown once, and only this machine can connect.
        """,
    )
    serve.add_argument("--host", help="address to listen on (default 127.0.0.1; others need a key, and TLS)")
    serve.add_argument("--port", type=int, help="port (default 8000; 0 takes a free one)")
    serve.add_argument("--tls-cert", metavar="FILE", help="speak HTTPS: the certificate with its chain, as PEM")
    serve.add_argument("--tls-key", metavar="FILE", help="its private key; both are read again when they change")
    serve.add_argument(
        "--behind-tls-proxy",
        action="store_true",
        default=None,
        help="a proxy in front does TLS: plain HTTP may listen on any address",
    )
    serve.add_argument(
        "--workers", type=_positive, metavar="N", help="processes on the port (default 1; more need redis_url)"
    )
    serve.add_argument(
        "--record", metavar="DIR", help="write every answer down there, streams with their timing, without secrets"
    )
    serve.add_argument(
        "--replay",
        metavar="DIR",
        help="answer from there and ask nobody; with --record: ask for what is not there, and write it down",
    )
    serve.add_argument(
        "--replay-speed", type=float, metavar="N", help="of replayed streams: 1 as they were (default), 0 at once"
    )
    serve.set_defaults(run=_serve)

    worker = _command(
        commands,
        "worker",
        "work on batches, fine-tuning and the like, on another machine than the server",
        """\
        Work on what outlives a request (batches, fine-tuning, housekeeping) until SIGTERM or Ctrl-C, beside servers
        that share a PostgreSQL and a Redis; nobody connects to it. `homeport serve` does this work itself, so this is
        for more hands, or for other machines: set jobs.in_server = false for servers that shall only serve. Give it the
        settings of the servers: database_url and redis_url, models and upstreams (it loads and asks its own), and
        files.store or files.folder, so that it reaches the files. On SIGTERM it takes no more work; what is in hand
        comes to a stop within server.drain_seconds, or is handed back and goes on elsewhere. Killed, it is missed
        after jobs.lease_seconds. More: docs/queue.md.
        """,
    )
    worker.add_argument("--lanes", metavar="LANE,LANE", help="the only work that it does (default: all lanes)")
    worker.set_defaults(run=_worker)

    pull = _command(
        commands,
        "pull",
        "bring a model to this machine",
        """\
        Download a model, verify its digest, and keep it. An interrupted download goes on where it stopped, and what is
        here already is never fetched again. MODEL is a name of the catalogue (see `homeport models`), or a GGUF of
        yours: hf:OWNER/REPO/FILE.gguf, an https URL, or a path; or a diffusion model in ONNX: hf:OWNER/REPO, or the
        path of its folder.
        """,
    )
    pull.add_argument(
        "model", nargs="*", metavar="MODEL", help="default: the default models, for chat, embeddings and drawings"
    )
    pull.set_defaults(run=_pull)

    models = _command(commands, "models", "list the models of this machine and of the catalogue", "")
    models.set_defaults(run=_models)

    _add_keys(commands)
    _add_recordings(commands)

    _add_backups(commands)

    _add_import(commands)
    _add_fine_tune(commands)

    doctor = _command(
        commands,
        "doctor",
        "tell what is installed, what is missing, and the command that mends it",
        "Look at this machine, its configuration and what is stored. Changes nothing. Ends with 1 when something needs "
        "mending.",
    )
    doctor.add_argument("--deep", action="store_true", help="read every stored file, too, and every page of a database")
    doctor.set_defaults(run=_doctor)
    return parser


def _add_keys(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    keys = _command(
        commands,
        "keys",
        "make, list, rotate and revoke API keys",
        """\
        API keys from the command line, by the same rules as through the Admin API. Only hashes are stored. A running
        server sees every change within a second.
        """,
    )
    actions = keys.add_subparsers(title="actions", metavar="ACTION", required=True)
    create = _command(actions, "create", "make a key and show it once", "Make a key. Only its hash is stored.")
    create.add_argument("name", nargs="?", default="key", help="what it is for")
    create.add_argument("--project", metavar="PROJECT", help="id or name of its project (default: the first project)")
    create.add_argument("--models", metavar="NAME,NAME", help="the only models that it may use (default: all)")
    create.add_argument(
        "--scopes", metavar="SCOPE,SCOPE", help="what it may do: model.request, files.read, ... (default: all)"
    )
    create.add_argument("--days", type=int, metavar="N", help="how long it works (default: until it is revoked)")
    create.add_argument("--admin", action="store_true", help="a key of the Admin API, and of nothing else")
    create.set_defaults(run=_keys_create)
    _command(actions, "list", "list the keys, masked", "").set_defaults(run=_keys_list)
    rotate = _command(
        actions,
        "rotate",
        "replace a key",
        "Make a new key with the settings of an old one, which works for a while yet.",
    )
    rotate.add_argument("id", help="the old key's id, as `homeport keys list` shows it")
    rotate.add_argument(
        "--overlap", type=int, default=86_400, metavar="SECONDS", help="how long the old key works (default: a day)"
    )
    rotate.set_defaults(run=_keys_rotate)
    revoke = _command(actions, "revoke", "revoke a key", "A running server refuses the key within a second.")
    revoke.add_argument("id", help="the key's id, as `homeport keys list` shows it")
    revoke.set_defaults(run=_keys_revoke)


def _add_recordings(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    recordings = _command(
        commands,
        "recordings",
        "list and show what `homeport serve --record` has written down",
        """\
        A folder of recordings holds one JSON file for each question, with the answers that it got. The files are made
        to be read, compared and kept beside the tests that need them.
        """,
    )
    actions = recordings.add_subparsers(title="actions", metavar="ACTION", required=True)
    listed = _command(
        actions, "list", "list the recordings of a folder", "One line a recording. Ends with 1 if one is broken."
    )
    listed.add_argument("folder", metavar="DIR", type=Path)
    listed.set_defaults(run=_recordings_list)
    show = _command(actions, "show", "show a recording: its question, and what was answered", "")
    show.add_argument("file", metavar="FILE", type=Path)
    show.set_defaults(run=_recordings_show)


def _add_backups(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    backup = _command(
        commands,
        "backup",
        "copy the databases and all files, while serving",
        """\
        Write a consistent copy of the databases and of the files that they know of, while the server goes on. It holds
        no key that anybody could use; it does hold what users have stored, so keep it as safe as that. Ends with 1 when
        some file was damaged already; the rest is in the backup.
        """,
    )
    backup.add_argument("target", metavar="DIR|FILE.tar", type=Path, help="where nothing is yet")
    backup.add_argument("--models", action="store_true", help="models, too, which `homeport pull` would bring again")
    backup.set_defaults(run=_backup)
    restore = _command(
        commands,
        "restore",
        "make what was backed up the state of this Homeport",
        """\
        Check all of a backup, then put it back, into the data folder or into the database of the settings; SQLite or
        PostgreSQL, whichever it came from. Homeport must not run meanwhile. If it is cut, begin it again.
        """,
    )
    restore.add_argument("source", metavar="DIR|FILE.tar", type=Path, help="what `homeport backup` has written")
    restore.add_argument("--force", action="store_true", help="though there is a state already: it goes")
    restore.set_defaults(run=_restore)


def _add_import(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    imports = _command(
        commands,
        "import",
        "bring in what was exported from OpenAI's API",
        """\
        What programs have dumped from OpenAI's API becomes part of a project here. It works on the database, whether a
        server runs or not; a running one shows it at once. More: docs/import.md.
        """,
    )
    kinds = imports.add_subparsers(title="what", metavar="WHAT", required=True)
    threads = _command(
        kinds,
        "threads",
        "threads of assistants, with their messages",
        """\
        Make threads of a file of them: JSON, or JSON Lines, with an object for each thread and its messages. Ids,
        times, order, metadata and annotations stay; an id that is taken becomes another one, and that is told. To
        import a file again does no harm: what is there stays as it is, and what has come since is added. Ends with 1
        when something of the file could not be read; the rest is imported.
        """,
    )
    threads.add_argument("file", metavar="FILE", type=Path, help="what was dumped; docs/import.md shows how")
    threads.add_argument("--project", metavar="ID|NAME", help="whose threads they become (default: the first project)")
    threads.add_argument("--dry-run", action="store_true", help="say what would become of it, and write nothing")
    threads.set_defaults(run=_import_threads)


def _add_fine_tune(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    fine_tune = _command(
        commands,
        "fine-tune",
        "watch and list fine-tuning jobs",
        """\
        What fine-tuning jobs are doing, in the terminal. It asks a server as any program does, this machine's or
        another's, with a key of the project whose jobs they are; OpenAI's own works, too.
        """,
        local=False,
    )
    actions = fine_tune.add_subparsers(title="actions", metavar="ACTION", required=True)
    watch = _command(
        actions,
        "watch",
        "draw a job's loss and accuracy until it has ended",
        """\
        Follow a job until it has ended: its state, how far it is and how long it will take, its loss and accuracy as
        curves (training cyan, validation yellow), and what was told last. Where the output is no terminal, or with
        NO_COLOR set, each thing that happens is a line. A connection that breaks is made again. Ctrl-C ends the
        watching and not the job. Ends with 0 when the job has succeeded, with 1 when it has failed or was cancelled.
        """,
        local=False,
    )
    watch.add_argument("id", metavar="ID", help="the job's id, ftjob-..., as `homeport fine-tune list` shows it")
    watch.set_defaults(run=_fine_tune_watch)
    listed = _command(
        actions,
        "list",
        "list the jobs, the newest first",
        "A line for each job: its id, its state, when it was made, and the model: the new one, once there is one.",
        local=False,
    )
    listed.add_argument("--limit", type=_positive, default=20, metavar="N", help="how many (default 20, at most 100)")
    listed.set_defaults(run=_fine_tune_list)
    for action in (watch, listed):
        action.add_argument(
            "--base-url", metavar="URL", help="of the server (default OPENAI_BASE_URL, or http://127.0.0.1:8000/v1)"
        )
        action.add_argument("--api-key", metavar="KEY", help="better in the environment, as OPENAI_API_KEY")


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    summary: str,
    description: str,
    *,
    local: bool = True,
) -> argparse.ArgumentParser:
    """local: it works with this machine's settings, and not with a server."""
    parser = commands.add_parser(
        name, help=summary, description=" ".join(description.split()) or f"{summary[0].upper()}{summary[1:]}."
    )
    if local:
        parser.add_argument("--data", metavar="DIR", help="folder for keys, models and records (default ~/.homeport)")
        parser.add_argument(
            "--config", metavar="FILE", type=Path, help="settings (default ./homeport.toml if it is there)"
        )
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    """The file, the environment, and on top of both what the command line says."""
    import msgspec

    from homeport import settings

    loaded = settings.load(options.config)
    names = ("host", "port", "workers", "data", "tls_cert", "tls_key", "behind_tls_proxy")
    given = {name: value for name in names if (value := getattr(options, name, None)) is not None}
    told = {"record": "record", "replay": "replay", "replay_speed": "speed"}
    recording = {name: value for option, name in told.items() if (value := getattr(options, option, None)) is not None}
    lanes = _names(getattr(options, "lanes", None))
    return msgspec.structs.replace(
        loaded,
        jobs=msgspec.structs.replace(loaded.jobs, lanes=tuple(lanes)) if lanes is not None else loaded.jobs,
        server=msgspec.structs.replace(loaded.server, **given),
        recording=msgspec.structs.replace(loaded.recording, **recording),
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _serve(options: argparse.Namespace) -> int:
    settings = _settings(options)
    if settings.server.workers > 1:
        from homeport import workers

        return workers.serve(settings)
    from homeport.serving import serve

    return serve(settings)


def _worker(options: argparse.Namespace) -> int:
    from homeport.errors import HomeportError
    from homeport.working import work

    try:
        return work(_settings(options))
    except HomeportError as error:
        print(f"homeport: {error.message}", file=sys.stderr)
        return 1


def _pull(options: argparse.Namespace) -> int:
    from homeport.backends import models
    from homeport.settings import DEFAULT_DRAWING_MODEL, DEFAULT_EMBEDDING_MODEL, DEFAULT_MODEL, hub

    settings = _settings(options)
    hub_url, token = hub()
    try:
        for name in options.model or [DEFAULT_MODEL, DEFAULT_EMBEDDING_MODEL, DEFAULT_DRAWING_MODEL]:
            pulled = models.pull(name, settings.data / "models", hub_url=hub_url, token=token)
            print(f"{pulled.name}: {pulled.path}")
    except models.PullError as error:
        print(f"homeport: {error}", file=sys.stderr)
        return 1
    return 0


def _models(options: argparse.Namespace) -> int:
    from homeport.backends import models

    folder = _settings(options).data / "models"
    for name, entry in models.catalogue().items():
        here = models.find(name, folder)
        print(f"{name:28} {entry.kind:13} {'here: ' + str(here) if here else f'homeport pull {name}'}")
    for name in models.installed(folder):
        if name not in models.catalogue():
            print(f"{name:28} {'yours':13} here: {models.find(name, folder)}")
    return 0


def _keys_create(options: argparse.Namespace) -> int:
    from homeport import keys

    made = keys.create(
        _settings(options),
        options.name,
        admin=options.admin,
        project=options.project,
        models=_names(options.models),
        scopes=_names(options.scopes),
        days=options.days,
    )
    print(made.secret)
    print(f"{made.id}: shown once, only its hash is stored.", file=sys.stderr)
    return 0


def _keys_list(options: argparse.Namespace) -> int:
    from homeport import keys

    for line in keys.listed(_settings(options)):
        print(line)
    return 0


def _keys_rotate(options: argparse.Namespace) -> int:
    from homeport import keys

    made = keys.rotate(_settings(options), options.id, overlap=options.overlap)
    print(made.secret)
    print(f"{made.id}: shown once. {options.id} works until {made.until} UTC.", file=sys.stderr)
    return 0


def _keys_revoke(options: argparse.Namespace) -> int:
    from homeport import keys

    print(f"{options.id} {keys.revoke(_settings(options), options.id)} is revoked.")
    return 0


def _recordings_list(options: argparse.Namespace) -> int:
    from homeport.records import lines

    broken = False
    for line in lines(options.folder):
        print(line.text, file=sys.stderr if line.broken else sys.stdout)
        broken = broken or line.broken
    return 1 if broken else 0


def _recordings_show(options: argparse.Namespace) -> int:
    from homeport.records import shown

    print(shown(options.file))
    return 0


def _backup(options: argparse.Namespace) -> int:
    from homeport import backup

    made = backup.make(_settings(options), options.target, models=options.models)
    print(f"{options.target}: {made}")
    for digest in made.damaged:
        print(f"homeport: the file with SHA-256 {digest} is missing or damaged, and not in the backup", file=sys.stderr)
    return 1 if made.damaged else 0


def _restore(options: argparse.Namespace) -> int:
    from homeport import restore

    print(f"restored: {restore.put_back(_settings(options), options.source, force=options.force)}")
    return 0


def _import_threads(options: argparse.Namespace) -> int:
    from homeport import imports

    lines = imports.threads(_settings(options), options.file, project=options.project, dry=options.dry_run)
    for line in lines:
        print(line.text, file=sys.stderr if line.wrong else sys.stdout)
    return 1 if any(line.wrong for line in lines) else 0


def _fine_tune_watch(options: argparse.Namespace) -> int:
    from homeport.fine_tune import command

    return command.watch(*_server(options), options.id)


def _fine_tune_list(options: argparse.Namespace) -> int:
    from homeport.fine_tune import command

    return command.list_jobs(*_server(options), limit=options.limit)


def _server(options: argparse.Namespace) -> tuple[str, str | None]:
    """Address and key of the server that is asked."""
    from homeport import settings

    base_url, key = settings.client()
    return options.base_url or base_url, options.api_key or key


def _names(text: str | None) -> list[str] | None:
    return [name.strip() for name in text.split(",") if name.strip()] if text is not None else None


def _doctor(options: argparse.Namespace) -> int:
    from homeport.doctor import examine

    findings = examine(_settings(options), deep=options.deep)
    for finding in findings:
        print(f"{'ok ' if finding.ok else 'no '} {finding.what}" + ("" if finding.ok else f"\n     {finding.mend}"))
    return 0 if all(finding.ok or finding.optional for finding in findings) else 1
