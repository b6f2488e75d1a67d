"""A moderator without weights: a text is of the categories that it names. For tests, and for trying out a client.

`This is violence/graphic` has a score of 1 there, and of 0 everywhere else. A token is a Unicode code point, as of the
other `echo` engines.
"""

import re
from collections.abc import Sequence

from homeport.backends.moderation.categories import CATEGORIES
from homeport.backends.moderator import Scored
from homeport.backends.text import Occupancy

_NAMED = re.compile("|".join(sorted(map(re.escape, CATEGORIES), key=len, reverse=True)))


class EchoModerator:
    """Moderator."""

    async def start(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to let go of."""

    def occupancy(self) -> Sequence[Occupancy]:
        return ()

    async def scores(self, texts: Sequence[str], *, batch: bool = False) -> list[Scored]:
        return [Scored(_scores(set(_NAMED.findall(text.lower()))), len(text)) for text in texts]


def _scores(named: set[str]) -> dict[str, float]:
    return {category: float(category in named) for category in CATEGORIES}
