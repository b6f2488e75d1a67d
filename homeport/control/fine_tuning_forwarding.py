"""Fine-tuning jobs that an upstream does: what is known of them there, and what their owners ask of them.

    create           the row here, and a job of the queue, which does the rest (jobs/fine_tuning_upstream.py)
    cancel, pause,   forwarded at once; here it has happened once the upstream says so
    resume, delete

Whatever an upstream calls its job and its files is in messages replaced by our names.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from homeport import clock
from homeport.backends.upstreams.fine_tuning import Action, FineTuning, Object
from homeport.control import fine_tuning_states as states
from homeport.errors import InvalidRequest, UpstreamFailed, UpstreamRefused
from homeport.store.blobs import Blobs
from homeport.store.queue import Queue
from homeport.store.tables import fine_tuning_jobs
from homeport.wire.fine_tuning import CreateFineTuningJobRequest, FineTuningError, Metrics

#: The upstreams' words -> OpenAI's. Any other is none of a state: what was true before stays.
_STATUS = {
    **{one: one for one in (*states.UNFINISHED, *states.OVER)},
    "created": "queued",
    "pending": "queued",
    "notRunning": "queued",
    "resuming": "running",
    "canceled": "cancelled",
    "error": "failed",
}
_HYPERPARAMETERS = ("n_epochs", "batch_size", "learning_rate_multiplier", "beta")
#: Pairs that metadata may have. Our own is one, where there is room.
_MOST_METADATA = 16
MARK = "homeport_job"
_LONGEST_MESSAGE = 10_000
_MOST_TOKENS = 2**53


class There(msgspec.Struct, omit_defaults=True, kw_only=True):
    """How far a job has come at its upstream: the column `upstream_job`.

    request: as it is sent, but for the files. training_file, validation_file: their ids there. begun: when (Unix
    seconds) something was asked for whose answer is not written down yet, so that it may be there. job: its object as
    it was seen last. seen, seen_at: the last of its events. idle: looks in a row that have brought nothing new. since,
    tries: of failures in a row.
    """

    request: dict[str, Any]
    training_file: str | None = None
    validation_file: str | None = None
    begun: float | None = None
    job: dict[str, Any] | None = None
    seen: str | None = None
    seen_at: int = 0
    idle: int = 0
    since: float | None = None
    tries: int = 0

    @classmethod
    def of(cls, row: states.Job) -> "There":
        return msgspec.convert(row["upstream_job"], cls)

    @property
    def id(self) -> str | None:
        """Of the job."""
        return self.job["id"] if self.job is not None else None

    @property
    def status(self) -> str | None:
        return _STATUS.get(str(self.job.get("status"))) if self.job is not None else None

    def column(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


def column(asked: CreateFineTuningJobRequest) -> dict[str, Any]:
    """`upstream_job` of a new row: all that was asked for, for the upstream to judge."""
    given: dict[str, Any] = _given(msgspec.to_builtins(asked))
    for ours in ("model", "training_file", "validation_file"):
        given.pop(ours, None)
    return There(request=given).column()


def request(row: states.Job, there: There) -> dict[str, Any]:
    """What the upstream is sent to create the job."""
    model = row["start_model"] or row["base"]
    fields = {**there.request, "model": model, "training_file": there.training_file}
    if there.validation_file is not None:
        fields["validation_file"] = there.validation_file
    metadata = fields.get("metadata") or {}
    if len(metadata) < _MOST_METADATA:
        fields["metadata"] = {**metadata, MARK: row["id"]}
    return fields


def is_of(row: states.Job, there: There, job: Object) -> bool:
    """A job of the upstream's list is this one's: it says so, or (not every upstream keeps metadata) it has the file
    that was uploaded for it alone."""
    metadata = job.get("metadata")
    marked = metadata.get(MARK) if isinstance(metadata, dict) else None
    if marked is not None:
        return bool(marked == row["id"])
    return there.training_file is not None and job.get("training_file") == there.training_file


class Told(NamedTuple):
    """What an upstream's objects say, in our columns. events: as states.mirror takes them."""

    status: str
    values: dict[str, Any]
    events: list[dict[str, Any]]


def told(row: states.Job, there: There, events: Sequence[Object] = ()) -> Told:
    """there: with the job's object. events: that came since, the oldest first."""
    job = there.job or {}
    values: dict[str, Any] = {"upstream_job": there.column(), **_numbers(job)}
    status = there.status or row["status"]
    if status == "failed":
        values["error"] = msgspec.to_builtins(_error(row, there, job.get("error")))
    if status in states.OVER and (finished := _whole(job.get("finished_at"))) is not None:
        values["finished_at"] = finished
    if isinstance(hyperparameters := _hyperparameters(job), dict):
        values["hyperparameters"] = {**row["hyperparameters"], **hyperparameters}
    lines = [*_events(row, there, events)]
    if row["start_model"] is None and is_name(model := job.get("model")):
        values["base"] = model  # `gpt-4o-mini` is `gpt-4o-mini-2024-07-18` there, which prices go by
    steps = [step for one in lines if (step := _whole((one["data"] or {}).get("step"))) is not None]
    values["step"] = max(row["step"], *steps, 0)
    return Told(status, values, lines)


def checkpoint(found: Object) -> tuple[str, int, dict[str, Any]] | None:
    """Name, step and metrics; None: it is none."""
    name, step, metrics = (found.get(one) for one in ("fine_tuned_model_checkpoint", "step_number", "metrics"))
    if not is_name(name) or _whole(step) is None:
        return None
    measured = metrics if isinstance(metrics, dict) else {}
    known = {one: measured[one] for one in Metrics.__struct_fields__ if isinstance(measured.get(one), int | float)}
    return str(name), int(step or 0), known


def is_name(name: Any) -> bool:
    """Something that a model may be called."""
    return isinstance(name, str) and 0 < len(name) <= 256 and name.isprintable() and not any(map(str.isspace, name))


def shown(row: states.Job) -> dict[str, Any]:
    """Fields of FineTuningJob that the columns of a row cannot say: the upstream's own method and integrations."""
    there = There.of(row)
    source = there.job or there.request
    method, integrations = source.get("method") or there.request.get("method"), source.get("integrations")
    return {
        **({"method": method} if isinstance(method, dict) else {}),
        "integrations": integrations if isinstance(integrations, list) else [],
    }


class Forwarding:
    """What owners ask of jobs and models whose row has an `upstream`. All raise UpstreamFailed, UpstreamRefused: then
    nothing has changed."""

    def __init__(self, queue: Queue, blobs: Blobs, upstreams: Mapping[str, FineTuning]) -> None:
        self._queue = queue
        self._blobs = blobs
        self._upstreams = upstreams

    async def cancel(self, row: states.Job) -> None:
        """Raises InvalidRequest: it has ended. That no job is there yet is no error: there will be none."""
        if row["status"] in states.OVER:
            raise InvalidRequest(f"Job has already completed with status: {row['status']}.", param=None)
        there = There.of(row)
        if there.id is not None:
            await self._forward(row, there, "cancel")
            return
        async with self._queue.database.write() as connection:
            before = await states.cancel(connection, self._queue, row["id"])
            if not await self._queue.left(connection, row["id"], states.FOLLOW):
                await self._queue.enqueue(connection, states.LANE, states.FOLLOW, row["id"])  # it may be on its way
        self._queue.told()
        await self._blobs.release(states.digests(before))

    async def pause(self, row: states.Job) -> None:
        """Raises InvalidRequest: it does not run."""
        await self._forward(row, There.of(row), "pause")

    async def resume(self, row: states.Job) -> None:
        """Raises InvalidRequest: it is not paused."""
        await self._forward(row, There.of(row), "resume")

    async def delete(self, model: states.Job) -> None:
        """A row of fine_tuned_models, which its caller deletes after that."""
        query = sa.select(fine_tuning_jobs).where(fine_tuning_jobs.c.id == model["job_id"])
        async with self._queue.database.read() as connection:
            job = (await connection.execute(query)).mappings().one()
        there = There.of(job)
        await self._upstream(model["upstream"]).delete(
            model["name"], job_id=there.id or "", checkpoint=model["step"] is not None
        )

    async def _forward(self, row: states.Job, there: There, action: Action) -> None:
        if there.id is None or row["status"] in states.OVER:
            raise InvalidRequest(f"Cannot {action} a job with status '{row['status']}'.")
        try:
            there.job = await self._upstream(row["upstream"]).act(there.id, action)
        except UpstreamRefused as error:
            message = translated(row, there, str(error.body.get("message", "")))
            raise UpstreamRefused(error.upstream_status, {**error.body, "message": message}) from None
        found = told(row, there)
        async with self._queue.database.write() as connection:
            # How far it has come there is written by those who follow it alone: they may have come further meanwhile.
            values = {name: value for name, value in found.values.items() if name not in ("upstream_job", "step")}
            before = await states.mirror(
                connection, self._queue, row["id"], found.status, values, [{"message": _DONE[action]}]
            )
        if found.status in states.OVER:
            await self._blobs.release(states.digests(before))

    def _upstream(self, name: str) -> FineTuning:
        return upstream(self._upstreams, name)


_DONE: Mapping[Action, str] = {
    "cancel": "The job was cancelled",
    "pause": "The job is being paused",
    "resume": "The job was resumed",
}


def upstream(upstreams: Mapping[str, FineTuning], name: str) -> FineTuning:
    """Raises UpstreamFailed: the settings have it no longer."""
    found = upstreams.get(name)
    if found is None:
        raise UpstreamFailed(f"This server does not know the upstream {name!r}: set upstreams.{name}.")
    return found


def translated(row: states.Job, there: There, text: str) -> str:
    """With our ids in the place of the upstream's."""
    ours = ((there.id, row["id"]), *((getattr(there, one), row[one]) for one in ("training_file", "validation_file")))
    for theirs, own in ours:
        if theirs and own:
            text = text.replace(theirs, own)
    return text[:_LONGEST_MESSAGE]


def _given(value: Any) -> Any:
    """Without members that say nothing."""
    if isinstance(value, dict):
        return {name: _given(one) for name, one in value.items() if one is not None}
    return value


def _numbers(job: Object) -> dict[str, Any]:
    finish, tokens, seed = (_whole(job.get(one)) for one in ("estimated_finish", "trained_tokens", "seed"))
    return {
        "estimated_finish": finish,
        **({"trained_tokens": tokens, "tokens": tokens} if tokens is not None else {}),
        **({"seed": seed} if seed is not None else {}),
    }


def _hyperparameters(job: Object) -> dict[str, Any] | None:
    """Of its method, or where they were before there were methods."""
    method = job.get("method")
    chosen = method.get(str(method.get("type"))) if isinstance(method, dict) else None
    found = (chosen.get("hyperparameters") if isinstance(chosen, dict) else None) or job.get("hyperparameters")
    if not isinstance(found, dict):
        return None
    return {one: found[one] for one in _HYPERPARAMETERS if isinstance(found.get(one), int | float | str)}


def _error(row: states.Job, there: There, found: Any) -> FineTuningError:
    said = found if isinstance(found, dict) else {}
    code, message, param = said.get("code"), said.get("message"), said.get("param")
    words = translated(row, there, message) if isinstance(message, str) and message else "The upstream gives no reason."
    return FineTuningError(str(code or "server_error"), words, param if isinstance(param, str) else None)


def _events(row: states.Job, there: There, events: Sequence[Object]) -> Iterator[dict[str, Any]]:
    """But for what this house has told by itself when the job was created (states.create)."""
    ours = {f"Created fine-tuning job: {row['id']}", f"Validating training file: {row['training_file']}"}
    now = int(clock.now())
    for event in events:
        message, level, data, created = (event.get(one) for one in ("message", "level", "data", "created_at"))
        line = translated(row, there, message if isinstance(message, str) else "")
        if line in ours:
            continue
        yield {
            "message": line,
            "level": level if level in ("info", "warn", "error") else "info",
            "kind": "metrics" if event.get("type") == "metrics" else "message",
            "data": data if isinstance(data, dict) and data else None,
            "created_at": created if isinstance(created, int) else now,
        }


def _whole(number: Any) -> int | None:
    return number if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < _MOST_TOKENS else None
