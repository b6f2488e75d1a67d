"""Runs of exported threads, with their steps: what was called, and what came of it. All have ended: nobody works on
them here."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from msgspec import Struct, field
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.control import imported_ids, run_states
from homeport.control.exported_threads import Exported, NotTaken, Number, objects, oldest_first, without_nulls
from homeport.errors import InvalidRequest
from homeport.store.calls import Calling, MadeFile, Passage, Ran, Searched
from homeport.store.tables import run_steps, runs
from homeport.wire.chat import Metadata, check_metadata
from homeport.wire.runs import (
    CodeInterpreterToolCall,
    FunctionToolCall,
    IncompleteDetails,
    LastError,
    Logs,
    MessageCreation,
    Status,
    StepStatus,
    ToolCall,
    ToolCalls,
)

#: On whose account they run: nobody's.
_NOBODY = ""


class _Usage(Struct):
    prompt_tokens: Number = 0
    completion_tokens: Number = 0


class _Step(Struct):
    id: str
    step_details: MessageCreation | ToolCalls
    status: StepStatus = "completed"
    created_at: Number | None = None
    completed_at: Number | None = None
    last_error: LastError | None = None
    usage: _Usage | None = None


class _Run(Struct):
    id: str
    assistant_id: str
    model: str = ""
    status: Status = "completed"
    instructions: str | None = None
    tools: list[dict[str, Any]] = field(default_factory=list)
    metadata: Metadata | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool = True
    response_format: Any = None
    reasoning_effort: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_prompt_tokens: Number | None = None
    max_completion_tokens: Number | None = None
    truncation_strategy: dict[str, Any] | None = None
    last_error: LastError | None = None
    incomplete_details: IncompleteDetails | None = None
    created_at: Number | None = None
    started_at: Number | None = None
    cancelled_at: Number | None = None
    failed_at: Number | None = None
    completed_at: Number | None = None
    usage: _Usage | None = None


class Read(NamedTuple):
    """A run whose form is right. steps: the oldest first."""

    run: _Run
    steps: list[_Step]


def read(exported: Exported) -> list[Read]:
    """The oldest first. Raises NotTaken."""
    found = []
    for dumped in oldest_first(exported.runs):
        name = ascii(dumped.get("id", "a run"))
        run = _converted(dumped, name)
        own = objects(dumped.get("steps"))
        if own is None:
            raise NotTaken(f"{name}: 'steps' is no list of objects")
        steps = [*own, *(one for one in exported.steps if one.get("run_id") == run.id)]
        found.append(Read(run, [_step(one, name) for one in oldest_first(steps)]))
    return found


async def named(connection: AsyncConnection, project: str, thread_seq: int, coming: Sequence[Read]) -> dict[str, str]:
    """Old id -> the one that it has here; of those that are there already as well."""
    others = {one.run.id: imported_ids.made("run_", project, one.run.id) for one in coming}
    taken = await imported_ids.whose(connection, runs.c.id, runs.c.thread_seq, [*others, *others.values()])
    return {
        old: old
        if imported_ids.good(old) and other not in taken and taken.get(old, thread_seq) == thread_seq
        else other
        for old, other in others.items()
    }


async def add(
    connection: AsyncConnection,
    project: str,
    thread: Mapping[Any, Any],
    coming: Sequence[Read],
    *,
    run_ids: Mapping[str, str],
    message_ids: Mapping[str, str],
) -> int:
    """How many are new. run_ids, message_ids: old -> new."""
    there = await imported_ids.whose(connection, runs.c.id, runs.c.thread_seq, list(run_ids.values()))
    new = [one for one in coming if run_ids[one.run.id] not in there]
    theirs = [step.id for one in new for step in one.steps]
    taken = await imported_ids.whose(connection, run_steps.c.id, run_steps.c.run_seq, theirs)
    for one in new:
        run_id = run_ids[one.run.id]
        began = one.run.created_at if one.run.created_at is not None else thread["created_at"]
        values = {"id": run_id, "project_id": project, "thread_seq": thread["seq"], **_run_values(one.run, began)}
        seq = await connection.scalar(sa.insert(runs).values(values).returning(runs.c.seq))
        rows = []
        for step in one.steps:
            own = imported_ids.good(step.id)
            free = own is not None and own not in taken
            step_id = step.id if free else imported_ids.made("step_", project, f"{run_id} {step.id}")
            taken[step_id] = seq  # a file may have an id twice
            rows.append({"id": step_id, "run_seq": seq, **_step_values(step, began, message_ids)})
        if rows:
            await connection.execute(sa.insert(run_steps), rows)
    return len(new)


def _converted(dumped: dict[str, Any], name: str) -> _Run:
    """Raises NotTaken."""
    try:
        run = msgspec.convert(without_nulls(dumped), _Run)
        check_metadata(run.metadata)
    except (msgspec.ValidationError, InvalidRequest) as error:
        raise NotTaken(f"{name}: {error}") from None
    reason = run.incomplete_details.reason if run.incomplete_details is not None else ""
    texts = (run.assistant_id, run.model, run.instructions or "", run.reasoning_effort or "", reason)
    if any("\0" in text for text in texts):
        raise NotTaken(f"{name}: there is a NUL in it")
    return run


def _step(dumped: dict[str, Any], name: str) -> _Step:
    """Raises NotTaken."""
    try:
        return msgspec.convert(without_nulls(dumped), _Step)
    except msgspec.ValidationError as error:
        raise NotTaken(f"{name}, {dumped.get('id', 'a step')!a}: {error}") from None


def _run_values(run: _Run, began: int) -> dict[str, Any]:
    usage = run.usage or _Usage()
    return {
        "key_id": _NOBODY,
        "assistant_id": run.assistant_id,
        "status": run.status if run.status in run_states.OVER else "expired",
        "model": run.model,
        "instructions": run.instructions or "",
        "tools": run.tools,
        "tool_choice": run.tool_choice,
        "parallel_tool_calls": run.parallel_tool_calls,
        "response_format": run.response_format,
        "reasoning_effort": run.reasoning_effort,
        "temperature": run.temperature,
        "top_p": run.top_p,
        "max_prompt_tokens": run.max_prompt_tokens,
        "max_completion_tokens": run.max_completion_tokens,
        "truncation_strategy": run.truncation_strategy,
        "metadata": run.metadata,
        "last_error": None if run.last_error is None else msgspec.to_builtins(run.last_error),
        "incomplete_reason": None if run.incomplete_details is None else run.incomplete_details.reason,
        "created_at": began,
        "expires_at": began,
        "started_at": run.started_at,
        "cancelled_at": run.cancelled_at,
        "failed_at": run.failed_at,
        "completed_at": run.completed_at,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "events": 0,
    }


def _step_values(step: _Step, began: int, message_ids: Mapping[str, str]) -> dict[str, Any]:
    created = step.created_at if step.created_at is not None else began
    values = {
        "status": "expired" if step.status == "in_progress" else step.status,
        "last_error": None if step.last_error is None else msgspec.to_builtins(step.last_error),
        "created_at": created,
        "ended_at": step.completed_at if step.completed_at is not None else created,
        "prompt_tokens": step.usage.prompt_tokens if step.usage is not None else None,
        "completion_tokens": step.usage.completion_tokens if step.usage is not None else None,
    }
    if isinstance(step.step_details, ToolCalls):
        calls = msgspec.to_builtins([_calling(call) for call in step.step_details.tool_calls])
        return {"type": "tool_calls", "message_id": None, "calls": calls, **values}
    old = step.step_details.message_creation.message_id
    return {"type": "message_creation", "message_id": message_ids.get(old, old), "calls": None, **values}


def _calling(call: ToolCall) -> Calling:
    """What the model was told of a hosted one, nobody has exported: what came of it says the same."""
    if isinstance(call, FunctionToolCall):
        function = call.function
        return Calling(
            id=call.id, type="function", name=function.name, arguments=function.arguments, output=function.output
        )
    if isinstance(call, CodeInterpreterToolCall):
        code = call.code_interpreter
        logs = "\n".join(one.logs for one in code.outputs if isinstance(one, Logs))
        pictures = [one.image.file_id for one in code.outputs if not isinstance(one, Logs)]
        made = [MadeFile(path="", file_id=one, container_file_id="", bytes=0, image=True) for one in pictures]
        arguments = msgspec.json.encode({"code": code.input}).decode()
        return Calling(
            id=call.id,
            type="code_interpreter",
            name="code_interpreter",
            arguments=arguments,
            output=logs,
            result=Ran(container_id="", code=code.input, logs=logs, files=made),
        )
    results = call.file_search.results or []
    passages = [
        Passage(
            marker="",
            file_id=one.file_id,
            filename=one.file_name,
            score=one.score,
            text="".join(part.text for part in one.content or ()),
        )
        for one in results
    ]
    return Calling(
        id=call.id,
        type="file_search",
        name="file_search",
        arguments="{}",
        output="\n\n".join(one.text for one in passages),
        result=Searched(queries=[], passages=passages),
    )
