"""What pages show as code, runs: curl, and OpenAI's SDKs for Python and Node, which does what the page does.

Node's SDK is installed once, by npm, into the folder that test runs share.
"""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.dashboard.site import Site, signed_in
from tests.fake_upstream import PICTURE_URL, SOUND, TEXT, FakeUpstream, fake_upstream, png
from tests.model_files import FOLDER
from tests.server import KEY, Running, running

NODE = FOLDER.parent / "node-openai"
PATIENCE = 120
MODELS = ["far", "gpt-image-1", "dall-e-2", "tts-1", "whisper-1", "far-rerank"]
#: As pages give them to snippets(), and what all three print or save.
REQUESTS: Sequence[tuple[Mapping[str, Any], str]] = [
    (
        {"path": "/v1/chat/completions", "body": {"model": "far", "messages": [{"role": "user", "content": "It's"}]}},
        TEXT,
    ),
    ({"path": "/v1/images/generations", "body": {"model": "dall-e-2", "prompt": "a cat"}}, PICTURE_URL),
    (
        {
            "path": "/v1/audio/transcriptions",
            "body": {"model": "whisper-1", "response_format": "srt", "timestamp_granularities": ["segment"]},
            "files": {"file": 'it\'s "a" sound.wav'},
        },
        TEXT,
    ),
    (
        {"path": "/v1/audio/translations", "body": {"model": "whisper-1"}, "files": {"file": 'it\'s "a" sound.wav'}},
        TEXT,
    ),
    (
        {"path": "/v1/audio/speech", "body": {"model": "tts-1", "input": "Hi", "voice": "alloy"}, "saves": "said.mp3"},
        "",
    ),
    (
        {
            "path": "/v1/images/edits",
            "body": {"model": "gpt-image-1", "prompt": "a hat"},
            "files": {"image": ["a.png"]},
        },
        "",
    ),
    (
        {"path": "/v1/rerank", "body": {"model": "far-rerank", "query": "a b", "documents": ["a", "a b"]}},
        "relevance_score",
    ),
    ({"method": "GET", "path": "/v1/models"}, "gpt-image-1"),
]


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeUpstream]:
    with fake_upstream() as found:
        yield found


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory, fake: FakeUpstream) -> Iterator[Running]:
    settings = {"upstreams": {"far": {"base_url": fake.base_url, "api_key": "k", "models": MODELS}}}
    with running(tmp_path_factory.mktemp("snippets"), settings) as server:
        yield server


@pytest.fixture
def site(serving: Running, page: Page) -> Site:
    return signed_in(page, serving.url, KEY)


@pytest.fixture(scope="session")
def node_sdk() -> Path:
    """A folder where `import "openai"` works."""
    NODE.mkdir(parents=True, exist_ok=True)
    with (NODE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (NODE / "node_modules" / "openai").is_dir():
            install = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(NODE), "openai@6"]
            subprocess.run(install, check=True, timeout=PATIENCE, cwd=NODE)
    return NODE


@pytest.fixture
def folder(tmp_path: Path, node_sdk: Path) -> Path:
    (tmp_path / "node_modules").symlink_to(node_sdk / "node_modules")
    (tmp_path / 'it\'s "a" sound.wav').write_bytes(b"RIFF")
    (tmp_path / "a.png").write_bytes(png())
    return tmp_path


def run(language: str, code: str, folder: Path) -> str:
    """What it prints."""
    file = folder / {"curl": "code.sh", "python": "code.py", "node": "code.mjs"}[language]
    file.write_text(code, "utf-8")
    command = {"curl": ["bash", "-e"], "python": [sys.executable], "node": ["node"]}[language]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI")}
    done = subprocess.run(
        [*command, str(file)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=folder,
        env={**environment, "OPENAI_API_KEY": KEY, "PYTHONUTF8": "1"},
    )
    assert done.returncode == 0, f"{code}\n{done.stderr}"
    return done.stdout


def codes(page: Page) -> dict[str, str]:
    """Of the dialog that is open."""
    dialog = page.get_by_role("dialog")
    found = {}
    for name in ("curl", "Python", "Node"):
        dialog.get_by_role("tab", name=name).click()
        expect(dialog.get_by_role("tabpanel")).to_have_count(1)
        found[name.lower()] = dialog.get_by_role("tabpanel").locator("code").inner_text()
    dialog.get_by_role("button", name="Close").click()
    return found


def test_a_chat_as_code(site: Site, folder: Path) -> None:
    """With what is in the settings, and the message that is being written."""
    page = site.open("/chat")
    page.get_by_label("Model", exact=True).select_option("echo")
    page.get_by_label("System prompt").fill('It\'s "brief" – \\ $HOME `x`')
    page.get_by_label("Seed").fill("7")
    text = 'It\'s "here"\nand ${there} – 世界 🏡 \\n\n' + 'def f():\n    """Doc."""'
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_role("button", name="Code").click()
    shown = codes(page)
    printed = run("curl", shown["curl"], folder)
    chunks = [json.loads(line[6:]) for line in printed.splitlines() if line.startswith("data: {")]
    assert "".join(one["delta"].get("content") or "" for chunk in chunks for one in chunk["choices"]) == text
    assert chunks[-1]["usage"]["completion_tokens"] == len(text)
    assert run("python", shown["python"], folder) == text + "\n"
    assert run("node", shown["node"], folder) == text + "\n"


def test_embeddings_as_code(site: Site, folder: Path) -> None:
    page = site.open("/embeddings")
    page.get_by_label("Model", exact=True).select_option("echo")
    page.get_by_label("Texts, one in a line").fill("one\ntwo")
    page.get_by_label("Dimensions").fill("16")
    page.get_by_role("button", name="Code").click()
    shown = codes(page)
    answer = json.loads(run("curl", shown["curl"], folder))
    assert [len(one["embedding"]) for one in answer["data"]] == [16, 16]
    for language in ("python", "node"):
        lines = run(language, shown[language], folder).splitlines()
        assert [line.split()[:2] for line in lines] == [["0", "16"], ["1", "16"]]


def test_other_requests_as_code(site: Site, folder: Path, fake: FakeUpstream) -> None:
    page = site.open("/chat")
    module = "document.querySelector('script[src*=chat]').src.replace('pages/chat', 'core/snippets')"
    source = f"(given) => import({module}).then((it) => it.snippets(given))"
    for request, printed in REQUESTS:
        made = page.evaluate(source, request)
        before = len(fake.received)
        for language in ("curl", "python", "node"):
            assert printed in run(language, made[language], folder), made[language]
            if "saves" in request:
                assert (folder / request["saves"]).read_bytes() == SOUND
                (folder / request["saves"]).unlink()
        bodies = [visit.json for visit in fake.received[before:]]
        assert all(body == bodies[0] for body in bodies), bodies
    assert (folder / "image-1.png").read_bytes() == png(colour=0)


def test_long_requests_as_curl(site: Site, folder: Path) -> None:
    """Arguments of a command are shorter than pictures."""
    page = site.open("/chat")
    page.get_by_label("Model", exact=True).select_option("echo")
    page.get_by_role("textbox", name="Message").fill("x" * 5_000 + "'")
    page.get_by_label("System prompt").fill("y" * 200_000)
    page.get_by_role("button", name="Code").click()
    assert "x" * 40 in run("curl", codes(page)["curl"], folder)
