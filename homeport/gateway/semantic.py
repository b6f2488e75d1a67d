"""Questions that mean the same as one that was answered: by the vectors of their last message, with all else exact.

Only plain questions in text: what the model may do beside answering (tools, schemas, several choices, seeds) asks for
more than a meaning. What is near enough still has to pass the guard (semantic_guard.py).
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from homeport.errors import HomeportError, SettingsError
from homeport.gateway import semantic_guard
from homeport.gateway.cache_key import Question
from homeport.settings import Semantic as Settings

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger("homeport.cache")

#: A text's vector. Raises HomeportError.
Embed = Callable[[str], Awaitable[Sequence[float]]]

#: Characters of a message: in a longer one there are details that no vector shows.
LONGEST = 1000
#: Parameters that a question may have; with any other one only the same question is the same.
_PLAIN = frozenset(
    """frequency_penalty max_completion_tokens max_tokens messages n presence_penalty reasoning_effort response_format
    service_tier stop store stream stream_options temperature top_p verbosity""".split()
)
#: Where nothing else is said.
_DEFAULT_TEMPERATURE = 1.0
#: Texts that are near enough and are given to the guard, nearest first.
_LOOKED_AT = 8


class Turn(NamedTuple):
    """A question in two parts. text: the last message; rest: everything else."""

    text: str
    rest: Question


class Place(NamedTuple):
    """Where an answer would be kept. bucket: hash of all but the text; key: of the whole question."""

    bucket: bytes
    key: bytes
    text: str
    vector: Any


class Near(NamedTuple):
    key: bytes
    similarity: float


class Semantic:
    """The questions that were answered, in this process; `max_entries` of them, the oldest make room."""

    def __init__(self, settings: Settings, embed: Embed) -> None:
        """Raises SettingsError: numpy is missing."""
        try:
            import numpy
        except ModuleNotFoundError:
            raise SettingsError("cache.semantic needs an extra: pip install 'homeport[local]'.") from None
        self._numpy = numpy
        self._settings = settings
        self._embed = embed
        self._vectors: np.ndarray[Any, np.dtype[np.float32]] | None = None
        self._buckets = numpy.zeros(0, numpy.uint64)
        self._places: list[Place] = []
        self._rows: dict[bytes, int] = {}
        self._next = 0
        self._failing = False

    def __len__(self) -> int:
        return len(self._rows)

    def turn(self, asked: Question) -> Turn | None:
        """None: only the same question will do."""
        if not asked.keys() <= _PLAIN or asked.get("n", 1) != 1:
            return None
        if asked.get("temperature", _DEFAULT_TEMPERATURE) > self._settings.max_temperature:
            return None
        if asked.get("response_format", {"type": "text"}) != {"type": "text"}:
            return None
        messages = asked.get("messages")
        if not isinstance(messages, list) or not messages or not isinstance(messages[-1], dict):
            return None
        last = messages[-1]
        text = _text(last.get("content"))
        if last.get("role") != "user" or text is None or len(text) > LONGEST or not semantic_guard.comparable(text):
            return None
        return Turn(text, {**asked, "messages": [*messages[:-1], {**last, "content": None}]})

    async def place(self, turn: Turn, bucket: bytes, key: bytes) -> Place | None:
        """None: there is no vector, because the model that makes them does not answer."""
        try:
            vector = self._numpy.asarray(await self._embed(turn.text), self._numpy.float32)
        except HomeportError as error:
            if not self._failing:
                log.warning("the semantic cache has no vectors: %s", type(error).__name__)
            self._failing = True
            return None
        self._failing = False
        length = float(self._numpy.linalg.norm(vector))
        return Place(bucket, key, turn.text, vector / length) if length > 0 else None

    def near(self, place: Place) -> list[Near]:
        """What was answered and may mean the same, nearest first."""
        if self._vectors is None or self._vectors.shape[1] != len(place.vector):
            return []
        numpy = self._numpy
        rows = numpy.flatnonzero(self._buckets == numpy.uint64(_number(place.bucket)))
        if not len(rows):
            return []
        similarities = self._vectors[rows] @ place.vector
        nearest = numpy.argsort(-similarities)[:_LOOKED_AT]
        found = [(self._places[int(rows[one])], float(similarities[one])) for one in nearest]
        return [
            Near(other.key, similarity)
            for other, similarity in found
            if similarity >= self._settings.threshold
            and other.bucket == place.bucket
            and semantic_guard.difference(place.text, other.text) is None
        ]

    def remember(self, place: Place) -> None:
        """Its answer is kept now."""
        if place.key in self._rows:
            return
        row = self._row(len(place.vector))
        if row < len(self._places):
            self._rows.pop(self._places[row].key, None)
            self._places[row] = place
        else:
            self._places.append(place)
        assert self._vectors is not None
        self._vectors[row] = place.vector
        self._buckets[row] = _number(place.bucket)
        self._rows[place.key] = row

    def forget(self, key: bytes) -> None:
        """Its answer is not kept any more."""
        row = self._rows.pop(key, None)
        if row is not None:
            self._buckets[row] = 0

    def clear(self) -> None:
        self._vectors, self._places, self._rows, self._next = None, [], {}, 0
        self._buckets = self._numpy.zeros(0, self._numpy.uint64)

    def _row(self, width: int) -> int:
        """The oldest one. There is room for as many as were needed so far, and then for twice as many."""
        numpy = self._numpy
        if self._vectors is None or self._vectors.shape[1] != width:
            self.clear()
            self._vectors = numpy.zeros((0, width), numpy.float32)
        row, size = self._next, len(self._buckets)
        if row == size:
            more = min(max(64, size * 2), self._settings.max_entries) - size
            self._vectors = numpy.concatenate([self._vectors, numpy.zeros((more, width), numpy.float32)])
            self._buckets = numpy.concatenate([self._buckets, numpy.zeros(more, numpy.uint64)])
        self._next = (row + 1) % self._settings.max_entries
        return row


def _text(content: object) -> str | None:
    """Of a message that is one text."""
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):
        part = content[0]
        content = part.get("text") if part.keys() == {"type", "text"} and part["type"] == "text" else None
    return content if isinstance(content, str) else None


def _number(bucket: bytes) -> int:
    """Never 0, which stands for a row without a question."""
    return int.from_bytes(bucket[:8], "big") | 1
