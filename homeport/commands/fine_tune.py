"""`homeport fine-tune`: asks a server as any client does."""

import argparse

from homeport.commands.parsing import Commands, command, positive
from homeport.settings import client


def add(commands: Commands) -> None:
    fine_tune = command(
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
    watch = command(
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
    watch.set_defaults(run=_watch)
    listed = command(
        actions,
        "list",
        "list the jobs, the newest first",
        "A line for each job: its id, its state, when it was made, and the model: the new one, once there is one.",
        local=False,
    )
    listed.add_argument("--limit", type=positive, default=20, metavar="N", help="how many (default 20, at most 100)")
    listed.set_defaults(run=_list)
    for action in (watch, listed):
        action.add_argument(
            "--base-url", metavar="URL", help="of the server (default OPENAI_BASE_URL, or http://127.0.0.1:8000/v1)"
        )
        action.add_argument("--api-key", metavar="KEY", help="better in the environment, as OPENAI_API_KEY")


def _watch(options: argparse.Namespace) -> int:
    from homeport.fine_tune.command import watch

    return watch(*_server(options), options.id)


def _list(options: argparse.Namespace) -> int:
    from homeport.fine_tune.command import list_jobs

    return list_jobs(*_server(options), limit=options.limit)


def _server(options: argparse.Namespace) -> tuple[str, str | None]:
    """Address and key of the server that is asked."""
    base_url, key = client()
    return options.base_url or base_url, options.api_key or key
