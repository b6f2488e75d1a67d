"""Fine-tuning jobs as their owners see them. How they go on is in fine_tuning_states.py and docs/fine-tuning.md.

Whatever can be said of a job at once is said before a row is written: the model, whether it can be tuned and by whom,
the files, the method. What is in the files is looked at by the job itself.
"""

import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock
from homeport.control import fine_tuning_forwarding as forwarding
from homeport.control import fine_tuning_states as states
from homeport.control import pages
from homeport.control.fine_tuned_models import usable
from homeport.control.owners import Owner
from homeport.control.pages import Window
from homeport.errors import Conflict, InvalidRequest, NotFound, RateLimited, UnsupportedParameter
from homeport.store.blobs import Blobs
from homeport.store.queue import Queue
from homeport.store.tables import files, fine_tuned_models, fine_tuning_jobs, projects
from homeport.wire.fields import Page
from homeport.wire.fine_tuning import CreateFineTuningJobRequest, FineTuningError, FineTuningJob, Method

PURPOSE = "fine-tune"
#: Jobs of a project that have not ended.
MOST_UNFINISHED = 50
_OF_SUPERVISED = ("n_epochs", "batch_size", "learning_rate_multiplier")
_HYPERPARAMETERS = {"supervised": _OF_SUPERVISED, "dpo": (*_OF_SUPERVISED, "beta")}
#: Of a job's object: columns that it has as they are.
_PLAIN = (
    *("id", "created_at", "fine_tuned_model", "finished_at", "seed", "status", "trained_tokens", "training_file"),
    *("validation_file", "estimated_finish", "metadata"),
)
#: What a job of this house is refused for, and an upstream may do.
LOCAL_REFUSES = {
    "integrations": "Integrations are not supported here: nothing is sent to 'wandb'. The same numbers are in the "
    "job's events, and in its results file."
}
_NOT_AGAIN = (("x-should-retry", "false"),)


class Base(NamedTuple):
    """What is tuned. name: a model of this machine, or an upstream's own name for one of its. upstream: whose, which
    does the job then."""

    name: str
    upstream: str | None = None


class Models(Protocol):
    """What must be known of models before one of them is tuned. Its errors are for whoever asks."""

    def base(self, model: str) -> Base:
        """What a name leads to. Raises InvalidRequest: nothing that can be tuned."""
        ...

    async def admit(self, owner: Owner, model: str, base: Base) -> None:
        """Whether they may use the model that they named, whether what it leads to can be tuned here and now, and
        whether they have money left for it.

        Raises InvalidRequest, InvalidKey, PermissionDenied, ModelNotFound, InsufficientQuota, Unavailable.
        """
        ...


class Upstreams(Protocol):
    """Jobs that upstreams do: fine_tuning_forwarding.py. What is done to one there is done to its row as well. Each
    raises HomeportError: the upstream refuses it, or is away."""

    async def cancel(self, job: states.Job) -> None: ...

    async def pause(self, job: states.Job) -> None: ...

    async def resume(self, job: states.Job) -> None: ...


class FineTuning:
    def __init__(self, queue: Queue, blobs: Blobs, models: Models, upstreams: Upstreams, *, organization: str) -> None:
        """organization: its id."""
        self._database = queue.database
        self._queue = queue
        self._blobs = blobs
        self._models = models
        self._organization = organization
        self._upstreams = upstreams

    async def create(self, owner: Owner, asked: CreateFineTuningJobRequest) -> FineTuningJob:
        """Accepted: it is written down, and will be done. Raises InvalidRequest, RateLimited, and what `Models` do."""
        start = await self._start(owner, asked.model)
        base = self._models.base(asked.model) if start is None else Base(start["base"], start["upstream"])
        await self._models.admit(owner, asked.model, base)
        if base.upstream is None:
            _check_supported(asked)
        method, hyperparameters = chosen(asked)
        values = {
            "project_id": owner.project,
            "key_id": owner.key_id,
            "model": asked.model if start is None else start["model"],
            "base": base.name,
            "upstream": base.upstream,
            "upstream_job": None if base.upstream is None else forwarding.column(asked),
            "start_model": None if start is None else start["name"],
            "start_digest": None if start is None else start["digest"],
            "method": method,
            "hyperparameters": hyperparameters,
            "seed": secrets.randbelow(2**31) if asked.seed is None else asked.seed,
            "suffix": asked.suffix,
            "training_file": asked.training_file,
            "validation_file": asked.validation_file,
            "metadata": asked.metadata or None,
        }
        kind = states.VALIDATE if base.upstream is None else states.FOLLOW
        try:
            async with self._database.write() as connection:
                await _check_room(connection, owner, self._organization)
                values["training_digest"] = await _file(connection, owner, asked.training_file, "training_file")
                if asked.validation_file is not None:
                    digest = await _file(connection, owner, asked.validation_file, "validation_file")
                    values["validation_digest"] = digest
                job_id = await states.create(connection, self._queue, values, kind=kind)
        except IntegrityError:  # the bytes of a file, or of the model that it starts from, went while we looked
            raise Conflict("A file, or the model, was deleted meanwhile. Ask again.") from None
        self._queue.told()
        return await self.retrieve(owner, job_id)

    async def _start(self, owner: Owner, model: str) -> sa.RowMapping | None:
        """The fine-tuned model that it goes on from. Raises InvalidRequest: it is another project's."""
        query = sa.select(fine_tuned_models, usable(owner).label("usable")).where(fine_tuned_models.c.name == model)
        async with self._database.read() as connection:
            found = (await connection.execute(query)).mappings().one_or_none()
        if found is not None and not found["usable"]:
            raise not_available(model)
        return found

    async def list(
        self, owner: Owner, window: Window, metadata: Mapping[str, str] | None = None, *, without: bool = False
    ) -> Page[FineTuningJob]:
        """The newest first. metadata: that they have. without: those that have none.

        Raises InvalidRequest: no such place in the list.
        """
        query = sa.select(fine_tuning_jobs)
        if without:
            query = query.where(fine_tuning_jobs.c.metadata.is_(None))
        for key, value in (metadata or {}).items():
            query = query.where(pages.has_pair(fine_tuning_jobs.c.metadata, key, value, sqlite=self._database.sqlite))
        async with self._database.read() as connection:
            found = await pages.page(
                connection,
                query,
                window,
                seq=fine_tuning_jobs.c.seq,
                id=fine_tuning_jobs.c.id,
                within=fine_tuning_jobs.c.project_id == owner.project,
            )
        return Page.of([self._shown(row._mapping) for row in found.rows], has_more=found.has_more)

    async def retrieve(self, owner: Owner, job_id: str) -> FineTuningJob:
        """Raises NotFound."""
        return self._shown(await self._find(owner, job_id))

    async def cancel(self, owner: Owner, job_id: str) -> FineTuningJob:
        """Raises NotFound; InvalidRequest: it has ended. That it is cancelled already is no error."""
        job = await self._find(owner, job_id)
        if job["upstream"] is not None and job["status"] in states.UNFINISHED:
            await self._upstreams.cancel(job)
            return await self.retrieve(owner, job_id)
        if job["status"] in states.UNFINISHED:
            async with self._database.write() as connection:
                before = await states.cancel(connection, self._queue, job_id)
            if before is not None:
                self._queue.told()
                await self._blobs.release(states.digests(before))
                return await self.retrieve(owner, job_id)
        return self._come_to(await self._find(owner, job_id), "cancel", "cancelled")

    async def pause(self, owner: Owner, job_id: str) -> FineTuningJob:
        """Raises NotFound; InvalidRequest: it has ended; Conflict: its files are being read. That it is paused already
        is no error."""
        job = await self._find(owner, job_id)
        if job["upstream"] is not None and job["status"] in ("queued", "running"):
            await self._upstreams.pause(job)
            return await self.retrieve(owner, job_id)
        if job["status"] in ("queued", "running"):
            async with self._database.write() as connection:
                paused = await states.pause(connection, self._queue, job_id)
            if paused:
                self._queue.told()
                return await self.retrieve(owner, job_id)
        return self._come_to(await self._find(owner, job_id), "pause", "pausing", "paused", wait="validating_files")

    async def resume(self, owner: Owner, job_id: str) -> FineTuningJob:
        """Raises NotFound; InvalidRequest: it was not paused; Conflict: it is about to be."""
        job = await self._find(owner, job_id)
        resumed = job["status"] == "paused"
        if resumed and job["upstream"] is not None:
            await self._upstreams.resume(job)
        elif resumed:
            async with self._database.write() as connection:
                resumed = await states.resume(connection, self._queue, job_id)
            self._queue.told()
        if resumed:
            return await self.retrieve(owner, job_id)
        return self._come_to(await self._find(owner, job_id), "resume", wait="pausing")

    def _come_to(self, job: states.Job, verb: str, *wanted: str, wait: str | None = None) -> FineTuningJob:
        """wanted: states that it was to come to. wait: the state in which it can be asked again."""
        status = job["status"]
        if status in wanted:
            return self._shown(job)
        if status == wait:
            raise Conflict(f"Cannot {verb} a job with status '{status}' yet. Try again in a moment.")
        raise InvalidRequest(f"Cannot {verb} a job with status '{status}'.", code="invalid_status")

    async def _find(self, owner: Owner, job_id: str) -> states.Job:
        async with self._database.read() as connection:
            return await find(connection, owner, job_id)

    def _shown(self, job: states.Job) -> FineTuningJob:
        method: str = job["method"]
        names = _HYPERPARAMETERS.get(method, _OF_SUPERVISED)
        hyperparameters = {name: job["hyperparameters"].get(name, "auto") for name in names}
        error, result = job["error"], job["result_file"]
        chosen: dict[str, Any] = {
            "method": {"type": method, method: {"hyperparameters": hyperparameters}},
            "integrations": [],
        }
        if job["upstream"] is not None:
            chosen |= forwarding.shown(job)
        return FineTuningJob(
            **{name: job[name] for name in _PLAIN},
            **chosen,
            error=None if error is None else msgspec.convert(error, FineTuningError),
            hyperparameters=hyperparameters if method == "supervised" else {},
            model=job["start_model"] or job["model"],
            organization_id=self._organization,
            user_provided_suffix=job["suffix"],
            result_files=[] if result is None else [result],
        )


async def find(connection: AsyncConnection, owner: Owner, job_id: str) -> states.Job:
    """Raises NotFound: there is none, or it is another project's."""
    theirs = fine_tuning_jobs.c.id == job_id, fine_tuning_jobs.c.project_id == owner.project
    found = (await connection.execute(sa.select(fine_tuning_jobs).where(*theirs))).mappings().one_or_none()
    if found is None:
        raise NotFound(f"Could not find fine tune: {job_id}", param="fine_tuning_job_id", code="fine_tune_not_found")
    return found


def chosen(asked: CreateFineTuningJobRequest) -> tuple[str, dict[str, Any]]:
    """The method, and its hyperparameters, `auto` where nothing was said. They may stand in `method`, or in the older
    `hyperparameters`, or in both, where they say the same. Raises InvalidRequest."""
    method = asked.method or Method(type="supervised")
    for other in ("supervised", "dpo", "reinforcement"):
        if other != method.type and getattr(method, other) is not None:
            raise InvalidRequest(
                f"'method.{other}' is there, but 'method.type' is '{method.type}'.",
                param=f"method.{other}",
                code="invalid_value",
            )
    own = {"supervised": method.supervised, "dpo": method.dpo}.get(method.type)
    places = (own.hyperparameters if own is not None else None, asked.hyperparameters)
    found: dict[str, Any] = {}
    for name in _HYPERPARAMETERS.get(method.type, ()):  # of `reinforcement` the upstream knows them
        said = {getattr(place, name, None) for place in places} - {None, "auto"}
        if len(said) > 1:
            raise InvalidRequest(
                f"'hyperparameters.{name}' and 'method.{method.type}.hyperparameters.{name}' contradict each other. "
                "'hyperparameters' is deprecated: say it in 'method' alone.",
                param=f"hyperparameters.{name}",
                code="invalid_value",
            )
        found[name] = said.pop() if said else "auto"
    return method.type, found


def _check_supported(asked: CreateFineTuningJobRequest) -> None:
    """Of a job that this house does. Raises InvalidRequest."""
    if asked.method is not None and asked.method.type == "reinforcement":
        raise InvalidRequest(
            "The method 'reinforcement' is not supported here: its graders are not. Use 'supervised', or 'dpo' where "
            "you can say which of two answers is better.",
            param="method.type",
            code="unsupported_value",
        )
    if asked.integrations:
        raise UnsupportedParameter(LOCAL_REFUSES["integrations"], param="integrations")


def not_available(model: str, tunable: str = "") -> InvalidRequest:
    """tunable: a sentence that says which are."""
    message = f"Model {model} is not available for fine-tuning or does not exist."
    return InvalidRequest(f"{message} {tunable}".rstrip(), param="model", code="model_not_available")


async def _check_room(connection: AsyncConnection, owner: Owner, organization: str) -> None:
    """Nobody else of the project begins a job until the transaction ends. Raises RateLimited."""
    taken = sa.select(projects.c.seq).where(projects.c.id == owner.project)
    await connection.execute(taken.with_for_update(key_share=True))
    mine = fine_tuning_jobs.c.project_id == owner.project, fine_tuning_jobs.c.status.in_(states.UNFINISHED)
    unfinished = await connection.scalar(sa.select(sa.func.count()).select_from(fine_tuning_jobs).where(*mine)) or 0
    if unfinished >= MOST_UNFINISHED:
        raise RateLimited(
            f"This fine-tune request has been rate-limited. Project `{owner.project}` of organization {organization} "
            f"has reached the maximum of {MOST_UNFINISHED} jobs that have not ended. Wait for some, or cancel them.",
            kind="requests",
            headers=_NOT_AGAIN,
        )


async def _file(connection: AsyncConnection, owner: Owner, file_id: str, param: str) -> str:
    """The digest of a file, which is not deleted before the transaction has ended. Raises InvalidRequest."""
    query = sa.select(files).where(files.c.id == file_id, files.c.project_id == owner.project)
    found = (await connection.execute(query.with_for_update(read=True))).one_or_none()
    if found is None or (found.expires_at is not None and found.expires_at <= clock.now()):
        raise InvalidRequest(f"invalid {param}: {file_id}", param=param)
    if found.purpose != PURPOSE:
        raise InvalidRequest(
            f"invalid {param}: {file_id} has the purpose '{found.purpose}'. Upload it with the purpose '{PURPOSE}'.",
            param=param,
            code="invalid_purpose",
        )
    digest: str = found.digest
    return digest
