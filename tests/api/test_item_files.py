"""Files that items name or bring, as a model is given them; on both databases."""

from base64 import b64encode
from collections.abc import AsyncGenerator
from typing import Any

import openai
import pytest

from homeport.control import bootstrap, item_files
from homeport.control.item_files import ItemFiles
from homeport.control.items import named
from homeport.control.owners import Owner
from homeport.documents.reader import Reader
from homeport.errors import HomeportError, InvalidRequest, NotFound
from homeport.store.blobs import Blobs
from homeport.wire.items import FunctionCallOutput, InputImage, InputText, Message, read
from tests.server import Running

#: As far as it is looked at.
PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
TEXT = b"# Cats\n\nCats purr."


class Bringing:
    def __init__(self, server: Running) -> None:
        self._server = server
        durable = server.app.durable
        self.files = ItemFiles(durable.files, durable.blobs, Reader(seconds=60, memory_mb=512, at_once=1))
        self.owner = Owner(server.begin(self._project()).result() or "", "key_x")

    async def _project(self) -> str | None:
        async with self._server.app.books.database.read() as connection:
            return await bootstrap.default_project(connection)

    def parts(self, *parts: Any, owner: Owner | None = None) -> list[Any]:
        """Of what the user says."""
        coming = named(read([{"role": "user", "content": [*parts]}], "input"), {})
        (message,) = self._server.begin(self.files.brought(owner or self.owner, coming)).result()
        assert isinstance(message, Message)
        return message.content

    def refused(self, kind: type[HomeportError], part: Any, **told: Any) -> HomeportError:
        with pytest.raises(kind) as refusal:
            self.parts(part, **told)
        assert refusal.value.param == "input"
        return refusal.value


@pytest.fixture
def bringing(owning: Running) -> Bringing:
    return Bringing(owning)


def put(client: openai.OpenAI, name: str, content: bytes) -> str:
    return client.files.create(file=(name, content), purpose="user_data").id


def base64(content: bytes) -> str:
    return b64encode(content).decode()


def test_pictures_become_data_urls(bringing: Bringing, mine: openai.OpenAI) -> None:
    file = put(mine, "cat.bin", PNG)
    picture, same, other = bringing.parts(
        {"type": "input_image", "file_id": file, "detail": "low"},
        {"type": "input_image", "file_id": file},
        {"type": "input_image", "image_url": "https://x/"},
    )
    url = f"data:image/png;base64,{base64(PNG)}"
    assert picture == InputImage(image_url=url, detail="low")
    assert (same.image_url, other.image_url) == (url, "https://x/")


def test_other_files_become_their_text(bringing: Bringing, mine: openai.OpenAI) -> None:
    file = put(mine, "cats.md", TEXT)
    by_id, by_data, by_url, nameless = bringing.parts(
        {"type": "input_file", "file_id": file, "prompt_cache_breakpoint": {"mode": "explicit"}},
        {"type": "input_file", "file_data": base64(TEXT), "filename": "cats.md"},
        {"type": "input_file", "file_data": f"data:text/markdown;base64,{base64(TEXT)}", "filename": "cats.md"},
        {"type": "input_file", "file_data": base64(TEXT)},
    )
    assert isinstance(by_id, InputText)
    assert by_id.text == by_data.text == by_url.text == "cats.md\n\n# Cats\n\nCats purr."
    assert by_id.prompt_cache_breakpoint
    assert nameless.text == "upload\n\n# Cats\n\nCats purr."


def test_files_of_outputs(bringing: Bringing, owning: Running, mine: openai.OpenAI) -> None:
    parts = [{"type": "input_file", "file_id": put(mine, "a.txt", b"sunny")}, {"type": "input_text", "text": "!"}]
    coming = named(read([{"type": "function_call_output", "call_id": "c", "output": parts}], "input"), {})
    (output,) = owning.begin(bringing.files.brought(bringing.owner, coming)).result()
    assert isinstance(output, FunctionCallOutput)
    assert output.output == [InputText(text="a.txt\n\nsunny"), InputText(text="!")]


def test_a_file_is_read_once(bringing: Bringing, mine: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[str] = []
    read = Blobs.read

    def counted(blobs: Blobs, digest: str, begin: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        times.append(digest)
        return read(blobs, digest, begin, end)

    monkeypatch.setattr(Blobs, "read", counted)
    picture, text = put(mine, "a.png", PNG), put(mine, "a.txt", b"sunny")
    parts = [{"type": "input_image", "file_id": picture}, {"type": "input_file", "file_id": text}] * 3
    assert len(bringing.parts(*parts)) == 6
    assert len(times) == 2


def test_what_cannot_be_brought(bringing: Bringing, mine: openai.OpenAI) -> None:
    text, program = put(mine, "cats.md", TEXT), put(mine, "run", b"\x7fELF\x02\x01\x01" + bytes(range(256)))
    refused = bringing.refused
    assert "no picture" in refused(InvalidRequest, {"type": "input_image", "file_id": text}).message
    assert "not supported" in refused(InvalidRequest, {"type": "input_file", "file_id": program}).message
    assert "base64" in refused(InvalidRequest, {"type": "input_file", "file_data": "no base64!"}).message
    assert "file-none" in refused(NotFound, {"type": "input_image", "file_id": "file-none"}).message
    other = Owner("proj_other", "key_x")
    assert text in refused(NotFound, {"type": "input_file", "file_id": text}, owner=other).message


def test_files_have_bounds(bringing: Bringing, mine: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_files, "MOST_PICTURES", 100)
    monkeypatch.setattr(item_files, "LARGEST_FILE", 10)
    first, second = put(mine, "a.png", PNG), put(mine, "b.png", PNG + b"!")
    assert len(bringing.parts({"type": "input_image", "file_id": first})) == 1
    with pytest.raises(InvalidRequest, match="those of one request may have"):
        bringing.parts(*({"type": "input_image", "file_id": one} for one in (first, second)))
    with pytest.raises(InvalidRequest, match="those of one request may have"):
        bringing.parts(*[{"type": "input_image", "file_id": first}] * 3)
    large = {"type": "input_file", "file_id": put(mine, "a.txt", b"x" * 11)}
    assert "Put it into a vector store" in bringing.refused(InvalidRequest, large).message
    bringing.refused(InvalidRequest, {"type": "input_file", "file_data": base64(b"x" * 20)})
    monkeypatch.setattr(item_files, "MOST_TEXT", 30)
    small = {"type": "input_file", "file_id": put(mine, "a.txt", b"sunny")}
    assert len(bringing.parts(small, small)) == 2
    with pytest.raises(InvalidRequest, match="together"):
        bringing.parts(small, small, small)
