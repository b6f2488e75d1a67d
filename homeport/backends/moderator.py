"""The seam below OpenAI's moderation objects: what judges texts.

A moderator (moderation/classifier.py, engines/echo_moderator.py) knows texts and categories, and nothing of requests:
those are read and answered once, for all moderators, in `local/moderations.py`.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from homeport.backends.text import Occupancy


class Scored(NamedTuple):
    """scores: by category, from 0 to 1; from 0.5 on the category is flagged. tokens: that were read."""

    scores: dict[str, float]
    tokens: int


class Moderator(Protocol):
    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def occupancy(self) -> Sequence[Occupancy]:
        """Of it, where it has places; never waits."""
        ...

    async def scores(self, texts: Sequence[str], *, batch: bool = False) -> list[Scored]:
        """One a text, in their order. Raises HomeportError; cancelling it takes back what has not begun."""
        ...
