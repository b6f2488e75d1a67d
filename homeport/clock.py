"""Time, in one place that tests can replace.

`now()` is the wall clock that answers carry (`created`), `monotonic()` measures durations.
"""

import asyncio
import time

#: Seconds since 1970, as OpenAI's `created` counts them (callers truncate to int). No function around these two: they
#: are asked a dozen times a request.
now = time.time
#: Seconds of a clock that never goes back: for durations and deadlines only.
monotonic = time.monotonic


async def sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)
