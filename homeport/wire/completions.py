"""The older completions. Source: CreateCompletionRequest and CreateCompletionResponse."""

from typing import Annotated

from msgspec import Meta, Struct

from homeport.errors import InvalidRequest
from homeport.wire.base import empty, mixed_array
from homeport.wire.chat import Bias, Penalty, Seed, Stops, StreamOptions, check_logit_bias, check_stream_options

Tokens = list[int]


class CreateCompletionRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """prompt: a text, texts, tokens, or lists of tokens; the list's items are all of one kind."""

    model: str
    prompt: str | list[str | int | Tokens] | None = None
    best_of: Annotated[int, Meta(ge=1, le=20)] | None = None
    echo: bool | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, Bias] | None = None
    logprobs: Annotated[int, Meta(ge=0, le=5)] | None = None
    max_tokens: Annotated[int, Meta(ge=0)] | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    presence_penalty: Penalty | None = None
    seed: Seed | None = None
    stop: Stops | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    suffix: str | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    user: str | None = None

    def __post_init__(self) -> None:
        """What one field says of another. Raises InvalidRequest."""
        check_stream_options(self.stream_options, self.stream)
        check_logit_bias(self.logit_bias)
        self._check_prompt()
        n = self.n or 1
        if self.best_of is not None and self.best_of < n:
            raise InvalidRequest(
                f"Invalid 'best_of': must be at least 'n', which is {n}.", param="best_of", code="invalid_value"
            )
        if self.stream and self.best_of is not None and self.best_of > n:
            raise InvalidRequest(
                "Invalid 'best_of': results cannot be streamed when the best of several is chosen.",
                param="best_of",
                code="invalid_value",
            )
        if self.max_tokens == 0 and not self.echo:
            raise InvalidRequest(
                "Invalid 'max_tokens': integer below minimum value. Expected a value >= 1 unless 'echo' is true, but "
                "got 0 instead.",
                param="max_tokens",
                code="integer_below_min_value",
            )

    def _check_prompt(self) -> None:
        if not isinstance(self.prompt, list):
            return
        if not self.prompt or any(item == [] for item in self.prompt):
            raise empty("prompt", "array")
        if len({type(item) for item in self.prompt}) > 1:
            raise mixed_array("prompt")
        for at, item in enumerate(self.prompt):
            tokens = item if isinstance(item, list) else [item] if isinstance(item, int) else []
            if any(token < 0 for token in tokens):
                raise InvalidRequest(
                    f"Invalid 'prompt[{at}]': token ids are not negative.",
                    param=f"prompt[{at}]",
                    code="integer_below_min_value",
                )
