"""`/v1/threads/THREAD/runs` and their steps, `/v1/threads/runs`, and Azure's `/openai/threads/...`; ours:
`/v1/homeport/runs`, those of all threads."""

from collections.abc import Sequence

from starlette.responses import Response

from homeport.api import run_streams
from homeport.api.beta import ASSISTANTS_V2
from homeport.api.json import json_answer
from homeport.api.resources import Asked, Operation
from homeport.api.run_streams import RunStreams
from homeport.api.threads import LARGEST_THREAD
from homeport.control.run_states import ACTIVE, OVER
from homeport.control.runs import Begun, Wanted
from homeport.control.runs import Runs as Rules
from homeport.errors import InvalidRequest
from homeport.wire.base import unsupported_value
from homeport.wire.fields import Page
from homeport.wire.runs import (
    LARGEST_OUTPUTS,
    CreateRunRequest,
    CreateThreadAndRunRequest,
    ModifyRunRequest,
    Run,
    RunStep,
    SubmitToolOutputsRunRequest,
)

RUNS = "/v1/threads/{thread_id}/runs"
RUN = f"{RUNS}/{{run_id}}"
STEPS = f"{RUN}/steps"
#: With what is in it said in the request.
THREAD_AND_RUN = "/v1/threads/runs"
#: OpenAI lists those of one thread alone.
LISTED = "/v1/homeport/runs"
READ, WRITE = "threads.read", "threads.write"
PAGES = ("limit", "order", "after", "before")
FILTERS = ("status[]", "assistant_id", "thread_id")
INCLUDE = "include[]"
#: What `include[]` may say: the texts of passages that were found.
CONTENT = "step_details.tool_calls[*].file_search.results[*].content"
#: Bytes of a request with outputs, however they are escaped.
LARGEST_SUBMITTED = 8 * LARGEST_OUTPUTS
STATUSES = (*ACTIVE, *OVER)


class Runs:
    def __init__(self, rules: Rules, streams: RunStreams, *, poll_ms: int) -> None:
        """poll_ms: after so long whoever polls a run looks again."""
        self._rules = rules
        self._streams = streams
        self._poll_ms = poll_ms

    def operations(self) -> Sequence[Operation]:
        new, outputs, v2 = CreateRunRequest, SubmitToolOutputsRunRequest, ASSISTANTS_V2
        submit, paged, most = f"{RUN}/submit_tool_outputs", (*PAGES, INCLUDE), LARGEST_THREAD
        return [
            Operation(
                *("POST", THREAD_AND_RUN, self.create_in_thread),
                body=CreateThreadAndRunRequest,
                largest=most,
                scope=WRITE,
                beta=v2,
            ),
            Operation("POST", RUNS, self.create, body=new, query=(INCLUDE,), largest=most, scope=WRITE, beta=v2),
            Operation("GET", LISTED, self.list_all, query=(*PAGES, *FILTERS), scope=READ),
            Operation("GET", RUNS, self.list, query=PAGES, scope=READ, beta=v2),
            Operation("GET", RUN, self.retrieve, query=("stream", "starting_after"), scope=READ, beta=v2),
            Operation("POST", RUN, self.modify, body=ModifyRunRequest, scope=WRITE, beta=v2),
            Operation("POST", f"{RUN}/cancel", self.cancel, scope=WRITE, beta=v2),
            Operation("POST", submit, self.submit, body=outputs, largest=LARGEST_SUBMITTED, scope=WRITE, beta=v2),
            Operation("GET", STEPS, self.steps, query=paged, scope=READ, beta=v2),
            Operation("GET", f"{STEPS}/{{step_id}}", self.step, query=(INCLUDE,), scope=READ, beta=v2),
        ]

    async def create(self, asked: Asked) -> Response:
        """`include[]` is of steps, which a stream tells without what it names."""
        run_streams.check(asked)
        if _content(asked) and asked.body.stream:
            raise InvalidRequest(
                "A stream tells steps without the texts of passages. Leave 'include[]' out, and list the steps with it "
                "afterwards.",
                param=INCLUDE,
                code="unsupported_value",
            )
        return await self._begun(asked, await self._rules.create(asked.who, asked.path["thread_id"], asked.body))

    async def create_in_thread(self, asked: Asked) -> Response:
        run_streams.check(asked)
        return await self._begun(asked, await self._rules.create_in_thread(asked.who, asked.body))

    async def submit(self, asked: Asked) -> Response:
        run_streams.check(asked)
        return await self._begun(asked, await self._rules.submit(asked.who, *_run(asked), asked.body))

    async def _begun(self, asked: Asked, begun: Begun) -> Response:
        if asked.body.stream:
            return await self._streams.begun(asked.who, begun)
        return self._polled(begun.run)

    async def list(self, asked: Asked) -> Page[Run]:
        return await self._rules.list(asked.who, asked.path["thread_id"], asked.window(descending=True))

    async def list_all(self, asked: Asked) -> Page[Run]:
        which = Wanted(_statuses(asked), asked.text("assistant_id"), asked.text("thread_id"))
        return await self._rules.list_all(asked.who, asked.window(descending=True), which)

    async def retrieve(self, asked: Asked) -> Response:
        if asked.flag("stream"):
            return await self._streams.watched(asked, *_run(asked))
        if asked.text("starting_after") is not None:
            raise InvalidRequest("'starting_after' is only allowed with 'stream'.", param="starting_after")
        return self._polled(await self._rules.retrieve(asked.who, *_run(asked)))

    async def modify(self, asked: Asked) -> Run:
        return await self._rules.modify(asked.who, *_run(asked), asked.body)

    async def cancel(self, asked: Asked) -> Response:
        return self._polled(await self._rules.cancel(asked.who, *_run(asked)))

    async def steps(self, asked: Asked) -> Page[RunStep]:
        window = asked.window(descending=True)
        return await self._rules.steps(asked.who, *_run(asked), window, content=_content(asked))

    async def step(self, asked: Asked) -> RunStep:
        return await self._rules.step(asked.who, *_run(asked), asked.path["step_id"], content=_content(asked))

    def _polled(self, run: Run) -> Response:
        answer = json_answer(run)
        answer.headers["openai-poll-after-ms"] = str(self._poll_ms)
        return answer


def _run(asked: Asked) -> tuple[str, str]:
    return asked.path["thread_id"], asked.path["run_id"]


def _statuses(asked: Asked) -> Sequence[str]:
    """Raises InvalidRequest."""
    for one in asked.texts("status[]"):
        if one not in STATUSES:
            raise unsupported_value("status[]", one, ", ".join(f"'{known}'" for known in STATUSES))
    return asked.texts("status[]")


def _content(asked: Asked) -> bool:
    """Whether passages are shown with their texts. Raises InvalidRequest."""
    for one in asked.texts(INCLUDE):
        if one != CONTENT:
            raise unsupported_value("include[]", one, f"'{CONTENT}'")
    return bool(asked.texts(INCLUDE))
