"""The snippet of docs/moderations.md runs as it stands, on `echo`, to which neither text names a category."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.server import KEY, running

PAGE = Path(__file__).parents[2] / "docs" / "moderations.md"


def test_the_snippet(tmp_path: Path) -> None:
    (found,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    with running(tmp_path / "data") as server:
        done = subprocess.run(
            [sys.executable, "-c", found],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": KEY},
        )
    assert (done.returncode, done.stdout) == (0, "echo [False, False]\n"), done.stderr
