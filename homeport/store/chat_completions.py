"""Where completions are kept that were asked for with `store`: a row each, written before the answer's end goes out."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from homeport import clock
from homeport.store.database import Database
from homeport.store.tables import chat_completions as table


class Answered(NamedTuple):
    """asked: the model's name, as it was asked for. completion: the answer, with an `id` and a `model`."""

    asked: str
    completion: Mapping[str, Any]
    messages: Sequence[Mapping[str, Any]]
    metadata: Mapping[str, str] | None


class ChatCompletions:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, project: str, answered: Answered) -> None:
        """In the place of another of that id: what is replayed is answered again. Raises Unavailable, StorageFull."""
        row = {
            "id": answered.completion["id"],
            "project_id": project,
            "created_at": int(clock.now()),
            "asked": answered.asked,
            "model": answered.completion["model"],
            "metadata": answered.metadata,
            "completion": answered.completion,
            "messages": answered.messages,
        }
        same = table.c.project_id == project, table.c.id == row["id"]
        async with self._database.write() as connection:
            await connection.execute(sa.delete(table).where(*same))
            await connection.execute(sa.insert(table).values(**row))
