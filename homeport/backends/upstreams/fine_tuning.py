"""Fine-tuning at an upstream: its files, jobs, events, checkpoints and models, by the account of one credential.

Objects are the upstream's own, as plain maps: what is not known here is kept, and whoever reads one expects nothing.
Every method raises UpstreamFailed or UpstreamRefused; `again` of the error says whether to ask again may help.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import closing
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from homeport.backends.capabilities import Header
from homeport.backends.upstreams import failures
from homeport.backends.upstreams.client import Client, Response
from homeport.backends.upstreams.errors import TransferError
from homeport.backends.upstreams.forms import Upload
from homeport.errors import InvalidRequest, UpstreamRefused

Object = dict[str, Any]
Action = Literal["cancel", "pause", "resume"]

PURPOSE = "fine-tune"
_LARGEST_OBJECT = 4 * 2**20
#: Of a list, and pages of it that are looked through: an upstream whose lists never end does not keep us for ever.
_PAGE, _MOST_PAGES = 100, 200


class FineTuning:
    def __init__(
        self,
        upstream: str,
        client: Client,
        url: Callable[[str, Mapping[str, str]], str],
        *,
        models_go_with_jobs: bool = False,
    ) -> None:
        """url: of a path of OpenAI's API and its query. models_go_with_jobs: no model can be deleted by itself, it goes
        with the job that made it (Azure)."""
        self.upstream = upstream
        self._client = client
        self._url = url
        self._models_go_with_jobs = models_go_with_jobs

    async def upload(
        self, filename: str, length: int, read: Callable[[], AsyncGenerator[bytes, None]], *, key: str
    ) -> Object:
        """A file's object. read: its bytes, from the beginning each time. key: the same when this is asked again."""
        form = Upload({"purpose": PURPOSE}, filename, length, read)
        headers = [(b"content-type", form.content_type), (b"idempotency-key", key.encode())]
        return self._named(await self._object(self._ask("POST", "/files", headers=headers, body=form, once=True)))

    async def named(self, filename: str) -> Object | None:
        """The file that was uploaded under that name."""
        async for file in self._all("/files", {"purpose": PURPOSE}):
            if file.get("filename") == filename:
                return file
        return None

    async def file(self, file_id: str) -> Object:
        return await self._object(self._ask("GET", f"/files/{_quoted(file_id)}"))

    async def content(self, file_id: str) -> AsyncGenerator[bytes, None]:
        """Of a file, in pieces."""
        try:
            with closing(await self._ask("GET", f"/files/{_quoted(file_id)}/content")) as response:
                while piece := await response.chunk():
                    yield piece
        except TransferError as error:
            raise failures.failure(error, self.upstream) from None

    async def forget(self, file_id: str) -> None:
        """That it is not there is no error."""
        await self._delete(f"/files/{_quoted(file_id)}")

    async def create(self, request: Mapping[str, Any], *, key: str) -> Object:
        """A job's object. key: the same when this is asked again."""
        headers = [(b"content-type", b"application/json"), (b"idempotency-key", key.encode())]
        body = msgspec.json.encode(request)
        return self._named(
            await self._object(self._ask("POST", "/fine_tuning/jobs", headers=headers, body=body, once=True))
        )

    async def find(self, wanted: Callable[[Object], bool], *, since: float) -> Object | None:
        """The job that is wanted, among those that are no older (Unix seconds)."""
        async for job in self._all("/fine_tuning/jobs", {}):
            if wanted(job):
                return job
            created = job.get("created_at")
            if isinstance(created, int) and created < since:
                break
        return None

    async def job(self, job_id: str) -> Object:
        return self._named(await self._object(self._ask("GET", _job(job_id))), job_id)

    async def act(self, job_id: str, action: Action) -> Object:
        """The job's object afterwards."""
        return self._named(await self._object(self._ask("POST", f"{_job(job_id)}/{action}")), job_id)

    async def events(self, job_id: str, *, after: str | None, since: int) -> list[Object]:
        """Told after that one (None: all), the oldest first. since: when that was; should it be gone, what is older."""
        found: list[Object] = []
        async for event in self._all(f"{_job(job_id)}/events", {}):
            created = event.get("created_at")
            if event["id"] == after or (isinstance(created, int) and created < since):
                break
            found.append(event)
        return found[::-1]

    async def checkpoints(self, job_id: str) -> list[Object]:
        """The oldest first."""
        return [one async for one in self._all(f"{_job(job_id)}/checkpoints", {})][::-1]

    async def delete(self, model: str, *, job_id: str, checkpoint: bool) -> None:
        """A model that a job made. That it is not there is no error. Raises InvalidRequest: not this one alone."""
        if not self._models_go_with_jobs:
            await self._delete(f"/models/{_quoted(model)}")
        elif checkpoint:
            raise InvalidRequest(
                f"The upstream {self.upstream!r} deletes checkpoints with the model of their job: delete that.",
                param="model",
            )
        else:
            await self._delete(_job(job_id))

    def _named(self, found: Object, name: str | None = None) -> Object:
        """It has an id: that one, where it is known. Raises UpstreamFailed."""
        if not isinstance(found.get("id"), str) or (name is not None and found["id"] != name):
            raise failures.malformed(self.upstream)
        return found

    async def _delete(self, path: str) -> None:
        try:
            with closing(await self._ask("DELETE", path)) as response:
                await response.read(_LARGEST_OBJECT)
        except UpstreamRefused as error:
            if error.upstream_status != 404:
                raise
        except TransferError as error:
            raise failures.failure(error, self.upstream) from None

    async def _all(self, path: str, query: Mapping[str, str]) -> AsyncGenerator[Object, None]:
        """Objects of a list in its order, the newest first, page after page; each once, as some know no pages."""
        asked = {**query, "limit": str(_PAGE)}
        seen: set[str] = set()
        for _ in range(_MOST_PAGES):
            page = await self._object(self._ask("GET", path, query=asked))
            data = page.get("data")
            if not isinstance(data, list):
                raise failures.malformed(self.upstream)
            for one in data:
                if not isinstance(one, dict) or not isinstance(one.get("id"), str):
                    raise failures.malformed(self.upstream)
                if one["id"] in seen:
                    return
                seen.add(one["id"])
                yield one
            if not data or page.get("has_more") is not True:
                return
            asked["after"] = data[-1]["id"]

    async def _object(self, asked: Awaitable[Response]) -> Object:
        try:
            with closing(await asked) as response:
                return msgspec.json.decode(await response.read(_LARGEST_OBJECT), type=Object)
        except TransferError as error:
            raise failures.failure(error, self.upstream) from None
        except (msgspec.DecodeError, RecursionError):
            raise failures.malformed(self.upstream) from None

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: list[Header] | None = None,
        body: bytes | Upload = b"",
        once: bool = False,
    ) -> Response:
        """An answer of success. once: as Client.request. Raises TransferError, too."""
        response = await self._client.request(method, self._url(path, query or {}), headers or (), body, once=once)
        if not 200 <= response.status < 300:
            with closing(response):
                raise await failures.refusal(response, self.upstream)
        return response


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _job(job_id: str) -> str:
    return f"/fine_tuning/jobs/{_quoted(job_id)}"
