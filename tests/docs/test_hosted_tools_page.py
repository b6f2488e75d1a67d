"""docs/hosted-tools.md: its snippet runs as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.server import KEY, running

PAGE = (Path(__file__).parents[2] / "docs" / "hosted-tools.md").read_text("utf-8")
(SNIPPET,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_snippet(tmp_path: Path) -> None:
    for name in ("numbers.csv", "more.csv"):
        (tmp_path / name).write_text(name)
    with running(tmp_path / "data") as server:
        environment = {**os.environ, "OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": KEY}
        run = [sys.executable, "-c", SNIPPET]
        done = subprocess.run(run, capture_output=True, text=True, timeout=100, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    *listed, read = done.stdout.splitlines()
    assert [line.split(" ")[1] for line in listed] == ["/mnt/data/numbers.csv", "/mnt/data/more.csv"]
    assert read == "b'more.csv'"
