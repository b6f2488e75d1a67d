"""The command `homeport`: parse arguments, call one function of `commands/`, which prints what a person wants to
know."""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from homeport import __version__, commands
from homeport.errors import SettingsError

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
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in commands.ALL:
        command.add(subparsers)
    return parser
