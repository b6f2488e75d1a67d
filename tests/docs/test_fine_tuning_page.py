"""The snippets of docs/fine-tuning.md run as they stand: a model learns, and its events are followed."""

import os
import re
import subprocess
import sys
from pathlib import Path

from homeport.settings import DEFAULT_MODEL
from tests.server import KEY, Running, running
from tests.training.text import tiny

PAGE = Path(__file__).parents[2] / "docs" / "fine-tuning.md"
SNIPPETS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def run(server: Running, snippet: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", snippet],
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, "OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": KEY, "OPENAI_ADMIN_KEY": KEY},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_snippets(tmp_path: Path) -> None:
    """With a tiny model under the default one's name: what it learns is another test's."""
    house = tiny.write(tmp_path / "house.gguf", spells=True)
    settings = {
        "models": {DEFAULT_MODEL: {"path": str(house), "engine": "llama_cpp", "threads": 1}},
        "fine_tuning": {"nice": 0, "threads": 1},
    }
    with running(tmp_path / "data", settings) as server:
        *told, _answer = run(server, SNIPPETS[0]).splitlines()
        assert told[-1] == "The job has successfully completed"
        followed = run(server, SNIPPETS[1]).splitlines()
        assert followed[0].startswith("Created fine-tuning job: ftjob-")
        assert followed[-1].strip() == "The job has successfully completed"
        model = next(line.rpartition(": ")[2].strip() for line in followed if "New fine-tuned model" in line)
        project = _new_project(server)
        shared = SNIPPETS[2].replace("ft:house:homeport:sums:AbCdEfGh", model).replace("proj_...", project)
        run(server, shared)


def _new_project(server: Running) -> str:
    from tests.api.owners import new_project

    return new_project(server, "shared with")
