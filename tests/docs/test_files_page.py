"""The snippet of docs/files.md runs as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.api.forms import LINE
from tests.server import KEY, running

PAGE = Path(__file__).parents[2] / "docs" / "files.md"


def test_the_snippet(tmp_path: Path) -> None:
    (found,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    (tmp_path / "questions.jsonl").write_bytes(LINE)
    (tmp_path / "corpus.jsonl").write_bytes(b'{"messages": []}\n')
    with running(tmp_path / "data") as server:
        done = subprocess.run(
            [sys.executable, "-c", found],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env={**os.environ, "OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": KEY},
        )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"file-\w+ 73 questions.jsonl \d+\nfile-\w+\n", done.stdout)
    assert (tmp_path / "copy.jsonl").read_bytes() == LINE
