"""Who writes down what happens in a loop: as rows and events of a run, or of a response."""

from collections.abc import Sequence
from typing import Protocol

from homeport.loop.turns import Annotation, Calling, Used


class Scribe(Protocol):
    """Called in the order of what happens, one after the other:

        reasoning*  (text | refusal)*  [message_ended]  (call_began arguments*)*  turn_ended  call_ended*

    of each turn. What a turn does not have is left out; `turn_ended` is always there, also of a turn that is cut off by
    its limit of tokens. `turn_ended` and `call_ended` are safe when they return: committed, so that an interrupted loop
    goes on from there; what came before in the same turn may be lost, and is said again then.

    All raise LeaseLost where the work has become somebody else's, and HomeportError.
    """

    async def text(self, delta: str, annotations: Sequence[Annotation]) -> None:
        """Of the turn's message, which begins with the first. annotations: that end within what was said so far."""
        ...

    async def refusal(self, delta: str) -> None: ...

    async def reasoning(self, delta: str) -> None: ...

    async def message_ended(self, incomplete: str) -> None:
        """incomplete: why it is (`max_tokens`, `content_filter`); empty where it is whole."""
        ...

    async def call_began(self, call: Calling) -> None:
        """Its arguments are to come, by `arguments`."""
        ...

    async def arguments(self, call: Calling, delta: str) -> None: ...

    async def turn_ended(self, calls: Sequence[Calling], used: Used) -> None:
        """The model has said all of it. calls: with all their arguments; from here on each is made, whoever goes on."""
        ...

    async def call_ended(self, call: Calling) -> None:
        """A hosted one: it has its output and its result."""
        ...
