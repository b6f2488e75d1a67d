"""The snippets of docs/assistants.md run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.server import KEY, running

PAGE = Path(__file__).parents[2] / "docs" / "assistants.md"
SNIPPETS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def test_the_snippets(tmp_path: Path) -> None:
    (tmp_path / "handbook.md").write_text("# Notice\n\nThe notice period is six weeks.\n", "utf-8")
    with running(tmp_path / "data") as server:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", "\n".join(SNIPPETS)],
            capture_output=True,
            text=True,
            timeout=100,
            cwd=tmp_path,
            env={**os.environ, "OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": KEY},
        )
    assert done.returncode == 0, done.stderr
    said = [line.partition(" ")[0] for line in done.stdout.splitlines()]
    assert said[:2] == ["user", "assistant"], done.stdout
