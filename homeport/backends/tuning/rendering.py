"""Conversations become the tokens that a model is to learn, made by what serves it: the prompt of every answer is the
one that `POST /chat/completions` would make of the messages before it, and the answer is written as its tools' calls
are read again.

    prompt of the first answer | answer, end of turn | what stands between | answer, end of turn
                                 ^^^^^^^^^^^^^^^^^^^                         ^^^^^^^^^^^^^^^^^^^ learnt

Templates write earlier turns as they like (they drop what was thought, they trim). Where the prompt of a later answer
does not begin with these very tokens, an example ends, and another one begins with that prompt.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from homeport.backends.local import conversation, prompts, tools
from homeport.backends.local.tools import Offer
from homeport.backends.templates.chat_template import ChatTemplate
from homeport.backends.templates.formats import written
from homeport.backends.text import Tokenizer
from homeport.errors import InvalidRequest
from homeport.training.text.job import Example, Pair
from homeport.wire.fine_tuning_data import FineTuneChatRequestInput, FineTunePreferenceRequestInput, below

Json = Mapping[str, Any]


class Rendered(NamedTuple):
    """Of one line. truncated: something was cut off at its end. unoffered: it calls what its tools do not have."""

    examples: Sequence[Example] | Sequence[Pair]
    truncated: bool
    unoffered: bool


class _Answer(NamedTuple):
    tokens: list[int]
    unoffered: bool


class Renderer:
    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate, *, end: int, model: str, longest: int) -> None:
        """end: the token that ends a turn. model: what errors call it. longest: tokens of an example; what goes beyond
        is cut off."""
        self._tokenizer = tokenizer
        self._template = template
        self._end = end
        self._model = model
        self._longest = longest

    async def example(self, line: FineTuneChatRequestInput) -> Rendered:
        """Several examples where one cannot be all of the conversation. Raises HomeportError, InvalidRequest where
        `param` says what it is about."""
        fields = msgspec.to_builtins(line)
        offer = tools.offered(fields, self._model)
        plain = conversation.plain(fields["messages"], self._model)
        examples: list[Example] = []
        tokens: list[int] = []
        learnt: list[tuple[int, int]] = []
        truncated = unoffered = False
        before = 0
        for at, message in enumerate(fields["messages"]):
            if message["role"] != "assistant" or message["weight"] == 0:
                continue
            prompt = await self._prompt(plain[:at], offer)
            before = before or len(prompt)
            if len(prompt) >= self._longest:
                truncated = True
                break
            answer = await self._answer(message, f"messages[{at}]", offer)
            unoffered |= answer.unoffered
            if learnt and prompt[: len(tokens)] != tokens:
                examples.append(Example(tokens, learnt))
                learnt = []
            tokens, span = self._cut(prompt, answer)
            learnt.append(span)
            if len(prompt) + len(answer.tokens) > self._longest:
                truncated = True
                break
        if not learnt:
            raise self._nothing_learnt(before, "messages")
        return Rendered([*examples, Example(tokens, learnt)], truncated, unoffered)

    async def pair(self, line: FineTunePreferenceRequestInput) -> Rendered:
        """As example."""
        fields = msgspec.to_builtins(line)
        try:
            offer = tools.offered(fields["input"], self._model)
            plain = conversation.plain(fields["input"]["messages"], self._model)
            prompt = await self._prompt(plain, offer)
        except InvalidRequest as error:
            raise below("input", error) from None
        if len(prompt) >= self._longest:
            raise self._nothing_learnt(len(prompt), "input.messages")
        answers = [
            await self._answer(fields[name][0], f"{name}[0]", offer)
            for name in ("preferred_output", "non_preferred_output")
        ]
        preferred, rejected = (Example(tokens, [span]) for tokens, span in (self._cut(prompt, one) for one in answers))
        truncated = any(len(prompt) + len(one.tokens) > self._longest for one in answers)
        if preferred == rejected:
            within = f" in the first {self._longest} tokens of the example" if truncated else ""
            raise InvalidRequest(f"Both answers are the same{within}.", param="non_preferred_output")
        return Rendered([Pair(preferred, rejected)], truncated, any(one.unoffered for one in answers))

    async def _prompt(self, messages: Sequence[Json], offer: Offer) -> list[int]:
        return await prompts.tokens_of(self._tokenizer, self._template.render(messages, offer.tools))

    async def _answer(self, message: Json, where: str, offer: Offer) -> _Answer:
        """As the model is to say it: without the name that its author has, which no answer carries."""
        try:
            (plain,) = conversation.plain([{**message, "name": None}], self._model)
        except InvalidRequest as error:
            param = (error.param or "").replace("messages[0]", where, 1)
            raise InvalidRequest(error.message, param=param, code=error.code) from None
        text, calls = plain["content"], plain.get("tool_calls", ())
        if calls:
            text = written(self._template.tool_format, calls, text)
        _check(calls, where, offer, older=bool(message.get("function_call")))
        tokens = [*await self._tokenizer.tokenize(text, special=False), self._end]
        return _Answer(tokens, any(call["function"]["name"] not in offer.callable for call in calls))

    def _cut(self, prompt: list[int], answer: _Answer) -> tuple[list[int], tuple[int, int]]:
        """The tokens of both, and where the answer is. Where nothing stands before it, its first token cannot be
        learnt."""
        tokens = (prompt + answer.tokens)[: self._longest]
        begin = max(1, len(prompt))
        if begin >= len(tokens):
            raise self._nothing_learnt(len(prompt), None)
        return tokens, (begin, len(tokens))

    def _nothing_learnt(self, before: int, param: str | None) -> InvalidRequest:
        return InvalidRequest(
            f"Nothing of this example would be learnt: {before} tokens come before its first answer, and examples are "
            f"cut off at {self._longest} tokens.",
            param=param,
            code="example_too_long",
        )


def _check(calls: Sequence[Json], where: str, offer: Offer, *, older: bool) -> None:
    """What a model learns to call must be a call when it is asked the same."""
    if len(calls) > 1 and not offer.parallel:
        raise InvalidRequest(
            "There are several calls, though `parallel_tool_calls` is false.", param=f"{where}.tool_calls"
        )
    for number, call in enumerate(calls):
        function = call["function"]
        param = f"{where}.function_call" if older else f"{where}.tool_calls[{number}].function"
        if not isinstance(function["arguments"], dict):
            raise InvalidRequest("The arguments are not the text of a JSON object.", param=f"{param}.arguments")
        if function["name"] in offer.callable and not offer.admits(function["name"], function["arguments"]):
            raise InvalidRequest(
                "The arguments do not follow the parameters of this function, which is strict.",
                param=f"{param}.arguments",
            )
