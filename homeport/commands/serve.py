"""`homeport serve` and `homeport worker`: what goes on until it is told to end."""

import argparse
import sys

from homeport.commands.parsing import Commands, command, positive, settings_of


def add(commands: Commands) -> None:
    serve = command(
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
        "--workers", type=positive, metavar="N", help="processes on the port (default 1; more need redis_url)"
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

    worker = command(
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


def _serve(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    if settings.server.workers > 1:
        from homeport import workers

        return workers.serve(settings)
    from homeport.serving import serve

    return serve(settings)


def _worker(options: argparse.Namespace) -> int:
    from homeport.errors import HomeportError
    from homeport.working import work

    try:
        return work(settings_of(options))
    except HomeportError as error:
        print(f"homeport: {error.message}", file=sys.stderr)
        return 1
