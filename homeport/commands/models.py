"""`homeport pull` and `homeport models`: the models of this machine."""

import argparse
import sys

from homeport.commands.parsing import Commands, command, settings_of


def add(commands: Commands) -> None:
    pull = command(
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

    models = command(commands, "models", "list the models of this machine and of the catalogue", "")
    models.set_defaults(run=_models)


def _pull(options: argparse.Namespace) -> int:
    from homeport.backends import models
    from homeport.settings import DEFAULT_DRAWING_MODEL, DEFAULT_EMBEDDING_MODEL, DEFAULT_MODEL, hub

    settings = settings_of(options)
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

    folder = settings_of(options).data / "models"
    for name, entry in models.catalogue().items():
        here = models.find(name, folder)
        print(f"{name:28} {entry.kind:13} {'here: ' + str(here) if here else f'homeport pull {name}'}")
    for name in models.installed(folder):
        if name not in models.catalogue():
            print(f"{name:28} {'yours':13} here: {models.find(name, folder)}")
    return 0
