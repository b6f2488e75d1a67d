"""One file over HTTP: whole or not at all, resumed where it stopped, never the wrong bytes."""

import json
import shutil
import socket
from pathlib import Path
from typing import NamedTuple

import pytest

from homeport.backends.weights import download
from homeport.backends.weights.download import Web, fetch
from homeport.backends.weights.errors import DigestMismatch, NoSpace, PullError, Unreachable
from tests.models.fake_web import Page, running, sha256, weights
from tests.models.fake_web import Web as FakeWeb

CONTENT = weights()
DIGEST = f"sha256:{sha256(CONTENT)}"
TOKEN = "Bearer hf_verysecret"


def once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TRIES", 1)


def test_a_file_comes_whole(web: FakeWeb, tmp_path: Path) -> None:
    to = tmp_path / "deep" / "file"
    assert fetch(Web(), web.add("/f", Page(CONTENT)), to, digest=DIGEST, size=len(CONTENT)) == sha256(CONTENT)
    assert to.read_bytes() == CONTENT
    assert [one.name for one in to.parent.iterdir()] == ["file"]
    assert web.seen[0].headers["accept-encoding"] == "identity"
    assert web.seen[0].headers["user-agent"].startswith("homeport/")


def test_it_goes_on_where_it_broke_off(web: FakeWeb, tmp_path: Path) -> None:
    url = web.add("/f", Page(CONTENT, cuts=[100_000, 50_000]))
    fetch(Web(), url, tmp_path / "f", digest=DIGEST)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert [one.headers.get("range") for one in web.seen] == [None, "bytes=100000-", "bytes=150000-"]
    assert {one.headers.get("if-range") for one in web.seen[1:]} == {'"one"'}


def test_another_command_goes_on_where_the_last_one_gave_up(
    web: FakeWeb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once(monkeypatch)
    url = web.add("/f", Page(CONTENT, cuts=[100_000]))
    with pytest.raises(Unreachable, match="run the same command again"):
        fetch(Web(), url, tmp_path / "f", digest=DIGEST)
    assert not (tmp_path / "f").exists()
    fetch(Web(), url, tmp_path / "f", digest=DIGEST)
    assert web.seen[1].headers["range"] == "bytes=100000-"
    assert (tmp_path / "f").read_bytes() == CONTENT


@pytest.mark.parametrize("page", [Page(CONTENT, ranges=False), Page(CONTENT, tag=None), Page(CONTENT, tag='W/"weak"')])
def test_servers_that_cannot_go_on_begin_again(web: FakeWeb, tmp_path: Path, page: Page) -> None:
    page.cuts = [100_000]
    fetch(Web(), web.add("/f", page), tmp_path / "f", digest=DIGEST)
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_a_file_that_has_changed_meanwhile_begins_again(
    web: FakeWeb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once(monkeypatch)
    url = web.add("/f", Page(weights(seed=2), cuts=[100_000]))
    with pytest.raises(Unreachable):
        fetch(Web(), url, tmp_path / "f", digest=DIGEST)
    web.add("/f", Page(CONTENT, tag='"two"'))
    fetch(Web(), url, tmp_path / "f", digest=DIGEST)
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_a_part_of_another_address_is_not_used(web: FakeWeb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once(monkeypatch)
    with pytest.raises(Unreachable):
        fetch(Web(), web.add("/other", Page(weights(seed=2), cuts=[100_000])), tmp_path / "f", digest=DIGEST)
    fetch(Web(), web.add("/f", Page(CONTENT)), tmp_path / "f", digest=DIGEST)
    assert "range" not in web.gets("/f")[0].headers


def test_a_part_that_is_whole_already(web: FakeWeb, tmp_path: Path) -> None:
    """The last try ended between the last byte and the new name."""
    url = web.add("/f", Page(CONTENT))
    (tmp_path / "f.part").write_bytes(CONTENT)
    (tmp_path / "f.part.json").write_text(json.dumps({"url": url, "validator": '"one"'}))
    fetch(Web(), url, tmp_path / "f", digest=DIGEST)
    assert (tmp_path / "f").read_bytes() == CONTENT


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"url": 5}', "null"])
def test_a_damaged_note_begins_again(web: FakeWeb, tmp_path: Path, note: str) -> None:
    (tmp_path / "f.part").write_bytes(b"rubbish")
    (tmp_path / "f.part.json").write_text(note)
    fetch(Web(), web.add("/f", Page(CONTENT)), tmp_path / "f", digest=DIGEST)
    assert (tmp_path / "f").read_bytes() == CONTENT


@pytest.mark.parametrize("kind", ["sha256", "sha512"])
def test_wrong_bytes_are_thrown_away(web: FakeWeb, tmp_path: Path, kind: str) -> None:
    wanted = f"{kind}:{'0' * (64 if kind == 'sha256' else 128)}"
    with pytest.raises(DigestMismatch, match="thrown away"):
        fetch(Web(), web.add("/f", Page(CONTENT)), tmp_path / "f", digest=wanted)
    assert not (tmp_path / "f").exists()
    assert not (tmp_path / "f.part").exists()
    assert len(web.seen) == 1


def test_a_file_without_a_length(web: FakeWeb, tmp_path: Path) -> None:
    fetch(Web(), web.add("/f", Page(CONTENT, length=False)), tmp_path / "f", digest=DIGEST)
    assert (tmp_path / "f").read_bytes() == CONTENT


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_a_fault_that_passes_is_tried_again(web: FakeWeb, tmp_path: Path, status: int) -> None:
    fetch(Web(), web.add("/f", Page(CONTENT, statuses=[status, status])), tmp_path / "f", digest=DIGEST)
    assert len(web.seen) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_refusal_is_not_tried_again(web: FakeWeb, tmp_path: Path, status: int) -> None:
    with pytest.raises(Unreachable, match=str(status)):
        fetch(Web(), web.add("/f", Page(statuses=[status] * 9)), tmp_path / "f", digest=None)
    assert len(web.seen) == 1


def test_a_server_that_stays_broken(web: FakeWeb, tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="500"):
        fetch(Web(), web.add("/f", Page(statuses=[500] * 99)), tmp_path / "f", digest=None)
    assert len(web.seen) == download.TRIES


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable, match="refused"):
            fetch(Web(), f"http://127.0.0.1:{bound.getsockname()[1]}/f", tmp_path / "f", digest=None)


def test_a_disk_that_is_too_small(web: FakeWeb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1000))
    with pytest.raises(NoSpace, match="too little room"):
        fetch(Web(), web.add("/f", Page(CONTENT)), tmp_path / "f", digest=None, size=len(CONTENT))
    assert web.seen == []


def test_a_disk_that_is_full_on_the_way(web: FakeWeb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no trouble of the network, and trying again does not help."""
    url = web.add("/f", Page(CONTENT))
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    (tmp_path / "f.part").symlink_to(full)
    with pytest.raises(NoSpace, match="room"):
        fetch(Web(), url, tmp_path / "f", digest=None)
    assert len(web.seen) == 1


def test_a_redirect_is_followed_and_the_token_stays(web: FakeWeb, tmp_path: Path) -> None:
    with running() as elsewhere:
        target = elsewhere.add("/blob", Page(CONTENT))
        url = web.add("/f", Page(redirect=target, token=TOKEN))
        fetch(Web(headers={"Authorization": TOKEN}), url, tmp_path / "f", digest=DIGEST)
        assert "authorization" not in elsewhere.seen[0].headers
    assert web.seen[0].headers["authorization"] == TOKEN


def test_a_redirect_on_the_same_host_keeps_the_token(web: FakeWeb, tmp_path: Path) -> None:
    web.add("/blob", Page(CONTENT, token=TOKEN))
    fetch(Web(headers={"Authorization": TOKEN}), web.add("/f", Page(redirect="/blob")), tmp_path / "f", digest=DIGEST)
    assert (tmp_path / "f").read_bytes() == CONTENT


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x"])
def test_a_redirect_to_something_else_is_refused(web: FakeWeb, tmp_path: Path, target: str) -> None:
    with pytest.raises(PullError):
        fetch(Web(), web.add("/f", Page(redirect=target)), tmp_path / "f", digest=None)
    assert not (tmp_path / "f").exists()


def test_a_circle_of_redirects_ends(web: FakeWeb, tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        fetch(Web(), web.add("/f", Page(redirect="/f")), tmp_path / "f", digest=None)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "/etc/passwd", "data:,x"])
def test_only_http_is_an_address(tmp_path: Path, url: str) -> None:
    with pytest.raises(Unreachable):
        fetch(Web(), url, tmp_path / "f", digest=None)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"{", b"\xff"])
def test_an_answer_that_is_no_json_object(web: FakeWeb, body: bytes) -> None:
    with pytest.raises(Unreachable, match="does not answer"):
        Web().json(web.add("/j", Page(body)))
