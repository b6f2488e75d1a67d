"""`homeport recordings`: what has been written down."""

import argparse
import sys
from pathlib import Path

from homeport.commands.parsing import Commands, command


def add(commands: Commands) -> None:
    recordings = command(
        commands,
        "recordings",
        "list and show what `homeport serve --record` has written down",
        """\
        A folder of recordings holds one JSON file for each question, with the answers that it got. The files are made
        to be read, compared and kept beside the tests that need them.
        """,
    )
    actions = recordings.add_subparsers(title="actions", metavar="ACTION", required=True)
    listed = command(
        actions, "list", "list the recordings of a folder", "One line a recording. Ends with 1 if one is broken."
    )
    listed.add_argument("folder", metavar="DIR", type=Path)
    listed.set_defaults(run=_list)
    show = command(actions, "show", "show a recording: its question, and what was answered", "")
    show.add_argument("file", metavar="FILE", type=Path)
    show.set_defaults(run=_show)


def _list(options: argparse.Namespace) -> int:
    from homeport.records import lines

    broken = False
    for line in lines(options.folder):
        print(line.text, file=sys.stderr if line.broken else sys.stdout)
        broken = broken or line.broken
    return 1 if broken else 0


def _show(options: argparse.Namespace) -> int:
    from homeport.records import shown

    print(shown(options.file))
    return 0
