"""`homeport backup` and `homeport restore`."""

import argparse
import sys
from pathlib import Path

from homeport.commands.parsing import Commands, command, settings_of


def add(commands: Commands) -> None:
    backup = command(
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
    restore = command(
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


def _backup(options: argparse.Namespace) -> int:
    from homeport import backup

    made = backup.make(settings_of(options), options.target, models=options.models)
    print(f"{options.target}: {made}")
    for digest in made.damaged:
        print(f"homeport: the file with SHA-256 {digest} is missing or damaged, and not in the backup", file=sys.stderr)
    return 1 if made.damaged else 0


def _restore(options: argparse.Namespace) -> int:
    from homeport import restore

    print(f"restored: {restore.put_back(settings_of(options), options.source, force=options.force)}")
    return 0
