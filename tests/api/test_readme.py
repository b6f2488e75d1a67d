"""The README's examples run as they are printed, against the model that `make run` serves.

The Node example needs axios: it is installed once, by npm, into the folder that test runs share.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fake_upstream import free_port
from tests.model_files import FOLDER
from tests.server import KEY, Running

README = Path(__file__).parents[2] / "README.md"
NODE = FOLDER.parent / "node"


def examples() -> dict[str, tuple[str, str]]:
    """Title -> (language, code) of the section `Five examples`."""
    section = README.read_text("utf-8").partition("## Five examples")[2].partition("\n## ")[0]
    found = re.findall(r"^\*\*(.+?)\*\*.*?```(\w+)\n(.*?)```", section, re.DOTALL | re.MULTILINE)
    return {title: (language, code) for title, language, code in found}


@pytest.fixture(scope="session")
def axios() -> Path:
    """A folder where `require("axios")` works."""
    if not (NODE / "node_modules" / "axios").is_dir():
        NODE.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(NODE), "axios@1"],
            check=True,
            timeout=100,
            cwd=NODE,
        )
    return NODE


def test_there_are_five() -> None:
    assert [language for language, _ in examples().values()] == ["sh", "python", "js", "python", "sh"]


@pytest.mark.parametrize("title", examples())
def test_an_example(title: str, real_server: Running, axios: Path, tmp_path: Path) -> None:
    language, code = examples()[title]
    folder = tmp_path if language == "sh" else axios
    if ":8001/" in code:
        code = code.replace("8001", str(free_port())).replace("/tmp/replay", str(tmp_path / "data"))
    command = {"sh": ["bash", "-ec"], "python": [sys.executable, "-c"], "js": ["node", "-e"]}[language]
    done = subprocess.run(
        [*command, code],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "OPENAI_BASE_URL": real_server.base_url,
            "OPENAI_API_KEY": KEY,
        },
    )
    assert done.returncode == 0, done.stderr
    if "--replay" not in code:
        assert "Paris" in done.stdout
        return
    recorded, replayed = [line for line in done.stdout.splitlines() if line.startswith('{"id"')]
    assert "ping" in recorded
    assert replayed == recorded
