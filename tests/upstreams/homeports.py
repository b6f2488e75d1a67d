"""A Homeport before a fake upstream, and what it has written down."""

import sqlite3
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai

from tests.fake_upstream import FakeUpstream, fake_upstream, until
from tests.server import KEY, Running, running

UPSTREAM_KEY = "sk-of-the-upstream-and-nobody-else"
#: Reading the authorities of the machine takes longer than most requests of these tests; on loopback there are none.
_TRUST_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@dataclass(frozen=True)
class Relay:
    fake: FakeUpstream
    homeport: Running

    def client(self, **arguments: Any) -> openai.OpenAI:
        http = openai.DefaultHttpxClient(verify=_TRUST_NOBODY)
        return openai.OpenAI(base_url=self.homeport.base_url, api_key=KEY, max_retries=0, http_client=http, **arguments)

    def async_client(self) -> openai.AsyncOpenAI:
        http = openai.DefaultAsyncHttpxClient(verify=_TRUST_NOBODY)
        return openai.AsyncOpenAI(base_url=self.homeport.base_url, api_key=KEY, max_retries=0, http_client=http)

    def rows(self, model: str, count: int = 1) -> list[dict[str, Any]]:
        """The usage rows of a model, once there are so many."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            with closing(sqlite3.connect(self.homeport.data / "usage.db")) as database:
                if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'usage'").fetchone():
                    return False  # the log's thread has not begun yet
                database.row_factory = sqlite3.Row
                rows = database.execute("SELECT * FROM usage WHERE model = ? ORDER BY seq", (model,)).fetchall()
            found[:] = [{**row, **_together(row)} for row in map(dict, rows)]
            return len(found) >= count

        assert until(there), f"{len(found)} rows of {model}, not {count}"
        return found


def _together(row: dict[str, Any]) -> dict[str, int]:
    """The classes of tokens, put together as OpenAI's `usage` counts them."""
    prompt = ("input_tokens", "cached_tokens", "cache_write_tokens", "input_audio_tokens", "input_image_tokens")
    completion = ("output_tokens", "output_audio_tokens", "output_image_tokens")
    return {
        "prompt_tokens": sum(row[name] for name in prompt),
        "completion_tokens": sum(row[name] for name in completion),
    }


@contextmanager
def relaying(
    data: Path, settings: dict[str, Any] | None = None, *, lane: bool = True, **upstream: Any
) -> Iterator[Relay]:
    """upstream: settings of `[upstreams.far]`, whose base_url and api_key are given. It is asked once, whatever it has
    done before, unless they say otherwise."""
    with fake_upstream() as fake:
        once = {"retries": 0, "failures": 0, "rest_seconds": 0.001}
        far = {"base_url": fake.base_url, "api_key": UPSTREAM_KEY, **once, **upstream}
        table = {**(settings or {}), "upstreams": {"far": far, **(settings or {}).get("upstreams", {})}}
        with running(data, table, lane=lane) as homeport:
            yield Relay(fake, homeport)
