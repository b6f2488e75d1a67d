"""A fine-tuning job that an upstream does: brought there, followed, and tidied up after.

    price     whether there is money for it
    upload    its files, from our blobs             a file and a job are asked for once: before each, `begun` is
    create    the job                               written down; whoever finds it there looks first whether the
    look      now and then, until it has ended      upstream has done it, and asks again only where it has not
    tidy      its files go from there

How far it has come is in the row of the fine-tuning job (control/fine_tuning_forwarding.py), so whoever takes the job
of the queue over goes on from there.
"""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock
from homeport.backends.upstreams.fine_tuning import FineTuning, Object
from homeport.backends.upstreams.pacing import may_pass
from homeport.control import files
from homeport.control import fine_tuning_forwarding as forwarding
from homeport.control import fine_tuning_states as states
from homeport.control.fine_tuning_forwarding import There, Told
from homeport.errors import ContentMissing, HomeportError, StorageFull, UpstreamFailed, UpstreamRefused
from homeport.jobs.fine_tuning import REFUSALS, Booking, refusal
from homeport.jobs.worker import Task
from homeport.store.blobs import Blobs
from homeport.store.queue import Job, Queue
from homeport.store.staged import Staged
from homeport.store.tables import blobs as blobs_table
from homeport.store.tables import fine_tuning_jobs
from homeport.wire.fine_tuning import FineTuningError

log = logging.getLogger("homeport.fine_tuning")

RESULTS = "fine-tune-results"
#: Jobs that a process has in hand; each for a few requests at a time.
AT_ONCE = 4
#: Times that it is taken up without coming further, because processes die, before these count as attempts.
MOST_KILLS = 50
#: Seconds until the upstream is looked at again: after something new, and at most.
FIRST_REST, LONGEST_REST = 5.0, 60.0
#: The longest `Retry-After` that is kept to.
LONGEST_WISH = 3600.0
#: Seconds that something that was asked for may take to be there, when nobody has heard the answer.
SETTLE = 10.0
#: A day of failures, after which a job is given up.
PATIENCE = 86_400.0
#: A job's tokens are reckoned by these, before the upstream counts them: of its file, and where it may choose.
BYTES_PER_TOKEN, USUAL_EPOCHS = 4, 3
#: Bytes of a file of results: OpenAI's have some 100 a step.
LARGEST_RESULTS = 64 * 2**20
#: Until it is tried again to write to a disk that is full.
FULL_SECONDS = 15.0
#: Seconds by which an upstream's clock may differ from ours.
_SKEW = 86_400.0
#: States of a file: not ready to be trained on; never to be.
_NOT_YET = ("pending", "running", "notRunning", "processing")
_NEVER = ("error", "failed", "deleted")
BROKEN = FineTuningError(
    "server_error", "The server has failed several times at this job, and gives it up. Its log says why."
)

Kind = Literal["training", "validation"]
KINDS: tuple[Kind, ...] = ("training", "validation")


@dataclass(slots=True)
class _Hand:
    """A job in hand. ended: its row says so."""

    job: Job
    row: states.Job
    there: There

    @property
    def id(self) -> str:
        return self.job.subject

    @property
    def ended(self) -> bool:
        return self.row["status"] in states.OVER

    def filename(self, kind: Kind) -> str:
        """At the upstream. No other job has it."""
        return f"{self.id}-{kind}.jsonl"

    def file(self, kind: Kind) -> str | None:
        """Its id there."""
        found: str | None = getattr(self.there, f"{kind}_file")
        return found


class _Place(NamedTuple):
    """What the queue knows of how far it has come. times: that it has come further; killed: that somebody was, then."""

    times: int = 0
    killed: int = 0


class _Rest(Exception):
    """Nothing is to be done for so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class _Ended(Exception):
    """The job was cancelled meanwhile, here."""


class _Wrong(Exception):
    """The job cannot be done."""

    def __init__(self, error: FineTuningError) -> None:
        super().__init__(error.code)
        self.error = error


class Follow:
    lane: Final = states.LANE
    kind: Final = states.FOLLOW
    at_once: Final = AT_ONCE

    def __init__(self, queue: Queue, blobs: Blobs, upstreams: Mapping[str, FineTuning], booking: Booking) -> None:
        self._queue = queue
        self._database = queue.database
        self._blobs = blobs
        self._upstreams = upstreams
        self._booking = booking

    async def run(self, task: Task) -> None:
        if task.job.attempt > 1 and task.job.last_error is None:
            await self._again(task.job)
        hand = await self._find(task.job)
        rest: float | None = None
        if hand is not None:
            try:
                rest = await self._go_on(hand)
            except _Rest as asked:
                rest = asked.seconds
            except (UpstreamFailed, UpstreamRefused) as error:
                rest = await self._failed(hand, error)
            except ContentMissing as error:
                rest = await self._fail(hand, FineTuningError(error.code or error.type, error.message))
            except StorageFull as error:
                log.error("%s: its results cannot be written: %s", hand.id, error.message)
                rest = FULL_SECONDS
        async with self._database.write() as connection:
            if rest is None:
                await self._queue.finish(connection, task.job)
            else:
                await self._queue.later(connection, task.job, run_in=rest)

    async def give_up(self, connection: AsyncConnection, job: Job, error: str) -> None:
        """What is there is seen to by another job."""
        values = {"error": msgspec.to_builtins(BROKEN)}
        before = await states.mirror(connection, self._queue, job.subject, "failed", values, [_failure(BROKEN)])
        if before is not None:
            await self._queue.enqueue(connection, self.lane, self.kind, job.subject)
        await self._queue.finish(connection, job)

    async def _again(self, job: Job) -> None:
        """Whoever had it was killed. That is seldom the job's fault, and no attempt of it, but for the last few."""
        place = _Place(**(job.checkpoint or {}))
        if place.killed < MOST_KILLS:
            async with self._database.write() as connection:
                killed = place._replace(killed=place.killed + 1)
                await self._queue.hold(connection, job, checkpoint=killed._asdict())

    async def _find(self, job: Job) -> _Hand | None:
        query = sa.select(fine_tuning_jobs).where(fine_tuning_jobs.c.id == job.subject)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return _Hand(job, row, There.of(row)) if row is not None else None

    async def _go_on(self, hand: _Hand) -> float | None:
        """Seconds until it is looked at again; None: never. Raises _Rest, and what an upstream's methods do."""
        upstream = forwarding.upstream(self._upstreams, hand.row["upstream"])
        try:
            if not hand.ended:
                if hand.there.id is None:
                    await self._submit(hand, upstream)
                rest = await self._look(hand, upstream)
                if rest is not None:
                    return rest
        except _Ended:
            pass
        except _Wrong as wrong:
            return await self._fail(hand, wrong.error)
        await self._tidy(hand, upstream)
        return None

    async def _submit(self, hand: _Hand, upstream: FineTuning) -> None:
        """Raises _Rest, _Ended, _Wrong."""
        there = hand.there
        if there.training_file is None and there.begun is None:
            await self._check_price(hand)
        for kind in KINDS:
            if hand.row[f"{kind}_file"] is not None and hand.file(kind) is None:
                found = await self._upload(hand, upstream, kind)
                setattr(there, f"{kind}_file", found["id"])
                await self._save(hand)
        for kind in KINDS:
            if (file_id := hand.file(kind)) is not None:
                _check_file(kind, hand, await upstream.file(file_id))
        since = hand.row["created_at"] - _SKEW
        there.job = await self._once(
            hand,
            lambda: upstream.find(lambda job: forwarding.is_of(hand.row, there, job), since=since),
            lambda: upstream.create(forwarding.request(hand.row, there), key=hand.id),
        )
        log.info("%s is %s at the upstream %s", hand.id, there.id, upstream.upstream)
        await self._save(hand)

    async def _check_price(self, hand: _Hand) -> None:
        """Whether budgets can hold what it will cost, as well as that can be told: the upstream counts the tokens, and
        may choose the epochs. Raises _Wrong, _Ended."""
        epochs = hand.row["hyperparameters"].get("n_epochs")
        tokens = await self._bytes(hand, "training") // BYTES_PER_TOKEN
        tokens *= epochs if isinstance(epochs, int) else USUAL_EPOCHS
        try:
            with await self._booking.reserve(hand.row, tokens) as grant:
                grant.used, grant.cost = 0, 0
        except REFUSALS as error:
            raise _Wrong(refusal(error)) from None

    async def _bytes(self, hand: _Hand, kind: Kind) -> int:
        """Of a file. Raises _Ended."""
        query = sa.select(blobs_table.c.bytes).where(blobs_table.c.digest == hand.row[f"{kind}_digest"])
        async with self._database.read() as connection:
            length: int | None = await connection.scalar(query)
        if length is None:  # cancelled meanwhile
            raise _Ended
        return length

    async def _upload(self, hand: _Hand, upstream: FineTuning, kind: Kind) -> Object:
        digest, name, length = hand.row[f"{kind}_digest"], hand.filename(kind), await self._bytes(hand, kind)
        return await self._once(
            hand,
            lambda: upstream.named(name),
            lambda: upstream.upload(name, length, lambda: self._blobs.read(digest), key=f"{hand.id}-{kind}"),
        )

    async def _once(
        self, hand: _Hand, find: Callable[[], Awaitable[Object | None]], make: Callable[[], Awaitable[Object]]
    ) -> Object:
        """What is made there, or was. Its caller saves that. Raises _Rest, _Ended."""
        there = hand.there
        if there.begun is not None:
            if (wait := there.begun + SETTLE - clock.now()) > 0:
                raise _Rest(wait)
            if (found := await find()) is not None:
                there.begun = None
                return found
        there.begun = clock.now()
        await self._save(hand)
        try:
            made = await make()
        except HomeportError as error:
            if _nothing_done(error):
                there.begun = None
            raise
        there.begun = None
        return made

    async def _look(self, hand: _Hand, upstream: FineTuning) -> float | None:
        """Seconds until the next time; None: it has ended. Raises _Ended, _Wrong."""
        there = hand.there
        assert there.id is not None
        job = await upstream.job(there.id)
        events = await _if_told(upstream.events(there.id, after=there.seen, since=there.seen_at))
        there.job, there.since, there.tries = job, None, 0
        if events:
            created = events[-1].get("created_at")
            there.seen, there.seen_at = events[-1]["id"], created if isinstance(created, int) else there.seen_at
        there.idle = 0 if events or there.status not in (None, hand.row["status"]) else there.idle + 1
        told = forwarding.told(hand.row, there, events)
        over = told.status in states.OVER
        checkpoints = await _if_told(upstream.checkpoints(there.id)) if events or over else []
        model = job.get("fine_tuned_model")
        if told.status == "succeeded" and (
            not forwarding.is_name(model) or model in (hand.row["base"], hand.row["model"])
        ):
            raise _Wrong(
                FineTuningError("server_error", "The upstream says that it has succeeded, and names no model.")
            )
        async with self._results(upstream, job if over else {}) as (staged, filename):
            before = await self._mirror(hand, told, checkpoints, staged, filename)
        if over:
            self._queue.told()
            await self._blobs.release(states.digests(before))
            return None
        return _rest(there.idle)

    async def _mirror(
        self, hand: _Hand, told: Told, checkpoints: Sequence[Object], staged: Staged | None, filename: str
    ) -> states.Job:
        """In one transaction. staged: results. The row as it was before. Raises _Ended, StorageFull."""
        row, values = hand.row, dict(told.values)
        model = (hand.there.job or {}).get("fine_tuned_model") if told.status == "succeeded" else None
        if model is not None:
            values["fine_tuned_model"] = model
        opened = self._blobs.keep(staged) if staged is not None else self._database.write()
        async with opened as connection:
            if staged is not None:
                values["result_file"] = (
                    await files.add(connection, row["project_id"], filename, RESULTS, staged, life=None)
                ).id
            before = await states.mirror(connection, self._queue, hand.id, told.status, values, told.events)
            if before is None:
                raise _Ended
            for name, step, metrics in filter(None, map(forwarding.checkpoint, checkpoints)):
                await states.made(connection, row, name, digest=None, step=step, metrics=metrics)
            if model is not None:
                await states.made(connection, row, model, digest=None, step=None)
            await self._hold(connection, hand)
        return before

    @asynccontextmanager
    async def _results(self, upstream: FineTuning, job: Object) -> "AsyncGenerator[tuple[Staged | None, str], None]":
        """The file with a job's results, and its name; None: it has none. Raises StorageFull."""
        listed = job.get("result_files")
        file_id = next((one for one in listed if isinstance(one, str)), None) if isinstance(listed, list) else None
        if file_id is None:
            yield None, ""
            return
        async with self._blobs.staged() as staged:
            try:
                filename = (await upstream.file(file_id)).get("filename")
                async with aclosing(upstream.content(file_id)) as pieces:
                    async for piece in pieces:
                        await staged.write(piece)
                        if staged.bytes > LARGEST_RESULTS:
                            log.warning("the results of a job at the upstream %s are too large", upstream.upstream)
                            break
                known = staged.bytes <= LARGEST_RESULTS
            except UpstreamRefused as error:
                if error.again is not None:
                    raise
                log.warning("the upstream %s does not give the results of a job out", upstream.upstream)
                known = False
            if not known:
                yield None, ""
                return
            yield staged, files.shown_name(filename[-files.LONGEST_NAME :] if isinstance(filename, str) else None)

    async def _tidy(self, hand: _Hand, upstream: FineTuning) -> None:
        """It has ended here. There, it ends as well, and its files are forgotten."""
        found = await self._find(hand.job)
        if found is None:
            return
        there = found.there
        if there.begun is not None:
            if (wait := there.begun + SETTLE - clock.now()) > 0:
                raise _Rest(wait)
            since = found.row["created_at"] - _SKEW
            if there.job is None:
                there.job = await upstream.find(lambda job: forwarding.is_of(found.row, there, job), since=since)
        if there.id is not None and there.status not in states.OVER:
            await _if_it_can(upstream.act(there.id, "cancel"))
        for kind in KINDS:
            file_id = found.file(kind)
            if file_id is None and there.begun is not None:
                file_id = (await upstream.named(found.filename(kind)) or {}).get("id")
            if file_id is not None:
                await _if_it_can(upstream.forget(file_id))

    async def _failed(self, hand: _Hand, error: UpstreamFailed | UpstreamRefused) -> float | None:
        """As _go_on."""
        there, now = hand.there, clock.now()
        there.tries += 1
        first = there.since is None
        there.since = since = now if there.since is None else there.since
        over = (await self._find(hand.job) or hand).ended
        if _final(error, there) or now - since > PATIENCE:
            if not over:
                return await self._fail(hand, _told(hand, error))
            log.warning("%s: the upstream %s was not tidied up: %s", hand.id, hand.row["upstream"], _word(error))
            return None
        log.info("%s: the upstream %s fails (%d): %s", hand.id, hand.row["upstream"], there.tries, _word(error))
        async with self._database.write() as connection:
            await self._write(connection, hand)
            if first and not over:
                message = f"The upstream cannot go on at the moment, and is asked again: {_word(error)}."
                await states.tell(connection, hand.id, message, level="warn")
            await self._hold(connection, hand)
        if error.again:
            return min(error.again, LONGEST_WISH)
        return _rest(there.tries - 1)

    async def _fail(self, hand: _Hand, error: FineTuningError) -> float:
        """It cannot be done. What is left of it there is seen to next."""
        values = {"error": msgspec.to_builtins(error), "upstream_job": hand.there.column()}
        async with self._database.write() as connection:
            before = await states.mirror(connection, self._queue, hand.id, "failed", values, [_failure(error)])
            await self._hold(connection, hand)
        await self._blobs.release(states.digests(before))
        return 0.0

    async def _save(self, hand: _Hand) -> None:
        """How far it has come. Raises _Ended."""
        async with self._database.write() as connection:
            status = await self._write(connection, hand)
            await self._hold(connection, hand)
        if status in states.OVER:
            raise _Ended

    async def _write(self, connection: AsyncConnection, hand: _Hand) -> str | None:
        """The state of the row."""
        table = fine_tuning_jobs
        update = sa.update(table).where(table.c.id == hand.id).values(upstream_job=hand.there.column())
        status: str | None = await connection.scalar(update.returning(table.c.status))
        return status

    async def _hold(self, connection: AsyncConnection, hand: _Hand) -> None:
        """The upstream has answered, or something was written down: it has come further."""
        place = _Place(**(hand.job.checkpoint or {}))
        await self._queue.hold(connection, hand.job, checkpoint=_Place(place.times + 1)._asdict())


def _rest(times: int) -> float:
    """Seconds. times: looks in vain before this one."""
    return min(LONGEST_REST, FIRST_REST * 1.5 ** min(times, 30))


def _check_file(kind: Kind, hand: _Hand, file: Object) -> None:
    """Whether it can be trained on. Raises _Rest, _Wrong."""
    status = file.get("status")
    if status in _NOT_YET:
        raise _Rest(FIRST_REST)
    if status in _NEVER:
        details = file.get("status_details")
        words = forwarding.translated(hand.row, hand.there, details) if isinstance(details, str) and details else ""
        message = f"The upstream does not take the {kind} file{': ' + words if words else '.'}"
        raise _Wrong(FineTuningError(f"invalid_{kind}_file", message, f"{kind}_file"))


def _nothing_done(error: HomeportError) -> bool:
    """What was asked for is not there, for certain."""
    if isinstance(error, UpstreamRefused):
        return error.upstream_status < 500 and error.upstream_status not in (408, 409)
    return error.code in ("upstream_authentication_failed", "upstream_busy", "upstream_unavailable")


def _final(error: UpstreamFailed | UpstreamRefused, there: There) -> bool:
    """To ask again does not help. Of a job that is there, only that it is there no longer."""
    if there.id is not None:
        return isinstance(error, UpstreamRefused) and error.upstream_status in (404, 410)
    if isinstance(error, UpstreamRefused):
        return error.again is None
    return error.code == "upstream_authentication_failed"


def _told(hand: _Hand, error: UpstreamFailed | UpstreamRefused) -> FineTuningError:
    if not isinstance(error, UpstreamRefused):
        return FineTuningError(error.code or error.type, error.message)
    code, param = error.body.get("code") or error.body.get("type"), error.body.get("param")
    message = forwarding.translated(hand.row, hand.there, error.message)
    return FineTuningError(str(code or "invalid_request_error"), message, str(param) if param else None)


def _failure(error: FineTuningError) -> dict[str, Any]:
    return {"message": f"The job failed: {error.message}", "level": "error"}


def _word(error: UpstreamFailed | UpstreamRefused) -> str:
    """Nothing that the upstream said."""
    return f"status {error.upstream_status}" if isinstance(error, UpstreamRefused) else str(error.code)


async def _if_told(asked: Awaitable[list[Object]]) -> list[Object]:
    """Not every upstream has events, or checkpoints."""
    try:
        return await asked
    except UpstreamRefused as error:
        if error.upstream_status not in (404, 405, 501):
            raise
        return []


async def _if_it_can(asked: Awaitable[Any]) -> None:
    """That it refuses is the end of it: it has ended there, or is gone."""
    try:
        await asked
    except UpstreamRefused as error:
        if may_pass(error.upstream_status) and error.upstream_status != 409:
            raise
