"""What files are called, whose ids an object has."""

import asyncio
from collections.abc import Mapping
from typing import Any

from homeport.dashboard.client import Client, Refused


async def named_files(client: Client, *file_ids: str | None) -> Mapping[str, Mapping[str, Any]]:
    """By their ids, those that are still there, and that the key may see."""
    wanted = list(dict.fromkeys(file_id for file_id in file_ids if file_id))
    found = await asyncio.gather(*[_file(client, file_id) for file_id in wanted])
    return {file["id"]: file for file in found if file is not None}


async def _file(client: Client, file_id: str) -> Mapping[str, Any] | None:
    try:
        file: Mapping[str, Any] = await client.get(f"/v1/files/{file_id}")
    except Refused:
        return None
    return file
