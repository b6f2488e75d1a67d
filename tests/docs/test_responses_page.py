"""docs/responses.md: its snippet runs as it stands, and it names every parameter."""

import os
import re
import subprocess
import sys
from pathlib import Path

from homeport.wire.responses import CreateResponse
from tests.server import KEY, running

PAGE = (Path(__file__).parents[2] / "docs" / "responses.md").read_text("utf-8")
(SNIPPET,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_snippet(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        environment = {**os.environ, "OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": KEY}
        run = [sys.executable, "-c", SNIPPET]
        done = subprocess.run(run, capture_output=True, text=True, timeout=100, env=environment)
    assert done.returncode == 0, done.stderr
    first, rest = done.stdout.split("\n", 1)
    assert first == "Hello!"
    assert rest.startswith("Word by word.[0, 1, 2, ")


def test_every_parameter_is_in_the_table() -> None:
    rows = re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == {*CreateResponse.__struct_fields__}
