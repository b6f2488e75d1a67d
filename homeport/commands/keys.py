"""`homeport keys`: make, list, rotate and revoke them."""

import argparse
import sys

from homeport.commands.parsing import Commands, command, settings_of, split_names


def add(commands: Commands) -> None:
    keys = command(
        commands,
        "keys",
        "make, list, rotate and revoke API keys",
        """\
        API keys from the command line, by the same rules as through the Admin API. Only hashes are stored. A running
        server sees every change within a second.
        """,
    )
    actions = keys.add_subparsers(title="actions", metavar="ACTION", required=True)
    create = command(actions, "create", "make a key and show it once", "Make a key. Only its hash is stored.")
    create.add_argument("name", nargs="?", default="key", help="what it is for")
    create.add_argument("--project", metavar="PROJECT", help="id or name of its project (default: the first project)")
    create.add_argument("--models", metavar="NAME,NAME", help="the only models that it may use (default: all)")
    create.add_argument(
        "--scopes", metavar="SCOPE,SCOPE", help="what it may do: model.request, files.read, ... (default: all)"
    )
    create.add_argument("--days", type=int, metavar="N", help="how long it works (default: until it is revoked)")
    create.add_argument("--admin", action="store_true", help="a key of the Admin API, and of nothing else")
    create.set_defaults(run=_create)
    command(actions, "list", "list the keys, masked", "").set_defaults(run=_list)
    rotate = command(
        actions,
        "rotate",
        "replace a key",
        "Make a new key with the settings of an old one, which works for a while yet.",
    )
    rotate.add_argument("id", help="the old key's id, as `homeport keys list` shows it")
    rotate.add_argument(
        "--overlap", type=int, default=86_400, metavar="SECONDS", help="how long the old key works (default: a day)"
    )
    rotate.set_defaults(run=_rotate)
    revoke = command(actions, "revoke", "revoke a key", "A running server refuses the key within a second.")
    revoke.add_argument("id", help="the key's id, as `homeport keys list` shows it")
    revoke.set_defaults(run=_revoke)


def _create(options: argparse.Namespace) -> int:
    from homeport import keys

    made = keys.create(
        settings_of(options),
        options.name,
        admin=options.admin,
        project=options.project,
        models=split_names(options.models),
        scopes=split_names(options.scopes),
        days=options.days,
    )
    print(made.secret)
    print(f"{made.id}: shown once, only its hash is stored.", file=sys.stderr)
    return 0


def _list(options: argparse.Namespace) -> int:
    from homeport import keys

    for line in keys.listed(settings_of(options)):
        print(line)
    return 0


def _rotate(options: argparse.Namespace) -> int:
    from homeport import keys

    made = keys.rotate(settings_of(options), options.id, overlap=options.overlap)
    print(made.secret)
    print(f"{made.id}: shown once. {options.id} works until {made.until} UTC.", file=sys.stderr)
    return 0


def _revoke(options: argparse.Namespace) -> int:
    from homeport import keys

    print(f"{options.id} {keys.revoke(settings_of(options), options.id)} is revoked.")
    return 0
