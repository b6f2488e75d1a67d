"""What is to be done of a run, as its rows have it: from its beginning, or from where it was interrupted."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.control import run_steps
from homeport.control.owners import Owner
from homeport.control.run_states import Run
from homeport.control.run_steps import Step
from homeport.loop import history, said
from homeport.loop.history import Message, Pictures, Row
from homeport.loop.turns import REASONS, Outcome, Plan, Truncation
from homeport.store.calls import Calling
from homeport.store.database import Database
from homeport.store.tables import files, items

#: Files that are looked for in one statement.
_SOME = 1000


class Rows(NamedTuple):
    """steps: of the run. messages: of its thread, in their order, but those of the run; own: these, by their ids.
    filenames: of what is attached."""

    steps: Sequence[Step]
    messages: Sequence[Row]
    own: Mapping[str, Row]
    filenames: Mapping[str, str]


async def read(database: Database, run: Run) -> Rows:
    async with database.read() as connection:
        steps = await run_steps.of_run(connection, run["seq"])
        query = sa.select(items).where(items.c.thread_seq == run["thread_seq"], items.c.type == "message")
        found = (await connection.execute(query.order_by(items.c.seq))).mappings().all()
        made = {step["message_id"] for step in steps if step["message_id"] is not None}
        messages = [row for row in found if row["run_id"] != run["id"] or row["role"] != "assistant"]
        own = {row["id"]: row for row in found if row["id"] in made}
        filenames = await _filenames(connection, run, history.files_of(messages))
    return Rows(steps, messages, own, filenames)


async def _filenames(connection: AsyncConnection, run: Run, wanted: set[str]) -> Mapping[str, str]:
    names = sorted(wanted)
    found: dict[str, str] = {}
    for at in range(0, len(names), _SOME):
        which = files.c.project_id == run["project_id"], files.c.id.in_(names[at : at + _SOME])
        query = sa.select(files.c.id, files.c.filename).where(*which)
        found |= {row.id: row.filename for row in await connection.execute(query)}
    return found


def outcome(rows: Rows) -> Outcome | None:
    """Of a run whose last turn was written down, and its end was not. None: it goes on."""
    last = rows.steps[-1] if rows.steps else None
    if last is None or last["type"] != "message_creation" or last["status"] != "completed":
        return None
    message = rows.own.get(last["message_id"])
    if message is None or message["status"] != "incomplete":
        return Outcome("completed")
    return Outcome("incomplete", reason=REASONS[message["incomplete_reason"]])


async def plan(run: Run, rows: Rows, pictures: Pictures) -> Plan:
    """Raises InvalidRequest: of a picture."""
    who = Owner(run["project_id"], run["key_id"])
    messages: list[Message] = []
    if run["instructions"]:
        messages.append({"role": "system", "content": run["instructions"]})
    messages += await history.of_thread(rows.messages, rows.filenames, pictures, who)
    own, calls = _own(rows)
    return Plan(
        who=who,
        model=run["model"],
        messages=[*messages, *own],
        own=len(own),
        parameters=_parameters(run),
        functions=[tool for tool in run["tools"] if tool["type"] == "function"],
        tool_choice=None if run["tool_choice"] == "auto" else run["tool_choice"],
        first=not own,
        parallel_tool_calls=None if run["parallel_tool_calls"] else False,
        most_prompt=_left(run["max_prompt_tokens"], run["prompt_tokens"]),
        most_completion=_left(run["max_completion_tokens"], run["completion_tokens"]),
        truncation=Truncation(**run["truncation_strategy"]) if run["truncation_strategy"] else Truncation(),
        pending=[call for call in calls if call.output is None],
        sources=[call.result for step in rows.steps for call in run_steps.calls_of(step) if call.result is not None],
    )


def _own(rows: Rows) -> tuple[list[Message], Sequence[Calling]]:
    """What the turns of the run have said, and the calls of the last one. A message and the calls behind it are one
    turn."""
    messages: list[Message] = []
    calls: Sequence[Calling] = ()
    text = ""
    for step in rows.steps:
        if step["type"] == "message_creation":
            row = rows.own.get(step["message_id"])
            text = history.said(row) if row is not None else ""
            continue
        calls = run_steps.calls_of(step)
        messages += [said.message(text, calls), *said.outputs(calls)]
        text = ""
    return messages, calls


def _parameters(run: Run) -> dict[str, Any]:
    parameters = {name: run[name] for name in ("temperature", "top_p", "reasoning_effort") if run[name] is not None}
    form = run["response_format"]
    if isinstance(form, Mapping) and form["type"] != "text":
        parameters["response_format"] = form
    return parameters


def _left(most: int | None, spent: int) -> int | None:
    return None if most is None else most - spent
