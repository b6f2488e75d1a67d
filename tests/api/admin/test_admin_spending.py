"""What follows from spending, in the whole server: tiers are earned, and alerts are told."""

import logging
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.api import raw
from tests.fake_smtp import fake_smtp
from tests.fake_upstream import until
from tests.server import KEY, Running, running

#: A request of ours costs more than five dollars, and less than fifty.
PRICES = {"prices": {"echo": {"input": "300000", "output": "300000"}}}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homeport.books.SPEND_SECONDS", 0.05)


def limit(server: Running) -> str:
    return raw.ask(server).headers["x-ratelimit-limit-requests"]


def listed(server: Running, project: str) -> dict[str, int]:
    with openai.OpenAI(base_url=server.base_url, api_key=KEY, admin_api_key=KEY, max_retries=0) as client:
        found = client.admin.organization.projects.rate_limits.list_rate_limits(project)
        return {one.model: one.max_requests_per_1_minute for one in found}


def default_project(server: Running) -> str:
    found: str = raw.ask(server, "GET", "/v1/organization/projects").json["data"][0]["id"]
    return found


def test_a_tier_is_earned(tmp_path: Path) -> None:
    settings = {**PRICES, "limits": {"graduate": True}}
    with running(tmp_path, settings) as server:
        project = default_project(server)
        assert listed(server, project)["echo"] == 3
        answer = raw.ask(server)
        assert answer.headers["x-ratelimit-limit-requests"] == "3"
        assert 5 <= float(answer.headers["x-homeport-cost"]) < 50
        assert until(lambda: listed(server, project)["echo"] == 3500)
        assert limit(server) == "3500"
        raw.ask(server, path=f"/v1/homeport/projects/{project}", body={"tier": "trial"})
        assert limit(server) == "3"
    with running(tmp_path, settings) as server:  # at its first request it knows
        assert listed(server, project)["echo"] == 3
        raw.ask(server, path=f"/v1/homeport/projects/{project}", body={"tier": None})
        assert limit(server) == "3500"


def test_an_alert_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    channel: Any = {"type": "email", "recipients": ["ann@example.com"]}
    asked = {"threshold_amount": 500, "currency": "USD", "interval": "month", "notification_channel": channel}
    with fake_smtp() as smtp:
        alerts = {"smtp_url": smtp.url("robot:sk-secret@"), "sender": "alerts@home.example"}
        with running(tmp_path, {**PRICES, "alerts": alerts}) as server:
            alert = raw.ask(server, path="/v1/organization/spend_alerts", body=asked).json["id"]
            raw.ask(server)
            assert until(lambda: bool(smtp.letters))
            assert until(lambda: alert in caplog.text)
    (letter,) = smtp.letters
    assert (letter.recipients, letter.login) == (["ann@example.com"], ("robot", "sk-secret"))
    (record,) = [one for one in caplog.records if alert in one.getMessage()]
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"spend alert {alert}: organization homeport has spent $")
    assert "sk-secret" not in caplog.text
    assert "ann@example.com" not in caplog.text
