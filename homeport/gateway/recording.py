"""Answers written down, and given again from a folder: a step of the straight line, before anybody is asked.

    record            ask, and write down what came; the first answer of a run takes the place of what was there
    replay            never ask: what was not recorded is a 404 that says which recording is nearest
    record + replay   what was recorded is given again, the rest is asked for and written down

The n-th time that a question is asked it gets its n-th answer, and the last one from then on. No header is ever written
down, and no secret that is known or can be told by its form.
"""

import asyncio
import base64
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from homeport import clock
from homeport.backends.capabilities import Answer, Call, Frame
from homeport.backends.upstreams.doors import Crowd
from homeport.errors import HomeportError, RecordingNotFound, Unavailable, UpstreamRefused
from homeport.gateway import cache_key
from homeport.gateway.pipeline import Step
from homeport.gateway.produced import Produced
from homeport.gateway.recordings import (
    MOST_ANSWERS,
    MOST_NAMED,
    VERSION,
    Asked,
    Recorded,
    Recording,
    Recordings,
    Unreadable,
)
from homeport.gateway.routing import Target
from homeport.gateway.scrub import Scrub

if TYPE_CHECKING:
    from homeport.gateway.ledger import Entry

log = logging.getLogger("homeport.recording")

#: Refusals that are not the request's fault, or over soon: another try may be answered.
_NOT_KEPT = frozenset({401, 403, 408, 409, 429})
#: Waits between the events of a stream that are shorter are none.
_SHORTEST_WAIT = 0.001


class Played:
    """The backend of every model while answers come from recordings alone: it is never asked."""

    def __init__(self, recordings: Recordings) -> None:
        self._recordings = recordings

    async def start(self) -> None:
        """There is nothing to load."""

    async def close(self) -> None:
        """There is nothing to let go of."""

    def lines_at_once(self, capability: str) -> int | None:
        """It takes any number."""
        return None

    def states(self) -> Sequence[Any]:
        """There is nobody who could be away."""
        return ()

    def crowd(self) -> Crowd:
        return Crowd(0, 0)

    def addresses(self) -> list[str]:
        return []

    async def models(self) -> list[str]:
        """Those that were recorded."""
        return await asyncio.to_thread(self._recordings.models)


class Recorder:
    def __init__(
        self,
        ask: Step,
        scrub: Scrub,
        *,
        record: Recordings | None,
        replay: Recordings | None,
        ignore: Sequence[str] = (),
        speed: float = 1.0,
    ) -> None:
        """ask: the next step. ignore: parameters that make no other question. speed: of streams; 0: at once."""
        self._ask = ask
        self._scrub = scrub
        self.record = record
        self.replay = replay
        self._ignore = frozenset(ignore)
        self._speed = speed
        self._turns: Counter[str] = Counter()
        self._begun: set[str] = set()
        self._writing = asyncio.Lock()
        #: Since the start: answers that were given again, questions that nobody recorded, answers written down.
        self.replayed = self.missed = self.recorded = 0

    async def answer(self, entry: "Entry") -> Answer:
        asked = self._asked(entry.call)
        if self.replay is not None:
            found = await self._find(self.replay, asked) if asked is not None else None
            if asked is not None and found is not None:
                return self._again(entry, asked, found)
            if self.record is None:
                self.missed += 1
                raise await self._not_found(self.replay, asked)
        if asked is None or self.record is None:
            return await self._ask(entry)
        return await self._recording(entry, asked, self.record)

    def told(self) -> str:
        """For the log, when it is over."""
        parts = []
        if self.replay is not None:
            parts.append(f"{self.replayed} answers were replayed")
            if self.record is None:
                unused = len(set(self.replay.files()) - set(self._turns))
                parts.append(f"{self.missed} requests were not found, {unused} recordings were not used")
        if self.record is not None:
            parts.append(f"{self.recorded} answers were recorded")
        return ", ".join(parts)

    def _asked(self, call: Call) -> Asked | None:
        """None: it cannot be compared."""
        question = cache_key.question(call)
        if question is None:
            return None
        told = {name: value for name, value in question.items() if name not in self._ignore}
        try:
            return Asked.of(call.endpoint, self._scrub.text(call.name), self._scrub.value(told))
        except (OverflowError, RecursionError, UnicodeEncodeError):
            return None

    # replay

    async def _find(self, recordings: Recordings, asked: Asked) -> Recorded | None:
        turn = self._turns[asked.file]
        self._turns[asked.file] += 1
        try:
            recording = await asyncio.to_thread(recordings.read, asked.file)
        except Unreadable as error:
            raise Unavailable(
                f"The recording cannot be used: {error}. Mend the file, or remove it and record it again.",
                code="recording_unreadable",
                headers=(("x-should-retry", "false"),),
            ) from None
        if recording is None:
            del self._turns[asked.file]
            return None
        return recording.answers[min(turn, len(recording.answers) - 1)]

    def _again(self, entry: "Entry", asked: Asked, found: Recorded) -> Answer:
        """It costs nothing, as one from the cache."""
        self.replayed += 1
        call = entry.call
        entry.cache_hit = True
        entry.target = Target("replay", None, call.name, "homeport")
        call.model = call.name
        call.told.append(b"x-homeport-replay: %b\r\n" % asked.file.encode())
        if found.error is not None:
            raise UpstreamRefused(found.status, found.error, headers=(("x-should-retry", "false"),))
        if found.events is None:
            frame = Frame((found.body or "").encode(), usage=found.usage, model=found.model)
            frame.service_tier, frame.media = found.service_tier, found.media
            return Answer(frame)
        frames = [Frame(_bytes_of(text, found.media)) for _, text in found.events]
        frames[0].media = found.media
        frames[0].model, frames[0].service_tier = found.model, found.service_tier
        frames[-1].usage = found.usage
        return Answer(frames[0], self._played(frames[1:], [moment for moment, _ in found.events]))

    async def _played(self, frames: Sequence[Frame], moments: Sequence[int]) -> AsyncGenerator[Frame, None]:
        """As late as they were after the first one, or sooner by the speed."""
        began = clock.monotonic()
        for frame, moment in zip(frames, moments[1:], strict=True):
            if self._speed:
                wait = began + (moment - moments[0]) / 1000 / self._speed - clock.monotonic()
                if wait > _SHORTEST_WAIT:
                    await clock.sleep(wait)
            yield frame

    async def _not_found(self, recordings: Recordings, asked: Asked | None) -> RecordingNotFound:
        words = f"This request was never recorded in {str(recordings.folder)!r}, and nothing else is asked in replay."
        near = await asyncio.to_thread(recordings.nearest, asked) if asked is not None else None
        if near is not None:
            named = ", ".join(near.differs[:MOST_NAMED])
            more = len(near.differs) - MOST_NAMED
            words += f" The nearest recording is {near.file}, which differs in {named}"
            words += f" and {more} more places." if more > 0 else "."
        else:
            words += " The folder holds nothing for this endpoint."
        return RecordingNotFound(f"{words} Record it: homeport serve --record {recordings.folder} with an upstream.")

    # record

    async def _recording(self, entry: "Entry", asked: Asked, recordings: Recordings) -> Answer:
        entry.call.told.append(b"x-homeport-recorded: %b\r\n" % asked.file.encode())
        try:
            answer = await self._ask(entry)
        except HomeportError as error:
            refused = _refused(entry, error)
            if refused is not None:
                await self._keep(entry, asked, recordings, refused)
            raise
        if answer.rest is None:
            body = answer.first.data.decode()
            await self._keep(entry, asked, recordings, _recorded(entry, [answer.first], body=body))
            return answer
        return Answer(answer.first, self._listening(entry, asked, recordings, answer))

    async def _listening(
        self, entry: "Entry", asked: Asked, recordings: Recordings, answer: Answer
    ) -> AsyncGenerator[Frame, None]:
        """A stream that breaks off, or is left, is not kept. Its end waits until it is written down."""
        began = clock.monotonic()
        frames, moments = [answer.first], [0]
        try:
            assert answer.rest is not None
            async for frame in answer.rest:
                frames.append(frame)
                moments.append(round((clock.monotonic() - began) * 1000))
                yield frame
            media = answer.first.media
            events = tuple([(at, _text_of(frame, media)) for at, frame in zip(moments, frames, strict=True)])
            await self._keep(entry, asked, recordings, _recorded(entry, frames, events=events))
        finally:
            await answer.aclose()

    async def _keep(self, entry: "Entry", asked: Asked, recordings: Recordings, recorded: Recorded) -> None:
        """Never raises: an answer is worth more than its recording."""
        clean = self._clean(recorded)
        if clean is None:
            log.warning("%s: not recorded: a secret is spread over the events of a stream", entry.call.request_id)
            return
        try:
            async with self._writing:
                await asyncio.to_thread(self._write, recordings, asked, clean)
        except (OSError, Unreadable) as error:
            log.error("%s: could not be recorded in %s: %s", entry.call.request_id, recordings.folder, error)

    def _write(self, recordings: Recordings, asked: Asked, recorded: Recorded) -> None:
        kept = recordings.read(asked.file) if asked.file in self._begun else None
        answers = kept.answers if kept is not None else []
        if len(answers) < MOST_ANSWERS:
            recordings.write(
                asked.file,
                Recording(
                    version=VERSION,
                    endpoint=asked.endpoint,
                    model=asked.model,
                    request=asked.question,
                    answers=[*answers, recorded],
                ),
            )
            self.recorded += 1
        self._begun.add(asked.file)

    def _clean(self, recorded: Recorded) -> Recorded | None:
        """None: there is a secret that no single event shows."""
        scrub = self._scrub
        if recorded.events is not None and recorded.media:
            return recorded  # sound
        if recorded.events is not None:
            events = tuple([(at, scrub.answer(text)) for at, text in recorded.events])
            spoken = Produced()
            for _, text in events:
                spoken.take(text.encode())
            return None if scrub.finds(spoken.text) else replace(recorded, events=events)
        if recorded.body is not None:
            return replace(recorded, body=scrub.answer(recorded.body))
        return replace(recorded, error=scrub.value(recorded.error))


def _recorded(entry: "Entry", frames: Sequence[Frame], **what: Any) -> Recorded:
    usage = next((frame.usage for frame in reversed(frames) if frame.usage is not None), None)
    target, first = entry.target, frames[0]
    return Recorded(
        target=target.name if target is not None else "",
        model=first.model,
        service_tier=first.service_tier,
        usage=usage,
        media=first.media,
        **what,
    )


def _text_of(frame: Frame, media: str) -> str:
    return base64.b64encode(frame.data).decode() if media else frame.data.decode()


def _bytes_of(text: str, media: str) -> bytes:
    return base64.b64decode(text) if media else text.encode()


def _refused(entry: "Entry", error: HomeportError) -> Recorded | None:
    """A refusal of the request itself, which will be the same every time; None: it is another one."""
    if isinstance(error, UpstreamRefused):
        status, body = error.upstream_status, error.body
    else:
        status = error.status
        body = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    if not 400 <= status < 500 or status in _NOT_KEPT:
        return None
    return Recorded(status=status, target=entry.target.name if entry.target is not None else "", error=body)
