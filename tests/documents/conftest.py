"""Reading as the server does it: through a Reader, in a process of its own."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from homeport.documents.document import Document
from homeport.documents.reader import Reader

Read = Callable[..., Document]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Content, the name of its file, and limits where others than the usual ones are wanted."""

    def reading(content: bytes, name: str = "file", *, seconds: float = 60, memory_mb: int = 512) -> Document:
        file = tmp_path / "content"
        file.write_bytes(content)

        async def once() -> Document:
            reader = Reader(seconds=seconds, memory_mb=memory_mb, at_once=1)
            try:
                return await reader.read(file, name)
            finally:
                await reader.close()

        return asyncio.run(once())

    return reading
