"""One line of a batch on the straight line, until there is an answer that is worth keeping."""

import asyncio
import hashlib
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import NamedTuple, Protocol

import msgspec
import sqlalchemy as sa

from homeport import clock, ids
from homeport.backends.capabilities import Attached, Call, Frame
from homeport.control.batch_input import Line, request_of
from homeport.control.batch_states import Batch, Ended, Tally
from homeport.control.image_references import ImageReferences
from homeport.control.owners import Owner
from homeport.errors import HomeportError, InvalidKey, ModelNotReady, Unavailable
from homeport.gateway.endpoints import RESPONSES, Endpoint
from homeport.gateway.keyring import Principal
from homeport.gateway.pipeline import StraightLine
from homeport.gateway.watching import status_of
from homeport.logs import trail
from homeport.store.database import Database
from homeport.store.tables import keys
from homeport.wire.base import error_body
from homeport.wire.batches import (
    BatchRequestError,
    BatchRequestInput,
    BatchRequestOutput,
    BatchResponse,
    encode_line,
    reasoning_tokens,
)
from homeport.wire.envelope import open_envelope

log = logging.getLogger("homeport.batch")

#: Seconds until a line is tried again of which nobody says when: up to the first, twice that, ... up to the last.
FIRST_WAIT = 0.5
LONGEST_WAIT = 60.0
#: Times that a line is tried whose failure may be its own.
MOST_TRIES = 5
#: What says no more than that somebody has too much to do.
_BUSY = frozenset({429, 503})
_AGAIN = frozenset({408, 409, 500, 502, 504})
#: Keys that were rotated one into the next, after a batch was made.
_MOST_ROTATIONS = 100


class Answered(NamedTuple):
    """What goes into the batch's file, and what it took."""

    ended: Ended
    tally: Tally


class Callers:
    """On whose account work runs that nobody waits for: its key may be rotated, or revoked, meanwhile."""

    def __init__(self, database: Database, by_id: Callable[[str], Principal | None]) -> None:
        """by_id: of the newest snapshot. Raises Unavailable."""
        self._database = database
        self._by_id = by_id

    async def of(self, key_id: str) -> Principal:
        """Raises InvalidKey (401), Unavailable."""
        for _ in range(_MOST_ROTATIONS):
            found = self._by_id(key_id)
            if found is not None and (found.expires_at is None or found.expires_at > clock.now()):
                return found
            async with self._database.read() as connection:
                successor = await connection.scalar(sa.select(keys.c.replaced_by).where(keys.c.id == key_id))
            if successor is None:
                break
            key_id = successor
        raise InvalidKey("The API key that asked for this has been revoked, or has expired.")


class Answerer(Protocol):
    """The straight line, or what stands in its place."""

    async def plain(self, endpoint: Endpoint, principal: Principal, call: Call) -> Frame: ...


class Answering:
    def __init__(
        self, line: StraightLine, callers: Callers, references: ImageReferences, responses: "Answerer"
    ) -> None:
        """references: what brings the pictures that a line names. responses: what answers them."""
        self._line = line
        self._responses = responses
        self._callers = callers
        self._references = references

    async def answer(self, batch: Batch, endpoint: Endpoint, line: Line, handed_back: asyncio.Event) -> Answered | None:
        """None: it has no answer yet, and whoever comes next asks again. handed_back: nothing more is waited for.

        Cancelling it cancels the work.
        """
        request = request_of(line.raw)
        output = output_id(batch["id"], line.number)
        request_id = ids.request_id()
        error: HomeportError
        tried = 0
        while True:
            try:
                principal = await self._callers.of(batch["key_id"])
                if endpoint.form is None:
                    frame = await self._ask(endpoint, principal, bytes(request.body), request_id, output)
                else:
                    frame = await self._with_pictures(endpoint, principal, bytes(request.body), request_id, output)
            except HomeportError as refused:
                error = refused
            except Exception as bug:
                log.error("%s: unexpected %s", request_id, trail(bug))
                error = HomeportError(
                    f"The server had an error while processing this request. Look for {request_id} in its log."
                )
            else:
                return _success(line.number, request, request_id, output, frame)
            tried += 1
            seconds = wait(error, tried)
            if seconds is None:
                return _failure(line.number, request, request_id, output, error)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await handed_back.wait()
            if handed_back.is_set():
                return None
            request_id = ids.request_id()

    async def _with_pictures(
        self, endpoint: Endpoint, principal: Principal, body: bytes, request_id: str, output: str
    ) -> Frame:
        """Of a request that names them."""
        owner = Owner(principal.project, principal.key_id)
        coming = self._references.brought(owner, body, model=None, may=principal.may, request_id=request_id)
        async with coming as brought:
            return await self._ask(endpoint, principal, brought.body, request_id, output, brought.attached)

    def _ask(
        self,
        endpoint: Endpoint,
        principal: Principal,
        body: bytes,
        request_id: str,
        output: str,
        attached: tuple[Attached, ...] = (),
    ) -> Awaitable[Frame]:
        seen = open_envelope(body, default=endpoint.default_model)
        call = Call(
            endpoint.name,
            request_id,
            seen.model,
            seen.body,
            max_tokens=seen.max_tokens,
            choices=seen.choices,
            store=seen.store,
            background=True,
            batch=True,
            idempotency_key=output.encode(),
            attached=attached,
        )
        answerer: Answerer = self._responses if endpoint is RESPONSES else self._line
        return answerer.plain(endpoint, principal, call)


def wait(error: HomeportError, tried: int) -> float | None:
    """Seconds until the same is worth another try; None: this is the answer. tried: times.

    That somebody has too much to do is no answer, and neither is that he is away, however often he says so.
    """
    headers = dict(error.headers)
    status = status_of(error)
    told = _told(headers)
    if headers.get("x-should-retry") == "false" or status not in _BUSY | _AGAIN:
        return None
    if status in _BUSY:
        loading = told is not None or not isinstance(error, ModelNotReady)
        worth_it = told is not None or error.again is not None or (isinstance(error, Unavailable) and loading)
    else:
        worth_it = error.again is not None and tried < MOST_TRIES
    if not worth_it:
        return None
    if told is None:
        told = error.again
    chance = random.random()
    if told:
        return told * (1 + chance / 10)
    return min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(tried - 1, 30)) * chance


def _told(headers: Mapping[str, str]) -> float | None:
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        with suppress(KeyError, ValueError):
            return max(0.0, float(headers[name])) / unit
    return None


def output_id(batch_id: str, number: int) -> str:
    """Of a line, the same however often it runs: whoever is asked twice may see that it is one."""
    return "batch_req_" + hashlib.sha256(f"{batch_id}/{number}".encode()).hexdigest()[:24]


def unanswered(batch_id: str, number: int, custom_id: str, error: BatchRequestError) -> bytes:
    """The line of the error file of a request that has not run."""
    return encode_line(BatchRequestOutput(output_id(batch_id, number), custom_id, None, error))


def deadly(batch: Batch, line: Line) -> Answered:
    """Of a line that the process does not survive."""
    error = BatchRequestError("server_error", "The server failed each time it ran this request.")
    output = unanswered(batch["id"], line.number, request_of(line.raw).custom_id, error)
    return Answered(Ended(line.number, False, output), Tally(failed=1))


def _success(number: int, request: BatchRequestInput, request_id: str, output: str, frame: Frame) -> Answered:
    usage = frame.usage
    tally = Tally(completed=1)
    if usage is not None:
        reasoning = reasoning_tokens(frame.data)
        tally = Tally(1, 0, usage.prompt, usage.cached, usage.completion, reasoning)
    return Answered(Ended(number, True, _output(request, 200, request_id, output, frame.data)), tally)


def _failure(number: int, request: BatchRequestInput, request_id: str, output: str, error: HomeportError) -> Answered:
    written = _output(request, status_of(error), request_id, output, error_body(error))
    return Answered(Ended(number, False, written), Tally(failed=1))


def _output(request: BatchRequestInput, status: int, request_id: str, output: str, body: bytes) -> bytes:
    if b"\n" in body or b"\r" in body:
        body = msgspec.json.format(body, indent=-1)  # an upstream's: here a line is a line
    response = BatchResponse(status, request_id, msgspec.Raw(body))
    return encode_line(BatchRequestOutput(output, request.custom_id, response, None))
