"""The snippets of docs/keys-and-limits.md run as they stand, one after the other, on a server with its settings."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from homeport import settings
from tests.server import KEY, Running, running

PAGE = Path(__file__).parents[2] / "docs" / "keys-and-limits.md"


def blocks(*languages: str) -> list[tuple[str, str]]:
    found = re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return [(language, code) for language, code in found if language in languages]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """With every setting of the page, but the mail."""
    table: dict[str, Any] = {}
    for _, toml in blocks("toml"):
        table |= tomllib.loads(toml)
    del table["alerts"]
    with running(tmp_path_factory.mktemp("page"), table) as made:
        yield made


@pytest.mark.parametrize("toml", [code for _, code in blocks("toml")])
def test_the_settings_are_settings(toml: str, tmp_path: Path) -> None:
    file = tmp_path / "homeport.toml"
    file.write_text(toml)
    assert settings.load(file, {}) != settings.Settings()


def test_the_snippets(server: Running, tmp_path: Path) -> None:
    """Python's are one program, which stops for the commands between them."""
    program = "import subprocess\n"
    for language, code in blocks("python", "sh"):
        if language == "python":
            program += code
        elif code.startswith("homeport "):
            program += f"subprocess.run(['bash', '-euo', 'pipefail', '-c', {code!r}], check=True)\n"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-u", "-c", program],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "OPENAI_BASE_URL": server.base_url,
            "OPENAI_API_KEY": KEY,
            "OPENAI_ADMIN_KEY": KEY,
            "HOMEPORT_SERVER_DATA": str(server.data),
        },
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert said.startswith("hello\nsk-homeport-")
    assert "Missing scopes: model.read" in said
    assert "does not have access to model `gpt-4o`" in said
    assert "echo 60 40000" in said
    assert "insufficient_quota" in said
    assert re.search(r"^echo, input \d+ x 0\.0000025 = 0\.\d+$", said, re.MULTILINE)
    assert re.search(r"^completed 0\.\d+ echo settings$", said, re.MULTILINE)
    assert re.search(r"^echo, output \S+ usd$", said, re.MULTILINE)
    assert re.search(r"^\d+ organization\.updated$", said, re.MULTILINE)
