"""`homeport import`: what was exported from OpenAI's API."""

import argparse
import sys
from pathlib import Path

from homeport.commands.parsing import Commands, command, settings_of


def add(commands: Commands) -> None:
    imports = command(
        commands,
        "import",
        "bring in what was exported from OpenAI's API",
        """\
        What programs have dumped from OpenAI's API becomes part of a project here. It works on the database, whether a
        server runs or not; a running one shows it at once. More: docs/import.md.
        """,
    )
    kinds = imports.add_subparsers(title="what", metavar="WHAT", required=True)
    threads = command(
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
    threads.set_defaults(run=_threads)


def _threads(options: argparse.Namespace) -> int:
    from homeport import imports

    lines = imports.threads(settings_of(options), options.file, project=options.project, dry=options.dry_run)
    for line in lines:
        print(line.text, file=sys.stderr if line.wrong else sys.stdout)
    return 1 if any(line.wrong for line in lines) else 0
