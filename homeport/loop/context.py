"""What of a conversation is sent, where all of it would be too much.

Of the conversation the middle is left out: its instructions stay, what this loop has said itself stays, the newest
messages stay as far as they fit, and the first one if it does. Calls go with their outputs.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from homeport.errors import HomeportError, UpstreamRefused
from homeport.gateway import counting
from homeport.gateway.watching import status_of
from homeport.loop.turns import Plan

Message = dict[str, Any]

#: Times that more is left out of one prompt, because the model says that it is too long.
MOST_SHORTENED = 3
#: Of what a model takes in all, this part is left for its answer; and of a prompt of which nobody says how much too
#: long it is, that part stays.
_ANSWER, _STAYS = 0.25, 0.6
_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error"})
_TOO_LONG = re.compile(
    r"context (length|size|window)|prompt is too long|token count .{0,40}exceeds|limit of \d+ tokens"
)
#: As OpenAI, vLLM and we ourselves say it; llama.cpp; OpenAI for newer models; Anthropic; Mistral; Google.
_MOST = re.compile(
    r"maximum context length is (\d+)|context size \((\d+)|limit of (\d+) tokens|\d+ tokens > (\d+)|"
    r"(\d+) maximum context length|tokens allowed \((\d+)"
)
_PROMPT = re.compile(
    r"\((\d+) in the messages|resulted in (\d+) tokens|prompt is too long: (\d+)|Prompt contains (\d+)|"
    r"token count \((\d+)"
)


class TooLong(NamedTuple):
    """What a model says of a prompt that is too long for it. most: tokens of prompt and answer together. prompt: tokens
    that it was. None: it has not said."""

    most: int | None
    prompt: int | None

    @classmethod
    def of(cls, error: HomeportError) -> "TooLong | None":
        """None: it is about something else."""
        code = error.body.get("code") if isinstance(error, UpstreamRefused) else error.code
        if status_of(error) not in (400, 413) or not (code in _CODES or _TOO_LONG.search(error.message)):
            return None
        return cls(_number(_MOST, error.message), _number(_PROMPT, error.message))


def _number(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return int(next(one for one in found.groups() if one)) if found else None


class Parts(NamedTuple):
    """A conversation: before (instructions), units of the conversation, after (of this loop)."""

    before: Sequence[Message]
    units: Sequence[Sequence[Message]]
    after: Sequence[Message]

    @classmethod
    def of(cls, messages: Sequence[Message], own: int) -> "Parts":
        """own: how many of them, from the end, are of this loop."""
        end = len(messages) - own
        begin = 0
        while begin < end and messages[begin]["role"] in ("system", "developer"):
            begin += 1
        units: list[list[Message]] = []
        for message in messages[begin:end]:
            if message["role"] == "tool" and units:
                units[-1].append(message)
            else:
                units.append([message])
        return cls(messages[:begin], units, messages[end:])

    def newest(self, most: int) -> "Parts":
        """The last so many messages of the conversation."""
        kept: list[Sequence[Message]] = []
        for unit in reversed(self.units):
            most -= len(unit)
            if most < 0:
                break
            kept.append(unit)
        return self._replace(units=kept[::-1])

    def messages(self) -> list[Message]:
        return [*self.before, *(message for unit in self.units for message in unit), *self.after]


class Fitted(NamedTuple):
    """tokens: of the whole prompt, as we count them."""

    parts: Parts
    tokens: int


def fitted(parts: Parts, request: Mapping[str, Any], most: float | None) -> Fitted:
    """Takes a moment for what is long: call it in a thread.

    request: with `model`, and with `tools` and the like, which count. most: tokens, as we count them; None: nothing is
    left out. What has to stay may be more than that.
    """
    model: str = request["model"]
    empty = counting.count_request(model, {"messages": ()})
    costs = [counting.count_request(model, {"messages": unit}) - empty for unit in parts.units]
    stays = counting.count_request(model, {**request, "messages": [*parts.before, *parts.after]})
    if most is None or stays + sum(costs) <= most:
        return Fitted(parts, stays + sum(costs))
    chosen = sorted(_chosen(costs, most - stays))
    return Fitted(parts._replace(units=[parts.units[at] for at in chosen]), stays + sum(costs[at] for at in chosen))


def _chosen(costs: Sequence[float], room: float) -> set[int]:
    """The last in any case, the first if it fits beside it, then the newest until one does not fit."""
    if not costs:
        return set()
    last = len(costs) - 1
    chosen, room = {last}, room - costs[last]
    if costs[0] <= room and last:
        chosen.add(0)
        room -= costs[0]
    for at in range(last - 1, 0, -1):
        if costs[at] > room:
            break
        chosen.add(at)
        room -= costs[at]
    return chosen


class Context:
    """The messages of a loop, and how many tokens its model takes, as far as that was told."""

    def __init__(self, plan: Plan) -> None:
        begin = len(plan.messages) - plan.own
        self._conversation = plan.messages[:begin]
        self.own: list[Message] = plan.messages[begin:]
        self._truncation = plan.truncation
        self._most: float | None = None
        self._answer: int | None = None
        self._scale = 1.0  # tokens of the model for one of ours
        self._counted = 0
        self._units = 0
        self._shortened = 0

    def add(self, messages: Sequence[Message]) -> None:
        """What the loop has said."""
        self.own += messages

    async def fit(self, request: dict[str, Any], left: int | None) -> bool:
        """Puts the messages into the request. left: tokens that the prompt may have. False: it has more."""
        if left is not None and left <= 0:
            return False
        parts = Parts.of([*self._conversation, *self.own], len(self.own))
        if self._truncation.type == "last_messages" and self._truncation.last_messages is not None:
            parts = parts.newest(self._truncation.last_messages)
        self._counted = 0
        limits = [limit for limit in (left, self._most) if limit is not None]
        if limits:
            auto = self._truncation.type == "auto"
            most = min(limits) / self._scale if auto else None
            parts, self._counted = await asyncio.to_thread(fitted, parts, request, most)
            if left is not None and self._counted * self._scale > left:
                return False
        self._units = len(parts.units)
        request["messages"] = parts.messages()
        if self._answer is not None and "max_completion_tokens" in request:
            request["max_completion_tokens"] = min(self._answer, request["max_completion_tokens"])
        return True

    def learn(self, prompt: int) -> None:
        """prompt: tokens of the last one, as its model has counted them. It was answered."""
        self._shortened = 0
        if self._counted and prompt:
            self._scale = prompt / self._counted

    async def shorten(self, error: HomeportError, request: Mapping[str, Any]) -> bool:
        """The last prompt was refused. False: not for its length, or there is nothing to be left out."""
        long = TooLong.of(error)
        if long is None or self._truncation.type != "auto" or self._shortened == MOST_SHORTENED:
            return False
        self._shortened += 1
        counted = await asyncio.to_thread(counting.count_request, request["model"], request)
        if long.prompt is not None:
            self._scale = long.prompt / max(1, counted)
        prompt = counted * self._scale
        asked: int | None = request.get("max_completion_tokens")
        if long.most is None:
            self._most = prompt * _STAYS
            return self._units > 1
        least = int(long.most * _ANSWER)
        if asked is not None and long.prompt is not None and long.most - long.prompt >= min(asked, least):
            self._answer = long.most - long.prompt  # only the answer was to be too long
            return True
        self._answer = min(asked, least) if asked is not None else None
        self._most = long.most - (self._answer or least)
        return self._units > 1
