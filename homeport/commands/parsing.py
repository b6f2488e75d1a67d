"""What subcommands have in common: how they are declared, and the settings that their options make."""

import argparse
from pathlib import Path
from typing import TypeAlias

import msgspec

from homeport.settings import Settings, load

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def command(
    commands: Commands, name: str, summary: str, description: str, *, local: bool = True
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


def settings_of(options: argparse.Namespace) -> Settings:
    """The file, the environment, and on top of both what the command line says."""
    loaded = load(options.config)
    names = ("host", "port", "workers", "data", "tls_cert", "tls_key", "behind_tls_proxy")
    given = {name: value for name in names if (value := getattr(options, name, None)) is not None}
    told = {"record": "record", "replay": "replay", "replay_speed": "speed"}
    recording = {name: value for option, name in told.items() if (value := getattr(options, option, None)) is not None}
    lanes = split_names(getattr(options, "lanes", None))
    return msgspec.structs.replace(
        loaded,
        jobs=msgspec.structs.replace(loaded.jobs, lanes=tuple(lanes)) if lanes is not None else loaded.jobs,
        server=msgspec.structs.replace(loaded.server, **given),
        recording=msgspec.structs.replace(loaded.recording, **recording),
    )


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def split_names(text: str | None) -> list[str] | None:
    """Of an option that takes several, with commas between them."""
    return [name.strip() for name in text.split(",") if name.strip()] if text is not None else None
