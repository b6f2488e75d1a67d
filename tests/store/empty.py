"""The databases of a Homeport that has nothing, which takes longer to make than to copy."""

import asyncio
import atexit
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from homeport.store.database import Database
from homeport.store.migrations import migrate


def copy(folder: Path) -> None:
    """`state.db` and `usage.db`, into a folder that has neither."""
    with ThreadPoolExecutor() as pool:  # whoever calls may have a loop that runs
        made = pool.submit(_made).result()
    shutil.copytree(made, folder, dirs_exist_ok=True)


@cache
def _made() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="homeport-empty-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)

    async def make() -> None:
        for history in ("state", "usage"):
            database = Database(f"sqlite:///{folder / history}.db")
            await migrate(database, history)
            await database.close()

    asyncio.run(make())
    return folder
