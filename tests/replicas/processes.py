"""A Homeport as a process of its own, which can be killed."""

import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai

from tests.api.raw import Answer
from tests.replicas import nursery
from tests.replicas.http import ask
from tests.replicas.nursery import Process

#: The operator's own key: for the API and the Admin API.
KEY = "sk-preset-0123456789abcdef"
PATIENCE = 90.0
ROOT = Path(__file__).parents[2]


@dataclass
class Replica:
    """A `homeport serve`. folder: its homeport.toml, its data and what it has said. program: the module that is run."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    program: str = "homeport"
    workers: int = 1
    url: str = ""
    process: Process | None = None
    _client: openai.OpenAI | None = None

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """stderr, of all its lives."""
        return self.folder / "stderr"

    def start(self) -> None:
        """And wait until it is ready."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("HOMEPORT_")}
        environment = {**inherited, "PYTHONPATH": str(ROOT), "HOMEPORT_API_KEY": KEY, **self.environment}
        arguments = ["serve", "--port", "0", "--data", str(self.data)]
        with (self.folder / "stdout").open("wb") as out, self.log.open("ab") as error:
            self.process = nursery.begin(
                self.program, arguments, cwd=self.folder, environment=environment, stdout=out, stderr=error
            )

    def wait(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(r"http://[^/\s]+", self.printed)) or not self._is_ready(found[0]):
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def _is_ready(self, url: str) -> bool:
        self.url = url
        with suppress(OSError):
            return self.ask("GET", "/readyz").status == 200
        return False

    @property
    def printed(self) -> str:
        return (self.folder / "stdout").read_text()

    def kill(self) -> None:
        """-9."""
        if self._client is not None:
            self._client.close()
            self._client = None
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """As an operator does; it must end well."""
        if self.process is not None:
            self.process.terminate()
            try:
                assert self.process.wait(PATIENCE) == 0, self.log.read_text()
            finally:
                self.kill()

    def ask(
        self, method: str, path: str, body: Any = None, *, key: str = KEY, headers: Mapping[str, str] = {}
    ) -> Answer:
        return ask(self.port, method, path, body, key=key, headers=headers)

    def knows(self, key: str) -> bool:
        """All of its workers do, as far as many connections can tell."""
        asked = 1 if self.workers == 1 else 10 * self.workers
        return all(self.ask("GET", "/v1/models", key=key).status == 200 for _ in range(asked))

    def make(self, path: str, body: Any) -> dict[str, Any]:
        """By the Admin API, which must go well."""
        answer = self.ask("POST", path, body)
        assert answer.status == 200, answer.body
        made: dict[str, Any] = answer.json
        return made

    @property
    def admin(self) -> "openai.resources.admin.organization.Organization":
        """OpenAI's SDK."""
        if self._client is None:
            base_url = f"{self.url}/v1"
            self._client = openai.OpenAI(base_url=base_url, api_key="none", admin_api_key=KEY, max_retries=0)
        return self._client.admin.organization
