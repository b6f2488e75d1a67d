"""`POST /moderations` by a model of this machine: the request checked, scores as OpenAI writes them."""

from collections.abc import Sequence

import msgspec

from homeport import ids
from homeport.backends.capabilities import Answer, Call, Frame, Usage
from homeport.backends.moderation.categories import CATEGORIES
from homeport.backends.moderator import Moderator
from homeport.errors import InvalidRequest
from homeport.wire.base import decode
from homeport.wire.moderations import (
    MOST_CHARACTERS,
    CreateModerationRequest,
    CreateModerationResponse,
    Moderation,
    ModerationTextInput,
)

_request = msgspec.json.Decoder(CreateModerationRequest)
#: A category is flagged from this score on (moderator.py).
FLAGGED = 0.5


class LocalModerations:
    """Moderate (capabilities.py) over one moderator."""

    def __init__(self, name: str, moderator: Moderator) -> None:
        self.name = name
        self._moderator = moderator

    async def start(self) -> None:
        await self._moderator.start()

    async def close(self) -> None:
        await self._moderator.close()

    def lines_at_once(self, capability: str) -> int | None:
        return max((2 * one.places for one in self._moderator.occupancy()), default=None)

    async def moderate(self, call: Call) -> Answer:
        """As capabilities.Moderate."""
        inputs = _texts(decode(_request, call.body))
        texts = [text for parts in inputs for text in parts]
        characters = sum(map(len, texts))
        if characters > MOST_CHARACTERS:
            raise InvalidRequest(
                f"Invalid 'input': string too long. Expected at most {MOST_CHARACTERS} characters in all, but got "
                f"{characters} instead.",
                param="input",
                code="string_above_max_length",
            )
        scored = iter(await self._moderator.scores(texts, batch=call.background))
        tokens = 0
        results: list[Moderation] = []
        for parts in inputs:
            judged = [next(scored) for _ in parts]
            tokens += sum(one.tokens for one in judged)
            results.append(_result([one.scores for one in judged]))
        model = call.model or self.name
        answer = CreateModerationResponse(ids.moderation(), model, results)
        return Answer(Frame(msgspec.json.encode(answer), usage=Usage(tokens, 0), model=model))


def _texts(request: CreateModerationRequest) -> list[list[str]]:
    """Of each input. Raises InvalidRequest: there is an image among them."""
    if isinstance(request.input, str):
        return [[request.input]]
    texts: list[str] = []
    for at, item in enumerate(request.input):
        if isinstance(item, str):
            texts.append(item)
        elif isinstance(item, ModerationTextInput):
            texts.append(item.text)
        else:
            raise InvalidRequest(
                "This model moderates text and cannot see images. Leave the image out, or use an upstream's model "
                "that takes images.",
                param=f"input[{at}]",
                code="unsupported_value",
            )
    return [[text] for text in texts] if isinstance(request.input[0], str) else [texts]


def _result(scores: Sequence[dict[str, float]]) -> Moderation:
    """Of one input: the worst of its parts."""
    worst = {category: max(one[category] for one in scores) for category in CATEGORIES}
    flagged = {category: score >= FLAGGED for category, score in worst.items()}
    return Moderation(any(flagged.values()), flagged, worst, {category: ["text"] for category in CATEGORIES})
