"""Steps of runs: what a run has said and called, in its order. How they are shown, and who writes them.

    in_progress ---> completed: its message is whole, or all its calls have their outputs
         +---------> cancelled, failed, expired: as its run ended

Whoever works on a run makes and changes its steps (`new`, `ended`, `save`); the outputs of functions come by
`run_states.submit`; a run that ends otherwise ends them (`end_all`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock, ids
from homeport.store.calls import Calling, Ran, Searched, code_of
from homeport.store.tables import run_steps
from homeport.wire.runs import (
    CodeInterpreter,
    CodeInterpreterToolCall,
    CreatedMessage,
    FileSearch,
    FileSearchToolCall,
    FunctionCall,
    FunctionToolCall,
    Image,
    ImageFile,
    LastError,
    Logs,
    MessageCreation,
    RankingOptions,
    ResultText,
    RunStep,
    SearchResult,
    ToolCall,
    ToolCalls,
    Usage,
)

#: Of `run_steps`: a row, or what is to become one.
Step = Mapping[Any, Any]
#: Of `runs`, with `thread_id`: run_states.py.
Run = Mapping[Any, Any]
End = Literal["completed", "cancelled", "failed", "expired"]
_CHANGES = ("status", "calls", "last_error", "ended_at", "prompt_tokens", "completion_tokens")


def new(run: Run, *, message_id: str | None = None, calls: Sequence[Calling] = ()) -> Step:
    """In progress; nobody sees it before it is saved. message_id: of the message that it makes; else it makes calls."""
    return {
        "id": ids.run_step(),
        "run_seq": run["seq"],
        "type": "tool_calls" if message_id is None else "message_creation",
        "status": "in_progress",
        "message_id": message_id,
        "calls": None if message_id is not None else msgspec.to_builtins(list(calls)),
        "last_error": None,
        "created_at": int(clock.now()),
        "ended_at": None,
        "prompt_tokens": None,
        "completion_tokens": None,
    }


def changed(step: Step, calls: Sequence[Calling]) -> Step:
    return {**step, "calls": msgspec.to_builtins(list(calls))}


def used(step: Step, prompt: int, completion: int) -> Step:
    """prompt, completion: tokens of the call of the model that it came of."""
    return {**step, "prompt_tokens": prompt, "completion_tokens": completion}


def ended(step: Step, status: End = "completed", error: LastError | None = None) -> Step:
    last_error = None if error is None else msgspec.to_builtins(error)
    return {**step, "status": status, "ended_at": int(clock.now()), "last_error": last_error}


async def save(connection: AsyncConnection, step: Step) -> None:
    """As it is by now, whether it is there or not."""
    insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(run_steps)
    values = {name: step[name] for name in run_steps.columns.keys() if name != "seq"}
    changes = {name: insert.excluded[name] for name in _CHANGES}
    await connection.execute(insert.values(values).on_conflict_do_update(index_elements=["id"], set_=changes))


async def of_run(connection: AsyncConnection, run_seq: int) -> Sequence[Step]:
    """In their order."""
    query = sa.select(run_steps).where(run_steps.c.run_seq == run_seq).order_by(run_steps.c.seq)
    return (await connection.execute(query)).mappings().all()


async def open_calls(connection: AsyncConnection, run_seq: int) -> Step | None:
    """The step whose calls want outputs: of a run, there is one at most."""
    query = sa.select(run_steps).where(
        run_steps.c.run_seq == run_seq, run_steps.c.type == "tool_calls", run_steps.c.status == "in_progress"
    )
    return (await connection.execute(query)).mappings().one_or_none()


async def end_all(
    connection: AsyncConnection, run_seq: int, status: End, error: LastError | None = None
) -> Sequence[Step]:
    """Those that are in progress, as they are then."""
    values = {"status": status, "ended_at": int(clock.now())}
    if error is not None:
        values["last_error"] = msgspec.to_builtins(error)
    table = run_steps.c
    end = sa.update(run_steps).where(table.run_seq == run_seq, table.status == "in_progress").values(values)
    found = (await connection.execute(end.returning(*table))).mappings().all()
    return sorted(found, key=lambda step: int(step["seq"]))


def calls_of(step: Step) -> list[Calling]:
    return msgspec.convert(step["calls"] or [], list[Calling])


def pending(step: Step | None) -> list[Calling]:
    """Of functions: those whose outputs are wanted of the client."""
    return [] if step is None else [call for call in calls_of(step) if is_pending(call)]


def is_pending(call: Calling) -> bool:
    return call.type == "function" and call.output is None


def as_object(step: Step, run: Run, *, content: bool = False) -> RunStep:
    """content: of passages that were found, too."""
    status, ended_at = step["status"], step["ended_at"]
    details: MessageCreation | ToolCalls
    if step["type"] == "message_creation":
        details = MessageCreation(CreatedMessage(step["message_id"]))
    else:
        details = ToolCalls([shown(call, content=content) for call in calls_of(step)])
    spent = step["prompt_tokens"], step["completion_tokens"]
    return RunStep(
        id=step["id"],
        created_at=step["created_at"],
        assistant_id=run["assistant_id"],
        thread_id=run["thread_id"],
        run_id=run["id"],
        type=step["type"],
        status=status,
        step_details=details,
        last_error=None if step["last_error"] is None else msgspec.convert(step["last_error"], LastError),
        expires_at=run["expires_at"] if status == "in_progress" else None,
        expired_at=ended_at if status == "expired" else None,
        cancelled_at=ended_at if status == "cancelled" else None,
        failed_at=ended_at if status == "failed" else None,
        completed_at=ended_at if status == "completed" else None,
        usage=None if status == "in_progress" or None in spent else Usage.of(*spent),
    )


def shown(call: Calling, *, content: bool = False) -> ToolCall:
    """As steps have it."""
    result = call.result
    if call.type == "function":
        return FunctionToolCall(call.id, FunctionCall(call.name, call.arguments, call.output))
    if call.type == "file_search":
        return FileSearchToolCall(call.id, _search(result, content) if isinstance(result, Searched) else FileSearch())
    if isinstance(result, Ran):
        outputs: list[Logs | Image] = [Logs(result.logs)] if result.logs else []
        outputs += [Image(ImageFile(file.file_id)) for file in result.files if file.image]
        return CodeInterpreterToolCall(call.id, CodeInterpreter(result.code, outputs))
    return CodeInterpreterToolCall(call.id, CodeInterpreter(code_of(call.arguments)[0], []))


def _search(found: Searched, content: bool) -> FileSearch:
    results = [
        SearchResult(one.file_id, one.filename, one.score, *([[ResultText(one.text)]] if content else []))
        for one in found.passages
    ]
    return FileSearch(RankingOptions(found.ranker, found.score_threshold), results)
