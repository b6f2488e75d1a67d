"""Files on their way into vector stores: read, cut into chunks, and brought in one block after the other.

A block is 64 chunks with their vectors, and in its transaction is how far the file has come. So a worker that is killed
repeats one block of what it had in hand, and what is in is in once. Nobody sees any of it before the last block's
transaction makes the file `completed`.

    blob -> temporary file -> Reader (a child process) -> chunks -> vectors -> rows
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import aclosing, suppress
from itertools import islice
from typing import Any, Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock
from homeport.control import vector_store_states as states
from homeport.control.vector_store_states import OtherModel, Work
from homeport.documents.chunking import Chunk, chunks
from homeport.documents.document import Document, UnreadableFile
from homeport.documents.reader import Reader
from homeport.errors import ContentMissing, HomeportError, StorageFull, UpstreamFailed, UpstreamRefused
from homeport.jobs.batch_lines import FIRST_WAIT, MOST_TRIES, wait
from homeport.jobs.embedding import Embedded, Embedder, Windows
from homeport.jobs.worker import Task
from homeport.store.blobs import Blobs
from homeport.store.queue import Job, Queue
from homeport.wire.vector_stores import ErrorCode

#: Files that a process has in hand: while one is read, the vectors of others are made.
FILES = 4
#: Chunks of a block, which is asked for in two requests: while one is written down and read, the model has the other.
BLOCK, HALF = 64, 32
#: Seconds that a file is in hand and waits, before it goes back to the queue; and until it comes again.
PATIENCE, REST = 60.0, 30.0
#: How often it is looked whether anybody still wants it, meanwhile.
LOOK_SECONDS = 1.0
#: Times that a file is taken up without coming further, because processes die, before these count as attempts.
MOST_TIMES = 50
#: Rows that are taken away in one transaction.
SWEEP_CHUNKS = 1000
BROKEN = "The server has failed several times at this file, and gives it up. Its log says why."


class _Unwanted(Exception):
    """The file, or its store, is gone, or was cancelled."""


class _HandedBack(Exception):
    """This process ends, or the file has waited for long. seconds: until somebody goes on."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class _Refused(Exception):
    """The model does not make its vectors, and to ask again does not help. message: for the client."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Place(NamedTuple):
    """How far a file has come: blocks, and bytes of their texts and vectors. times: that it was taken up since."""

    blocks: int = 0
    bytes: int = 0
    times: int = 0


class Ingestion:
    lane: Final = states.LANE
    kind: Final = states.INGEST
    at_once: Final = FILES

    def __init__(self, queue: Queue, blobs: Blobs, reader: Reader, embedder: Embedder) -> None:
        self._queue = queue
        self._database = queue.database
        self._blobs = blobs
        self._reader = reader
        self._embedder = embedder

    async def run(self, task: Task) -> None:
        file = await self._find(task.job)
        place = Place(**(task.job.checkpoint or {}))
        if task.job.attempt > 1 and task.job.last_error is None and place.times < MOST_TIMES:
            place = await self._again(task.job, place)
        try:
            if file is None:
                raise _Unwanted
            document = await self._read(file)
            if document is None:
                raise _HandedBack(REST)
            await self._bring_in(task, file, place, document)
        except _Unwanted:
            await self._forget(task.job)
        except _HandedBack as later:
            async with self._database.write() as connection:
                await self._queue.later(connection, task.job, run_in=later.seconds)
        except UnreadableFile as error:
            await self._fail(task.job, error.code, error.message)
        except _Refused as error:
            await self._fail(task.job, "server_error", error.message)
        except OtherModel as error:
            assert file is not None
            await self._fail(
                task.job,
                "server_error",
                f"The vectors of this vector store were made by `{error.answered}`, and now another model answers for "
                f"`{file['model']}`. Make a new vector store, or have the first one answer again.",
            )

    async def give_up(self, connection: AsyncConnection, job: Job, error: str) -> None:
        await states.fail(connection, int(job.subject), "server_error", BROKEN)
        await self._queue.finish(connection, job)

    async def _again(self, job: Job, place: Place) -> Place:
        """Whoever had it was killed. That is seldom a file's fault, and no attempt of it, but for the last few."""
        place = place._replace(times=place.times + 1)
        async with self._database.write() as connection:
            await self._queue.hold(connection, job, checkpoint=place._asdict())
        return place

    async def _find(self, job: Job) -> Work | None:
        async with self._database.read() as connection:
            return await states.work(connection, int(job.subject))

    async def _read(self, file: Work) -> Document | None:
        """None: there is no room for it on the disk. Raises UnreadableFile, _Refused, Unavailable."""
        try:
            async with self._blobs.staged() as staged, aclosing(self._blobs.read(file["digest"])) as pieces:
                async for piece in pieces:
                    await staged.write(piece)
                await staged.finish()
                return await self._reader.read(staged.path, file["filename"])
        except StorageFull:
            return None
        except ContentMissing as error:
            raise _Refused(error.message) from None

    async def _bring_in(self, task: Task, file: Work, place: Place, document: Document) -> None:
        """Raises _Unwanted, _HandedBack, _Refused, OtherModel, UnreadableFile."""
        windows = Windows()
        coming = chunks(document, file["chunk_size"], file["chunk_overlap"])
        number = 0
        while block := await asyncio.to_thread(_next, coming):
            number += 1
            if number > place.blocks:
                embedded = await self._embed(task, file, block, windows)
                place = await self._keep(task, file, place, block, embedded)
        if not number:
            raise UnreadableFile("invalid_file", "There is no text in the file.")
        async with self._database.write() as connection:
            if not await states.complete(connection, file, usage_bytes=place.bytes):
                await states.forget(connection, file["seq"])
            await self._queue.finish(connection, task.job)

    async def _keep(self, task: Task, file: Work, place: Place, block: Sequence[Chunk], embedded: Embedded) -> Place:
        """Where it is then. Raises _Unwanted, _HandedBack, OtherModel."""
        rows = [_row(chunk, vectors) for chunk, vectors in zip(block, embedded.vectors, strict=True)]
        size = sum(len(row["text"].encode()) + len(row["vectors"]) for row in rows)
        further = Place(place.blocks + 1, place.bytes + size)
        async with self._database.write() as connection:
            wanted = await states.bring_in(connection, file, rows, answered=embedded.model, width=embedded.width)
            if wanted:
                await self._queue.hold(connection, task.job, checkpoint=further._asdict())
        if not wanted:
            raise _Unwanted
        if task.stopping.is_set():
            raise _HandedBack
        return further

    async def _embed(self, task: Task, file: Work, block: Sequence[Chunk], windows: Windows) -> Embedded:
        """Raises _Unwanted, _HandedBack, _Refused."""
        texts = [chunk.text for chunk in block]
        halves = [texts[at : at + HALF] for at in range(0, len(texts), HALF)]
        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(self._ask(task, file, half, windows)) for half in halves]
        answers: list[Embedded] = []
        for answer in (one.result() for one in asking):
            if isinstance(answer, Exception):
                raise answer
            answers.append(answer)
        if len({(one.model, one.width) for one in answers}) > 1:
            raise OtherModel(answers[0].model)
        vectors = [vector for one in answers for vector in one.vectors]
        return answers[0]._replace(vectors=vectors, tokens=sum(one.tokens for one in answers))

    async def _ask(
        self, task: Task, file: Work, texts: Sequence[str], windows: Windows
    ) -> "Embedded | _Unwanted | _HandedBack | _Refused":
        """As long as it helps to wait."""
        until = clock.monotonic() + PATIENCE
        tried = 0
        while True:
            try:
                return await self._embedder.embed(file["key_id"], file["model"], texts, windows=windows)
            except HomeportError as error:
                tried += 1
                seconds = _wait(error, tried)
                if seconds is None:
                    return _Refused(_told(file["model"], error))
            if clock.monotonic() + seconds > until:
                return _HandedBack(max(seconds, REST))
            again = clock.monotonic() + seconds
            while (rest := again - clock.monotonic()) > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(rest, LOOK_SECONDS)):
                        await task.stopping.wait()
                        return _HandedBack()
                if await self._find(task.job) is None:
                    return _Unwanted()

    async def _fail(self, job: Job, code: ErrorCode, message: str) -> None:
        async with self._database.write() as connection:
            await states.fail(connection, int(job.subject), code, message)
            await self._queue.finish(connection, job)

    async def _forget(self, job: Job) -> None:
        async with self._database.write() as connection:
            await states.forget(connection, int(job.subject))
            await self._queue.finish(connection, job)


def _next(coming: Iterable[Chunk]) -> list[Chunk]:
    """The next block. In a thread: a long text takes seconds."""
    return list(islice(coming, BLOCK))


def _row(chunk: Chunk, vectors: bytes) -> dict[str, Any]:
    """PostgreSQL's texts have no NUL."""
    return {**chunk._asdict(), "text": chunk.text.replace("\0", "\N{REPLACEMENT CHARACTER}"), "vectors": vectors}


def _wait(error: HomeportError, tried: int) -> float | None:
    """Seconds until the same is worth another try; None: it is not. As for lines of batches; an answer that broke off,
    or is none, is asked for again, too: to make vectors twice does no harm."""
    seconds = wait(error, tried)
    told = dict(error.headers).get("x-should-retry")
    if seconds is None and isinstance(error, UpstreamFailed) and told != "false" and tried < MOST_TRIES:
        return FIRST_WAIT * 2.0**tried
    return seconds


def _told(model: str, error: HomeportError) -> str:
    """For the client. What an upstream says may have its operator's key in it."""
    if isinstance(error, UpstreamRefused):
        code = error.body.get("code")
        why = f"{error.upstream_status}, {code}" if code and str(code).isidentifier() else str(error.upstream_status)
        return f"The model `{model}` refused to make vectors of this file ({why})."
    return f"The model `{model}` made no vectors of this file: {error.message}"


class Sweep:
    """Empties a vector store that was deleted, or has expired."""

    lane: Final = states.LANE
    kind: Final = states.SWEEP
    at_once: Final = 1

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def run(self, task: Task) -> None:
        times = (task.job.checkpoint or {"times": 0})["times"]
        while True:
            async with self._queue.database.write() as connection:
                if await states.empty(connection, int(task.job.subject), most=SWEEP_CHUNKS):
                    return await self._queue.finish(connection, task.job)
                times += 1
                await self._queue.hold(connection, task.job, checkpoint={"times": times})

    async def give_up(self, connection: AsyncConnection, job: Job, error: str) -> None:
        """It is enqueued again soon."""
        await self._queue.finish(connection, job)
