"""A Homeport that serves while it is backed up, and what was backed up, served again."""

import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from homeport import restore
from tests.backup.conftest import New
from tests.backup.houses import Data
from tests.backup.test_backup import KINDS, findings
from tests.replicas.processes import KEY, Replica

HELLO: Any = [{"role": "user", "content": "hello"}]


@contextmanager
def serving(data: Data, folder: Path) -> Iterator[openai.OpenAI]:
    """A process of its own; data: that of `folder/data`."""
    assert data.data == folder / "data"
    folder.mkdir(exist_ok=True)
    url = f"database_url = {data.database_url!r}\n" if data.database_url else ""
    (folder / "homeport.toml").write_text(f'{url}[models.echo]\nengine = "echo"\n')
    replica = Replica(folder)
    replica.start()
    try:
        with openai.OpenAI(base_url=f"{replica.url}/v1", api_key=KEY, max_retries=0) as client:
            yield client
        replica.stop()
    finally:
        replica.kill()


def content(name: str) -> bytes:
    """Of the file of that name: some have the same."""
    return (f"{int(name.partition('.')[0]) % 30}\n" * 5000).encode()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_stops_and_all_of_it_is_served_again(new: New, tmp_path: Path, kind: str) -> None:
    """Clients upload, read, delete and chat all the time, and none of them is refused anything."""
    data = new(kind)
    data.data = tmp_path / "first" / "data"
    ended = threading.Event()
    done = {"files": 0, "chats": 0}

    def store(client: openai.OpenAI, seed: int) -> None:
        chance, mine = random.Random(seed), list[str]()
        while not ended.is_set():
            if len(mine) > 8 or (mine and chance.random() < 0.4):
                client.files.delete(mine.pop(chance.randrange(len(mine))))
            else:
                name = f"{chance.randrange(10**6)}.txt"
                file = client.files.create(file=(name, content(name)), purpose="user_data")
                assert client.files.content(file.id).content == content(name)
                mine.append(file.id)
            done["files"] += 1

    def chat(client: openai.OpenAI) -> None:
        while not ended.is_set():
            assert client.chat.completions.create(model="echo", messages=HELLO).choices
            done["chats"] += 1

    with serving(data, tmp_path / "first") as client, ThreadPoolExecutor() as pool:
        for number in range(8):
            client.files.create(file=(f"{number}.txt", content(f"{number}.txt")), purpose="user_data")
        pending = client.uploads.create(bytes=10, filename="upload.txt", mime_type="text/plain", purpose="user_data")
        part = client.uploads.parts.create(pending.id, data=b"first half")
        working = [*(pool.submit(store, client, seed) for seed in range(3)), pool.submit(chat, client)]
        config = data.arguments(tmp_path / "homeport.toml")
        try:
            before = dict(done)
            for number in range(2):
                target = tmp_path / f"{number}.tar"
                subprocess.run([sys.executable, "-m", "homeport", "backup", target, *config], check=True)
            assert done["files"] > before["files"]
            assert done["chats"] > before["chats"]
        finally:
            ended.set()
        for one in working:
            one.result()  # nobody was refused

    for number in range(2):
        other = new("sqlite")
        other.data = tmp_path / f"again-{number}" / "data"
        restore.put_back(other.settings, tmp_path / f"{number}.tar")
        assert findings(other) == []
        with serving(other, tmp_path / f"again-{number}") as client:
            files = list(client.files.list())
            assert {f"{number}.txt" for number in range(8)} <= {file.filename for file in files}
            for file in files:
                assert client.files.content(file.id).content == content(file.filename)
                assert file.bytes == len(content(file.filename))
            whole = client.uploads.complete(pending.id, part_ids=[part.id]).file
            assert whole is not None
            assert client.files.content(whole.id).content == b"first half"
            client.files.delete(files[0].id)
            assert client.chat.completions.create(model="echo", messages=HELLO).choices
        assert findings(other) == []
