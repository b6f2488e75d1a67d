"""How many tokens a response would be told. Source: TokenCountsBody, TokenCountsResource."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from homeport.errors import UnsupportedParameter
from homeport.wire.fields import Identifier, Request
from homeport.wire.responses import (
    LONGEST_INSTRUCTIONS,
    MOST_TOOLS,
    Conversation,
    CreateResponse,
    Reasoning,
    Text,
    TextConfig,
    Tool,
    ToolChoice,
)

_REFUSED = {"personality": "Models have no personality here. Leave 'personality' out, and say it in 'instructions'."}


class TokenCountsBody(Request):
    """Members as CreateResponse has them. model: without one nobody could count."""

    model: Annotated[Text, Meta(min_length=1, max_length=256)]
    input: str | list[dict[str, Any]] | None = None
    conversation: Identifier | Conversation | None = None
    instructions: Annotated[Text, Meta(max_length=LONGEST_INSTRUCTIONS)] | None = None
    parallel_tool_calls: bool | None = None
    personality: str | None = None
    previous_response_id: Identifier | None = None
    reasoning: Reasoning | None = None
    text: TextConfig | None = None
    tool_choice: ToolChoice | None = None
    tools: Annotated[list[Tool], Meta(max_length=MOST_TOOLS)] | None = None
    truncation: Literal["auto", "disabled"] | None = None

    refused = _REFUSED

    def __post_init__(self) -> None:
        for name, instead in self.refused.items():
            if getattr(self, name) is not None:
                raise UnsupportedParameter(instead, param=name)

    @property
    def response(self) -> CreateResponse:
        """The request that it is about. Raises InvalidRequest."""
        return CreateResponse(
            model=self.model,
            input=[] if self.input is None else self.input,
            conversation=self.conversation,
            instructions=self.instructions,
            parallel_tool_calls=self.parallel_tool_calls,
            previous_response_id=self.previous_response_id,
            reasoning=self.reasoning,
            store=False,
            text=self.text,
            tool_choice=self.tool_choice,
            tools=self.tools,
            truncation=self.truncation,
        )


class TokenCountsResource(Struct):
    input_tokens: int
    object: Literal["response.input_tokens"] = "response.input_tokens"
