"""The snippet of docs/assistants-streaming.md runs as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.server import KEY, running

PAGE = Path(__file__).parents[2] / "docs" / "assistants-streaming.md"
(SNIPPET,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def test_the_snippet(tmp_path: Path) -> None:
    with running(tmp_path / "data", {"models": {"gpt-4o": {"engine": "echo"}}}) as server:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", SNIPPET],
            capture_output=True,
            text=True,
            timeout=100,
            env={**os.environ, "OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": KEY},
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Tell me of the sea."
