"""`/v1/fine_tuning/jobs` and Azure's `/openai/fine_tuning/jobs`; fine-tuned models are deleted at `/v1/models`."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec
from starlette.responses import Response

from homeport.api.resources import Asked, Operation
from homeport.api.streamed import EVENT_STREAM, Streamed
from homeport.control.fine_tuned_models import FineTunedModels
from homeport.control.fine_tuning import FineTuning as Rules
from homeport.control.fine_tuning_events import FineTuningEvents
from homeport.errors import InvalidRequest
from homeport.wire import sse
from homeport.wire.base import unsupported_value
from homeport.wire.fields import Deleted, Page
from homeport.wire.fine_tuning import (
    CreateFineTuningJobRequest,
    FineTuningJob,
    FineTuningJobCheckpoint,
    FineTuningJobEvent,
)

JOBS = "/v1/fine_tuning/jobs"
JOB = f"{JOBS}/{{fine_tuning_job_id}}"
MODEL = "/v1/models/{model:path}"
READ, WRITE = "fine_tuning.jobs.read", "fine_tuning.jobs.write"
#: OpenAI's `api.delete`.
DELETE = "delete"


class FineTuning:
    def __init__(self, rules: Rules, events: FineTuningEvents, models: FineTunedModels) -> None:
        self._rules = rules
        self._events = events
        self._models = models

    def operations(self) -> Sequence[Operation]:
        pages, listed = ("after", "limit"), ("after", "limit", "metadata", "metadata[*]")
        return [
            Operation("POST", JOBS, self.create, body=CreateFineTuningJobRequest, scope=WRITE),
            Operation("GET", JOBS, self.list, query=listed, scope=READ),
            Operation("GET", JOB, self.retrieve, scope=READ),
            Operation("POST", f"{JOB}/cancel", self.cancel, scope=WRITE),
            Operation("POST", f"{JOB}/pause", self.pause, scope=WRITE),
            Operation("POST", f"{JOB}/resume", self.resume, scope=WRITE),
            Operation("GET", f"{JOB}/events", self.events, query=(*pages, "stream"), scope=READ),
            Operation("GET", f"{JOB}/checkpoints", self.checkpoints, query=pages, scope=READ),
            Operation("DELETE", MODEL, self.delete, scope=DELETE),
        ]

    async def create(self, asked: Asked) -> FineTuningJob:
        return await self._rules.create(asked.who, asked.body)

    async def list(self, asked: Asked) -> Page[FineTuningJob]:
        metadata, word = asked.members("metadata"), asked.text("metadata")
        if word not in (None, "null"):
            raise unsupported_value("metadata", word, "'null', and pairs as metadata[key]=value")
        if word is not None and metadata:
            raise InvalidRequest("No job has both no metadata and some.", param="metadata", code="invalid_value")
        window = asked.window(descending=True)
        return await self._rules.list(asked.who, window, metadata, without=word is not None)

    async def retrieve(self, asked: Asked) -> FineTuningJob:
        return await self._rules.retrieve(asked.who, _job(asked))

    async def cancel(self, asked: Asked) -> FineTuningJob:
        return await self._rules.cancel(asked.who, _job(asked))

    async def pause(self, asked: Asked) -> FineTuningJob:
        return await self._rules.pause(asked.who, _job(asked))

    async def resume(self, asked: Asked) -> FineTuningJob:
        return await self._rules.resume(asked.who, _job(asked))

    async def events(self, asked: Asked) -> Page[FineTuningJobEvent] | Response:
        """A page, the newest first; or with `stream` all, in their order and as they come."""
        if not asked.flag("stream"):
            return await self._events.list(asked.who, _job(asked), asked.window(descending=True))
        if asked.text("limit") is not None:
            raise InvalidRequest("A stream has no 'limit'.", param="limit", code="invalid_value")
        pieces = self._follow(asked)
        first = await anext(pieces)  # an error is an answer of its own
        if asked.head:
            await pieces.aclose()
            return Response(headers=EVENT_STREAM)
        return Streamed(first, pieces, 200, EVENT_STREAM)

    async def _follow(self, asked: Asked) -> AsyncGenerator[bytes, None]:
        """`data: EVENT` and a blank line each; `[DONE]` says that there will be no more."""
        async with aclosing(self._events.follow(asked.who, _job(asked), asked.text("after"))) as all_told:
            async for told in all_told:
                events = b"".join([sse.event(msgspec.json.encode(one)) for one in told.events])
                yield (events or sse.KEEP_ALIVE) + (sse.DONE if told.over else b"")

    async def checkpoints(self, asked: Asked) -> Page[FineTuningJobCheckpoint]:
        """The newest first."""
        await self._rules.retrieve(asked.who, _job(asked))
        window = asked.window(default=10, descending=True)
        return await self._models.checkpoints(asked.who, _job(asked), window)

    async def delete(self, asked: Asked) -> Deleted:
        return await self._models.delete(asked.who, asked.path["model"])


def _job(asked: Asked) -> str:
    return asked.path["fine_tuning_job_id"]
