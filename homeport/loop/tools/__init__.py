"""Hosted tools: what a model calls, and the server does."""

from collections.abc import Sequence
from typing import Any, Protocol

from homeport.loop.turns import Calling, Ran, Searched, ToolType


class Hosted(Protocol):
    """A tool as one loop has it: with its stores, or its container."""

    @property
    def type(self) -> ToolType: ...

    @property
    def definition(self) -> dict[str, Any]:
        """What the model is told of it: a function tool, as chat completions have it."""
        ...

    @property
    def sources(self) -> Sequence[Searched | Ran]:
        """What a text may cite before it is called."""
        ...

    async def call(self, calling: Calling) -> None:
        """Sets its `output` and `result`. What the model did wrong is an output that says so, never an exception.

        Raises HomeportError: the tool is not to be had. Cancelling it cancels the work.
        """
        ...
