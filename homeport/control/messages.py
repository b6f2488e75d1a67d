"""Messages of threads as their owners see them: rows of `items`."""

from collections.abc import Mapping
from typing import Any

import msgspec

from homeport.wire.threads import Content, IncompleteDetails, Message


def as_object(row: Mapping[str, Any], thread_id: str) -> Message:
    """row: of `items`, a message of a thread."""
    reason = row["incomplete_reason"]
    return Message(
        id=row["id"],
        created_at=row["created_at"],
        thread_id=thread_id,
        status=row["status"],
        incomplete_details=None if reason is None else IncompleteDetails(reason),
        completed_at=row["completed_at"],
        incomplete_at=row["incomplete_at"],
        role=row["role"],
        content=msgspec.convert(row["content"] or [], list[Content]),
        assistant_id=row["assistant_id"],
        run_id=row["run_id"],
        attachments=row["attachments"] or [],
        metadata=row["metadata"] or {},
    )
