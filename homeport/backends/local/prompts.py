"""Text becomes the tokens of a prompt, and the prompt is measured against the model's context."""

from collections.abc import Sequence

from homeport.backends.templates.marks import Segment
from homeport.backends.text import Tokenizer
from homeport.errors import ContextLengthExceeded


async def tokens_of(tokenizer: Tokenizer, segments: Sequence[Segment]) -> list[int]:
    """In one call where every segment is of one kind: the tokens at the seams are then the model's own choice."""
    merged: list[Segment] = []
    for segment in segments:
        if merged and merged[-1].special == segment.special:
            merged[-1] = Segment(merged[-1].text + segment.text, segment.special)
        else:
            merged.append(segment)
    tokens: list[int] = []
    for text, special in merged:
        tokens += await tokenizer.tokenize(text, special=special)
    return tokens


def room_for_chat(context: int, prompt: int, asked: int | None, default: int | None = None) -> int:
    """How many tokens may be generated; without a wish, the engine's default or the rest of the context.

    Raises ContextLengthExceeded in OpenAI's words.
    """
    beginning = f"This model's maximum context length is {context} tokens. However, "
    if prompt >= context:
        raise ContextLengthExceeded(
            f"{beginning}your messages resulted in {prompt} tokens. Please reduce the length of the messages.",
            param="messages",
        )
    if asked is not None and prompt + asked > context:
        raise ContextLengthExceeded(
            f"{beginning}you requested {prompt + asked} tokens ({prompt} in the messages, {asked} in the completion). "
            "Please reduce the length of the messages or completion.",
            param="messages",
        )
    if asked is not None:
        return asked
    return context - prompt if default is None else min(default, context - prompt)


def room_for_completion(context: int, prompt: int, asked: int) -> int:
    """As room_for_chat, for `POST /completions`, whose wish has a default."""
    if prompt + asked > context or (asked and prompt >= context):
        raise ContextLengthExceeded(
            f"This model's maximum context length is {context} tokens, however you requested {prompt + asked} tokens "
            f"({prompt} in your prompt; {asked} for the completion). Please reduce your prompt; or completion length.",
            param="prompt",
        )
    return asked
