"""`POST /v1/responses/input_tokens`, and Azure's."""

from collections.abc import Awaitable, Callable, Sequence

from homeport.api.resources import Asked, Operation
from homeport.control.owners import Owner
from homeport.gateway.routing import Target
from homeport.loop.input_tokens import InputTokens as Rules
from homeport.wire.input_tokens import TokenCountsBody, TokenCountsResource

INPUT_TOKENS = "/v1/responses/input_tokens"


class InputTokens:
    def __init__(self, rules: Rules, target: Callable[[Owner, str], Awaitable[Target]], *, largest: int) -> None:
        """target: what would answer for a model. largest: bytes of a body."""
        self._rules = rules
        self._target = target
        self._largest = largest

    def operations(self) -> Sequence[Operation]:
        return [
            Operation(
                "POST", INPUT_TOKENS, self.count, body=TokenCountsBody, largest=self._largest, scope="responses.write"
            )
        ]

    async def count(self, asked: Asked) -> TokenCountsResource:
        target = await self._target(asked.who, asked.body.model)
        return TokenCountsResource(await self._rules.count(asked.who, asked.body, target))
