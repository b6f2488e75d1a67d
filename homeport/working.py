"""`homeport worker`: a process that works on what outlives a request, and listens to nobody.

It is all of Homeport but the port: the same settings, models, upstreams, keys and limits as the servers beside whose
database it stands.
"""

import asyncio
import logging
import signal

from msgspec.structs import replace

from homeport import app, logs, process, serving
from homeport.errors import SettingsError
from homeport.settings import Settings

log = logging.getLogger("homeport")


def work(chosen: Settings) -> int:
    """Work until a signal; 0 when all in hand has ended, or was handed back. Raises SettingsError before it begins."""
    check(chosen)
    logs.set_up(chosen.server.log_level, chosen.server.log_format)
    with asyncio.Runner(loop_factory=serving.loop_factory()) as runner:
        runner.run(_work(chosen))
    process.deaf()
    return 0


def check(chosen: Settings) -> None:
    """Raises SettingsError for what a process of its own cannot do."""
    if chosen.database_url is None:
        raise SettingsError(
            "A worker needs database_url: without it the queue is a file of one `homeport serve`, which works on it "
            'itself. Set database_url = "postgresql://USER:PASSWORD@HOST/NAME", the servers\' own.'
        )
    if chosen.redis_url is None:
        raise SettingsError(
            "A worker needs redis_url: what it asks models for counts against limits and budgets, and it would count "
            'for itself. Set redis_url = "redis://HOST:6379/0", the servers\' own.'
        )
    if chosen.files.store is None and chosen.files.folder is None:
        raise SettingsError(
            "A worker needs files.store or files.folder: without them the bytes of files are in the data folder of "
            'whichever server took them. Set files.store = "s3://BUCKET/PREFIX", or files.folder to one that all '
            "machines share, here and for the servers."
        )


async def _work(chosen: Settings) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(logs.unhandled)
    serving.allow_files(chosen.server.max_connections)
    server, jobs = replace(chosen.server, notice_seconds=0.0), replace(chosen.jobs, in_server=True)
    built = app.build(replace(chosen, server=server, jobs=jobs))
    stopping, ending = asyncio.Event(), asyncio.Event()

    def stop() -> None:
        """A second signal ends it at once."""
        (ending if stopping.is_set() else stopping).set()

    loop.add_signal_handler(signal.SIGINT, stop)
    process.on_term(stop)
    try:
        await built.enlist()
        async with asyncio.TaskGroup() as group:
            living = group.create_task(_live(built))
            print(f"Homeport works on {', '.join(built.durable.lanes)}. Ctrl-C or SIGTERM ends it.", flush=True)
            await stopping.wait()
            built.drain()
            draining = [group.create_task(one) for one in (built.drained(), ending.wait())]
            await asyncio.wait(draining, return_when=asyncio.FIRST_COMPLETED)
            for task in (living, *draining):
                task.cancel()
    finally:
        await built.close()


async def _live(built: app.App) -> None:
    """Nothing is begun before the models are there."""
    await built.start()
    await built.watch()
