"""The snippet of docs/assistants-runs.md runs as it stands, before a model that calls its function."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.server import KEY
from tests.talkers import call, outputs, says, then, turns
from tests.upstreams.homeports import relaying

PAGE = Path(__file__).parents[2] / "docs" / "assistants-runs.md"
(SNIPPET,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def test_the_snippet(tmp_path: Path) -> None:
    with relaying(tmp_path) as relay:
        asks = says(call("stock", {"item": "ladder"}))
        relay.fake.otherwise = turns(asks, then(lambda visit: says(f"There are {outputs(visit)[0]}.")))
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", SNIPPET],
            capture_output=True,
            text=True,
            timeout=100,
            env={**os.environ, "OPENAI_BASE_URL": relay.homeport.base_url, "OPENAI_API_KEY": KEY},
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("completed "), done.stdout
        assert "total_tokens=60" in done.stdout
        (said,) = [one for visit in relay.fake.received[-1:] for one in outputs(visit)]
        assert said == "seven"
