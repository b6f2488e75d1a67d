"""`homeport` as it is, with an engine that takes the whole process down when it reads a certain word.

python -m tests.replicas.poisoned serve ...
"""

import os
from collections.abc import AsyncGenerator
from typing import Any

from homeport.backends.engines.echo import Echo
from homeport.cli import main
from homeport.jobs import batch_chunk

POISON = "poison"
_generate = Echo.generate


def generate(self: Echo, prompt: Any, *more: Any, **others: Any) -> AsyncGenerator[Any, None]:
    if POISON in "".join(map(chr, prompt)):
        os._exit(7)
    return _generate(self, prompt, *more, **others)


batch_chunk.MOST_TOGETHER, batch_chunk.MOST_ALONE = 1, 2  # deaths take their time
setattr(Echo, "generate", generate)  # noqa: B010
main()
