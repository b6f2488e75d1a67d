"""The snippets of docs/conversations.md run as they stand, and what docs/import.md dumps can be imported."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec

from homeport import imports
from homeport.settings import Settings
from tests.server import KEY, Running, running

DOCS = Path(__file__).parents[2] / "docs"


def snippets(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)


def run(server: Running, code: str, folder: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=folder,
        env={**os.environ, "OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": KEY},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_pages(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        copied = "\nprint(thread.id, *[item.content[0].text for item in client.conversations.items.list(copy.id)])"
        said = run(server, "\n".join([*snippets("conversations.md"), copied]), tmp_path)
        assert said[:4] == [
            *("message completed", "function_call completed", "function_call_output completed", "message completed")
        ]
        assert said[4].startswith("msg_")
        assert said[4].endswith(" user Where do cats sleep?")
        assert int(said[5]) > 0
        thread_id, _, text = said[6].partition(" ")
        assert text == "Where do cats sleep?"
        (dump,) = snippets("import.md")
        run(server, f"thread_ids = [{thread_id!r}]\n{dump}", tmp_path)
    settings = msgspec.convert({"server": {"data": str(tmp_path / "other")}}, Settings)
    lines = imports.threads(settings, tmp_path / "threads.jsonl")
    assert [line.text for line in lines] == ["1 thread imported, with 1 message"]
    (shown,) = re.findall(r"^```json\n(.*?)^```", (DOCS / "import.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert json.loads(shown)["thread"]["id"] == "thread_abc"
    (tmp_path / "shown.jsonl").write_text(shown)
    assert imports.threads(settings, tmp_path / "shown.jsonl") == [imports.Line("1 thread imported, with 1 message")]
