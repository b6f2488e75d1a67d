"""Time, in one place that tests can replace.

`now()` is the wall clock that answers carry (`created`), `monotonic()` measures durations.
"""

import asyncio
import time


def now() -> float:
    """Seconds since 1970, as OpenAI's `created` counts them (callers truncate to int)."""
    return time.time()


#: Seconds of a clock that never goes back: for durations and deadlines only. No function around it: it is asked seven
#: times a request.
monotonic = time.monotonic


async def sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)
