"""Keys that scripts choose themselves: HOMEPORT_API_KEY for everything, HOMEPORT_ADMIN_KEY for the Admin API."""

import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.api.test_lifecycle import KEY, chat, run, serving

ADMIN = "sk-admin-preset-0123456789abcdef"


def projects(url: str, key: str) -> int:
    request = urllib.request.Request(f"{url}/v1/organization/projects", headers={"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_an_admin_key_is_for_the_admin_api_alone(tmp_path: Path) -> None:
    for _ in range(2):  # a second start finds what the first one made
        with serving(tmp_path, environment={"HOMEPORT_ADMIN_KEY": ADMIN}) as (url, printed, _):
            assert "the one in HOMEPORT_ADMIN_KEY" in printed
            assert ADMIN not in printed
            assert not re.search(r"sk-homeport-\w+", printed)
            assert (projects(url, ADMIN), chat(url, ADMIN)) == (200, 401)
    status, listed, _ = run("keys", "list", "--data", str(tmp_path / "data"), cwd=tmp_path)
    assert status == 0
    (line,) = listed.splitlines()
    assert line.endswith("admin  HOMEPORT_ADMIN_KEY")
    assert ADMIN not in listed


def test_both(tmp_path: Path) -> None:
    with serving(tmp_path, environment={"HOMEPORT_API_KEY": KEY, "HOMEPORT_ADMIN_KEY": ADMIN}) as (url, _, _):
        assert (projects(url, ADMIN), chat(url, ADMIN)) == (200, 401)
        assert (projects(url, KEY), chat(url, KEY)) == (200, 200)


def test_it_lets_the_server_listen_elsewhere(tmp_path: Path) -> None:
    arguments = ("--host", "0.0.0.0", "--behind-tls-proxy")
    with serving(tmp_path, *arguments, environment={"HOMEPORT_ADMIN_KEY": ADMIN}) as (url, _, _):
        assert projects(url.replace("0.0.0.0", "127.0.0.1"), ADMIN) == 200


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"HOMEPORT_ADMIN_KEY": "short"}, "HOMEPORT_ADMIN_KEY must be at least 16 printable ASCII characters"),
        ({"HOMEPORT_ADMIN_KEY": KEY + " "}, "HOMEPORT_ADMIN_KEY must not begin or end with a blank"),
        ({"HOMEPORT_API_KEY": KEY, "HOMEPORT_ADMIN_KEY": KEY}, "are the same"),
    ],
)
def test_a_key_that_will_not_do(tmp_path: Path, environment: dict[str, str], message: str) -> None:
    status, _, error = run("serve", "--port", "0", "--data", str(tmp_path / "d"), cwd=tmp_path, environment=environment)
    assert status == 2
    assert message in error
    assert KEY not in error


def test_a_key_of_another_kind(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path / "data"))
    key = run("keys", "create", "ci", *data, cwd=tmp_path)[1].strip()
    status, _, error = run("serve", "--port", "0", *data, cwd=tmp_path, environment={"HOMEPORT_ADMIN_KEY": key})
    assert status == 2
    assert "HOMEPORT_ADMIN_KEY holds a key that is known already, of kind 'project'" in error
    assert key not in error
