"""Files of a request that somebody else goes on with: an answer that others wait for, too, outlasts whoever asked."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from msgspec.structs import replace

from homeport import ids
from homeport.backends.capabilities import Call


@contextmanager
def outlasting(call: Call) -> Iterator[None]:
    """Until the block ends the files are there under names of their own, in the same folder: that their request has
    ended takes nothing away. What a killed process leaves is swept with the others (store/staged.py)."""
    linked = tuple([replace(file, path=file.path.with_name(ids.random_text(24))) for file in call.attached])
    try:
        for before, now in zip(call.attached, linked, strict=True):
            os.link(before.path, now.path)
        call.attached = linked
        yield
    finally:
        for file in linked:
            with suppress(FileNotFoundError):
                file.path.unlink()
