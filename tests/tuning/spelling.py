"""A text engine whose tokens can be read: a character each, and one for each control token."""

import re
from collections.abc import Sequence
from functools import cache

from homeport.backends.engines.echo import Echo
from homeport.backends.templates.chat_template import ChatTemplate
from homeport.backends.tuning.rendering import Renderer
from homeport.training.text.job import Example

CONTROL = (
    "<|im_start|>",
    "<|im_end|>",
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "[TOOL_CALLS]",
    "[TOOL_RESULTS]",
    "[AVAILABLE_TOOLS]",
    "<start_of_turn>",
    "<end_of_turn>",
)
_FIRST = 0x110000  # behind the last character
_SPLIT = re.compile("(" + "|".join(map(re.escape, CONTROL)) + ")")


class Spelling(Echo):
    async def tokenize(self, text: str, *, special: bool) -> list[int]:
        tokens: list[int] = []
        for piece in _SPLIT.split(text) if special else [text]:
            tokens += [_FIRST + CONTROL.index(piece)] if special and piece in CONTROL else map(ord, piece)
        return tokens


def text(tokens: Sequence[int]) -> str:
    return "".join([CONTROL[token - _FIRST] if token >= _FIRST else chr(token) for token in tokens])


@cache
def template_of(source: str) -> ChatTemplate:
    return ChatTemplate(source, bos="<s>", eos="</s>")


def renderer(source: str, *, longest: int = 100_000) -> Renderer:
    template = template_of(source)
    return Renderer(Spelling(), template, end=end_of(template), model="tiny", longest=longest)


def end_of(template: ChatTemplate) -> int:
    """As Vocabulary.end_of_turn tells it."""
    begun = next((name for name in CONTROL if template.end_of_turn().startswith(name)), "</s>")
    return _FIRST + CONTROL.index(begun)


def learnt(example: Example) -> list[str]:
    return [text(example.tokens[begin:end]) for begin, end in example.learnt]


def shown(example: Example) -> str:
    """What is learnt between two bars."""
    written, at = "", 0
    for begin, end in example.learnt:
        written += f"{text(example.tokens[at:begin])}¦{text(example.tokens[begin:end])}¦"
        at = end
    return written + text(example.tokens[at:])
