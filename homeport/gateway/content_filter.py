"""A project's chats and completions, moderated on their way: the step before the cache, so that nothing goes around it.

    input      judged before anybody is asked. Flagged: 400, and no model has seen it
    output     plain: judged whole. A flagged choice comes without its content, with finish_reason `content_filter`
               stream: held back until a sentence or so of it is there and judged (filtered_stream.py)

Who judges is a model of `/v1/moderations`, asked on the same straight line, on the account of the same key: that is in
the ledger like any other request. When it cannot be asked the request fails: what is not judged is not let through.
"""

from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from homeport import ids
from homeport.backends.capabilities import Answer, Call, Frame
from homeport.errors import (
    ContentFiltered,
    InvalidRequest,
    ModelNotFound,
    NotFound,
    Unavailable,
    UpstreamFailed,
    UpstreamRefused,
)
from homeport.gateway import filtered
from homeport.gateway.endpoints import MODERATIONS
from homeport.gateway.filtered import Categories
from homeport.gateway.filtered_stream import FilteredStream
from homeport.gateway.keyring import ALL_MODELS, Principal, Screening
from homeport.gateway.pipeline import Step, StraightLine
from homeport.wire.moderations import ModerationResults

if TYPE_CHECKING:
    from homeport.gateway.ledger import Entry

#: Texts that are judged in one request, and characters of them.
_MOST_TEXTS = 256
_MOST_CHARACTERS = 500_000
#: Principals that are remembered as who judges; beyond it they are made anew.
_MOST_PRINCIPALS = 4096

_results = msgspec.json.Decoder(ModerationResults)


class ContentFilter:
    """A step of the straight line. line: the whole of it, once it is built."""

    line: StraightLine

    def __init__(self, ask: Step) -> None:
        """ask: the next step."""
        self._ask = ask
        self._judges: dict[str, tuple[Principal, Principal]] = {}

    def answer(self, entry: "Entry") -> Awaitable[Answer]:
        """Who does not use it does not pay for it."""
        screening = entry.principal.screening
        if screening is None or not entry.endpoint.writes:
            return self._ask(entry)
        return self._answer(entry, screening)

    async def _answer(self, entry: "Entry", screening: Screening) -> Answer:
        call = entry.call
        if screening.input:
            await self._check_input(entry, screening)
        answer = await self._ask(entry)
        if entry.endpoint.draws:
            return answer  # nobody here judges pictures
        if call.stream:
            return answer if not screening.output else await self._streamed(entry, screening, answer)
        judged: dict[int, Categories] | None = None
        if screening.output:
            judged = await self._judged_choices(entry, screening, answer.first)
        return Answer(filtered.answer(answer.first, judged, call))

    async def _check_input(self, entry: "Entry", screening: Screening) -> None:
        """Raises ContentFiltered; InvalidRequest: there is something that nobody can judge."""
        call = entry.call
        asked = filtered.asked(call)
        try:
            judged = [await self._judge(entry, screening, [image]) for image in asked.images]
            judged.append(await self._judge(entry, screening, asked.texts))
        except InvalidRequest as error:
            raise InvalidRequest(
                f"The requests of this project are moderated, and this one cannot be: {error.message}",
                param=asked.param,
                code=error.code,
            ) from None
        flagged = frozenset[str]().union(*(one for of_some in judged for one in of_some))
        if flagged:
            raise ContentFiltered(sorted(flagged), param=asked.param)
        if call.shows_filters:
            call.prompt_filter = filtered.azure_results(flagged)

    async def _judged_choices(self, entry: "Entry", screening: Screening, frame: Frame) -> dict[int, Categories]:
        """By place in the answer's list, what its choices are flagged for."""
        texts = filtered.written(frame)
        judged = await self._judge(entry, screening, [text for _, text in texts])
        flagged: dict[int, Categories] = {}
        for (place, _), categories in zip(texts, judged, strict=True):
            flagged[place] = flagged.get(place, frozenset()) | categories
        return flagged

    async def _streamed(self, entry: "Entry", screening: Screening, answer: Answer) -> Answer:
        async def judge(texts: Sequence[str]) -> Sequence[Categories]:
            return await self._judge(entry, screening, texts)

        stream = FilteredStream(entry.call, filtered.choices(entry.call), judge, entry.produced.take)
        return await Answer.begun(_through(stream, answer), stream=True)

    async def _judge(
        self, entry: "Entry", screening: Screening, inputs: Sequence[str | dict[str, Any]]
    ) -> list[Categories]:
        """What each is flagged for. An image is asked for alone, as one part. Raises HomeportError."""
        found: list[Categories] = []
        for block in _blocks(inputs):
            body = msgspec.json.encode({"model": screening.model, "input": block})
            call = Call(MODERATIONS.name, ids.request_id(), screening.model, body)
            call.batch, call.trace = entry.call.batch, entry.call.trace
            try:
                frame = await self.line.plain(MODERATIONS, self._judge_of(entry.principal), call)
            except (ModelNotFound, NotFound):
                raise _no_judge(screening) from None
            except UpstreamRefused as error:  # as a model says it that another process holds
                if error.upstream_status == 404:
                    raise _no_judge(screening) from None
                if error.upstream_status == 400:
                    raise InvalidRequest(error.message) from None
                raise
            results = _results.decode(frame.data).results
            if len(results) != len(block):
                raise UpstreamFailed("What moderates the requests of this project has not answered for each of them.")
            found += [_flagged(result, screening.threshold) for result in results]
        return found

    def _judge_of(self, principal: Principal) -> Principal:
        """The same account. That its operator wants the request moderated is leave enough to use the model."""
        known = self._judges.get(principal.key_id)
        if known is None or known[0] is not principal:
            if len(self._judges) >= _MOST_PRINCIPALS:
                self._judges.clear()
            known = principal, replace(principal, models=ALL_MODELS, scopes=None, screening=None)
            self._judges[principal.key_id] = known
        return known[1]


def _no_judge(screening: Screening) -> Unavailable:
    return Unavailable(
        f"The requests of this project are moderated by the model `{screening.model}`, which does not exist here or "
        "does not moderate. Whoever runs this server can set another one.",
        code="moderation_unavailable",
        headers=(("x-should-retry", "false"),),
    )


async def _through(stream: FilteredStream, answer: Answer) -> AsyncGenerator[Frame, None]:
    async with aclosing(answer.frames()) as frames:
        async for frame in frames:
            for passed in await stream.take(frame):
                yield passed
            if stream.over:
                return
        for passed in await stream.end():
            yield passed


def _blocks(inputs: Sequence[str | dict[str, Any]]) -> list[list[str | dict[str, Any]]]:
    blocks: list[list[str | dict[str, Any]]] = []
    characters = 0
    for one in inputs:
        size = len(one) if isinstance(one, str) else 0
        if not blocks or len(blocks[-1]) == _MOST_TEXTS or characters + size > _MOST_CHARACTERS:
            blocks.append([])
            characters = 0
        blocks[-1].append(one)
        characters += size
    return blocks


def _flagged(result: ModerationResults.Result, threshold: float | None) -> Categories:
    if threshold is None:
        named = frozenset(name for name, is_flagged in result.categories.items() if is_flagged)
        return named or (frozenset({"other"}) if result.flagged else frozenset())
    scores = result.category_scores.items()
    return frozenset(name for name, score in scores if isinstance(score, int | float) and score >= threshold)
