"""The process as scripts see it: start, readiness, keys, signals, exit status."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fake_upstream import until

KEY = "sk-preset-0123456789abcdef"
ECHO = '[models.echo]\nengine = "echo"\n[models.slow]\nengine = "echo"\ndelay = 0.05\n'


def homeport(*arguments: str, environment: dict[str, str] | None = None, cwd: Path) -> subprocess.Popen[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HOMEPORT_")}
    return subprocess.Popen(
        [sys.executable, "-m", "homeport", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**inherited, **(environment or {})},
    )


def run(*arguments: str, cwd: Path, environment: dict[str, str] | None = None) -> tuple[int, str, str]:
    process = homeport(*arguments, cwd=cwd, environment=environment)
    out, error = process.communicate(timeout=60)
    return process.returncode, out, error


@contextmanager
def serving(
    folder: Path, *arguments: str, environment: dict[str, str] | None = None
) -> Iterator[tuple[str, str, "subprocess.Popen[str]"]]:
    """Yields (url, what was printed until the URL was known, the process)."""
    config = folder / "homeport.toml"
    if not config.exists():
        config.write_text(ECHO)
    process = homeport(
        "serve", "--port", "0", "--data", str(folder / "data"), *arguments, cwd=folder, environment=environment
    )
    assert process.stdout is not None
    printed = ""
    try:
        while "curl" not in printed:
            line = process.stdout.readline()
            assert line, f"the server ended: {process.stderr.read() if process.stderr else ''}"
            printed += line
        found = re.search(r"http://[^/\s]+", printed)
        assert found is not None
        wait_until_ready(found[0])
        yield found[0], printed, process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=60) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise AssertionError("not ready after 30 s")


def chat(url: str, key: str, model: str = "echo", content: str = "hello") -> int:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": content}]}).encode()
    request = urllib.request.Request(
        f"{url}/v1/chat/completions",
        body,
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_first_key_is_made_shown_once_and_stored_as_a_hash(tmp_path: Path) -> None:
    with serving(tmp_path) as (url, printed, _):
        key = re.search(r"sk-homeport-\w+", printed)
        assert key is not None
        assert chat(url, key[0]) == 200
        assert chat(url, key[0] + "x") == 401
    for file in (tmp_path / "data").rglob("*"):
        assert stat.S_IMODE(file.stat().st_mode) == (0o700 if file.is_dir() else 0o600)
        assert file.is_dir() or key[0].encode() not in file.read_bytes()
    with serving(tmp_path) as (url, printed, _):
        assert "sk-homeport-" not in printed
        assert chat(url, key[0]) == 200


def test_homeport_api_key_presets_the_first_key(tmp_path: Path) -> None:
    with serving(tmp_path, environment={"HOMEPORT_API_KEY": KEY}) as (url, printed, _):
        assert KEY not in printed
        assert chat(url, KEY) == 200


def test_sigterm_lets_requests_finish_and_ends_with_0(tmp_path: Path) -> None:
    with serving(tmp_path, environment={"HOMEPORT_API_KEY": KEY}) as (url, _, process):
        body = {"model": "slow", "messages": [{"role": "user", "content": "word " * 20}], "stream": True}
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        asked = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(asked, timeout=60) as answer:
            assert answer.readline().startswith(b"data: {")
            process.send_signal(signal.SIGTERM)
            assert b"data: [DONE]" in answer.read()
        assert process.wait(timeout=60) == 0


def test_it_refuses_to_listen_elsewhere_without_keys(tmp_path: Path) -> None:
    where = ("--host", "0.0.0.0", "--port", "0", "--behind-tls-proxy")
    status, _, error = run("serve", *where, "--data", str(tmp_path / "d"), cwd=tmp_path)
    assert status == 2
    assert "Refusing to listen on 0.0.0.0 without a key" in error


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    with serving(tmp_path) as (url, _, _):
        port = url.rpartition(":")[2]
        other = ("--data", str(tmp_path / "other"))
        status, _, error = run("serve", "--port", port, *other, cwd=tmp_path)
    assert status == 2
    assert "Cannot listen on" in error
    assert run("keys", "list", *other, cwd=tmp_path)[1] == "", "a key was made that nobody has seen"


def test_keys_are_made_listed_and_revoked_while_serving(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path / "data"))
    with serving(tmp_path) as (url, _, _):
        key = run("keys", "create", "ci", *data, cwd=tmp_path)[1].strip()
        assert until(lambda: chat(url, key) == 200)
        listed = run("keys", "list", *data, cwd=tmp_path)[1]
        assert key not in listed
        (key_id,) = (line.split()[0] for line in listed.splitlines() if line.endswith(" ci"))
        assert run("keys", "revoke", key_id, *data, cwd=tmp_path)[0] == 0
        assert until(lambda: chat(url, key) == 401)


def test_a_model_that_was_never_pulled_answers_503_with_the_command(tmp_path: Path) -> None:
    (tmp_path / "homeport.toml").write_text(ECHO + "[models.smollm2-135m-instruct]\n")
    with serving(tmp_path, environment={"HOMEPORT_API_KEY": KEY}) as (url, printed, _):
        assert "homeport pull smollm2-135m-instruct" in printed
        assert chat(url, KEY, "smollm2-135m-instruct") == 503


@pytest.mark.parametrize("command", [[], ["serve"], ["pull"], ["models"], ["keys"], ["keys", "create"], ["doctor"]])
def test_help_is_worth_reading(command: list[str], tmp_path: Path) -> None:
    status, out, _ = run(*command, "--help", cwd=tmp_path)
    assert status == 0
    assert len(out.splitlines()) > 5


def test_version(tmp_path: Path) -> None:
    assert re.fullmatch(r"homeport \d+\.\d+\.\d+\n", run("--version", cwd=tmp_path)[1])


def test_doctor_names_what_is_missing_and_the_command(tmp_path: Path) -> None:
    status, out, _ = run("doctor", "--data", str(tmp_path / "d"), cwd=tmp_path)
    assert status == 1
    assert "homeport pull smollm2-135m-instruct" in out


def test_a_wrong_setting_ends_with_the_right_name(tmp_path: Path) -> None:
    (tmp_path / "homeport.toml").write_text("[server]\nprot = 1\n")
    status, _, error = run("serve", cwd=tmp_path)
    assert status == 2
    assert "Did you mean 'port'?" in error


def test_the_core_loads_nothing_heavy(tmp_path: Path) -> None:
    """What is chosen by settings, or needs a database, is loaded when it is needed."""
    heavy = (
        "sqlalchemy alembic redis asyncpg tiktoken jwt numpy gguf xllamacpp openvino_genai jsonschema jinja2 "
        "opentelemetry requests".split()
    )
    code = f"import sys, homeport.app; print([name for name in {heavy} if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert printed.stdout == "[]\n"
