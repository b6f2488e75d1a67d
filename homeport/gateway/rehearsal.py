"""Faults on request: the first step, so that a client sees them whatever would have answered it.

    x-homeport-fault: 429                   refused as by a rate limit; `after=2`: with that Retry-After, in seconds
    x-homeport-fault: 500                   or 503, with `after` as well
    x-homeport-fault: slow=2                two seconds until the first byte; `gap=0.5`: and before each later piece
    x-homeport-fault: timeout               no answer at all
    x-homeport-fault: cut                   the connection ends: instead of an answer, or in a stream `after=3` events

To each of them: `;times=2` for the first two of equal requests, so that a retry is answered; `;p=0.2` for a fifth.
In a stream of sound the pieces are counted, which are no events.
"""

import hashlib
import random
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from math import inf, isfinite
from typing import TYPE_CHECKING, NamedTuple

from homeport import clock
from homeport.backends.capabilities import Answer, Call, Frame
from homeport.errors import (
    ConnectionCut,
    HomeportError,
    InvalidRequest,
    PermissionDenied,
    RateLimited,
    RequestTimedOut,
    Unavailable,
)
from homeport.gateway.pipeline import Step

if TYPE_CHECKING:
    from homeport.gateway.ledger import Entry

#: Seconds after which nobody waits any more.
TIMEOUT = 600.0
#: Requests whose number is remembered.
MOST_COUNTED = 1000
_BETWEEN_EVENTS = b"\n\n"
_KINDS = ("429", "500", "503", "cut", "slow", "timeout")
_PARAMETERS = ("after", "gap", "p", "times")
_REHEARSED = "This fault was asked for with x-homeport-fault."


class Fault(NamedTuple):
    """What a header asks for. after: seconds, or events of a stream, by kind. times: of equal requests; p: chance."""

    kind: str
    seconds: float = 0.0
    after: float = 1.0
    gap: float = 0.0
    times: float = inf
    p: float = 1.0


class Rehearsal:
    def __init__(self, ask: Step, *, allowed: bool, chance: Callable[[], float] = random.random) -> None:
        """ask: the next step."""
        self._ask = ask
        self._allowed = allowed
        self._chance = chance
        self._times: OrderedDict[bytes, int] = OrderedDict()

    def answer(self, entry: "Entry") -> Awaitable[Answer]:
        """Who does not use it does not pay for it."""
        return self._answer(entry) if entry.call.fault else self._ask(entry)

    async def _answer(self, entry: "Entry") -> Answer:
        """Raises PermissionDenied, InvalidRequest, and the fault."""
        if not self._allowed:
            raise PermissionDenied(
                "Faults cannot be asked for here: leave the header x-homeport-fault away, or have whoever runs this "
                "server set faults.allowed = true."
            )
        fault = parse(entry.call.fault)
        if not self._is_due(entry, fault):
            return await self._ask(entry)
        entry.call.told.append(b"x-homeport-fault: %b\r\n" % fault.kind.encode())
        if fault.kind == "slow":
            await clock.sleep(fault.seconds)
            answer = await self._ask(entry)
            return answer if answer.rest is None else Answer(answer.first, _slowed(answer, fault.gap))
        if fault.kind == "cut" and entry.call.stream and fault.after >= 1:
            return await Answer.begun(_cut(await self._ask(entry), int(fault.after)), stream=True)
        if fault.kind == "timeout":
            await clock.sleep(TIMEOUT)
        raise _error(fault, entry.call)

    def _is_due(self, entry: "Entry", fault: Fault) -> bool:
        if fault.times < inf:
            call = entry.call
            said = (entry.principal.key_id, call.endpoint, call.name, call.fault.decode("latin-1"))
            equal = hashlib.blake2b("\n".join(said).encode() + b"\n" + call.body, digest_size=16).digest()
            count = self._times.get(equal, 0)
            self._times[equal] = count + 1
            self._times.move_to_end(equal)
            if len(self._times) > MOST_COUNTED:
                self._times.popitem(last=False)
            if count >= fault.times:
                return False
        return self._chance() < fault.p


def parse(value: bytes) -> Fault:
    """Raises InvalidRequest."""
    kind, *parts = (part.strip() for part in value.decode("latin-1").lower().split(";"))
    kind, _, seconds = (part.strip() for part in kind.partition("="))
    given: dict[str, float] = {}
    if kind not in _KINDS or bool(seconds) != (kind == "slow"):
        raise _unknown(value)
    if kind == "slow":
        given["seconds"] = _number(seconds, value)
    for part in parts:
        name, _, number = (piece.strip() for piece in part.partition("="))
        if name not in _PARAMETERS or name in given:
            raise _unknown(value)
        given[name] = _number(number, value)
    return Fault(kind, **given)


def _number(text: str, value: bytes) -> float:
    try:
        number = float(text)
    except ValueError:
        raise _unknown(value) from None
    if not isfinite(number) or number < 0 or number > TIMEOUT:
        raise _unknown(value)
    return number


def _unknown(value: bytes) -> InvalidRequest:
    return InvalidRequest(
        f"x-homeport-fault: {value.decode('latin-1')[:80]!r} is no fault that can be rehearsed. Send 429, 500, 503, "
        f"cut, slow=SECONDS or timeout, and behind it ;after=, ;gap=, ;times= or ;p= with a number up to {TIMEOUT:g}.",
        code="invalid_fault",
    )


def _error(fault: Fault, call: Call) -> HomeportError:
    headers = (("retry-after", f"{max(1, round(fault.after))}"), ("retry-after-ms", f"{fault.after * 1000:g}"))
    if fault.kind == "429":
        words = f"Rate limit reached for {call.name} on requests. Please try again in {fault.after:g}s. {_REHEARSED}"
        return RateLimited(words, kind="requests", headers=headers)
    if fault.kind == "500":
        return HomeportError(f"The server had an error while processing your request. {_REHEARSED}")
    if fault.kind == "503":
        return Unavailable(f"The engine is currently overloaded, please try again later. {_REHEARSED}", headers=headers)
    if fault.kind == "timeout":
        return RequestTimedOut(f"Nothing answered in time. {_REHEARSED}")
    return ConnectionCut()


async def _slowed(answer: Answer, gap: float) -> AsyncGenerator[Frame, None]:
    try:
        assert answer.rest is not None
        async for frame in answer.rest:
            await clock.sleep(gap)
            yield frame
    finally:
        await answer.aclose()


async def _cut(answer: Answer, after: int) -> AsyncGenerator[Frame, None]:
    """The connection ends after so many events, or pieces of media, or where the stream would have ended well."""
    media = bool(answer.first.media)
    async with aclosing(answer.frames()) as frames:
        async for frame in frames:
            events = [frame.data] if media else frame.data.split(_BETWEEN_EVENTS)[:-1]
            if len(events) > after:
                frame.data = b"".join([event + _BETWEEN_EVENTS for event in events[:after]])
            after -= len(events)
            yield frame
            if after <= 0:
                break
    raise ConnectionCut
