"""`models.pull`: names of the catalogue, a hub, addresses and paths; once and never twice."""

import shutil
import threading
import urllib.parse
from pathlib import Path

import pytest

from homeport.backends import models
from homeport.backends.models import DerivedFile, ModelEntry, SourceFile
from homeport.backends.weights.errors import DigestMismatch, PullError, Refused, UnknownModel, Unreachable
from tests.models.fake_web import Page, Web, running, sha256, weights

CONTENT = weights()
TOKEN = "hf_verysecret"
HUB = "/o/r/resolve/main/m.gguf"


def pull(wanted: str, folder: Path, web: Web | None = None, token: str | None = None) -> models.Pulled:
    return models.pull(wanted, folder, hub_url=web.url if web else "http://127.0.0.1:9", token=token)


def listed(monkeypatch: pytest.MonkeyPatch, *sources: str, digest: str = sha256(CONTENT)) -> None:
    """A catalogue with one model, `small`."""
    entry = ModelEntry("chat", "Apache-2.0", "m.gguf", (SourceFile("m.gguf", sources, digest),))
    monkeypatch.setattr(models, "catalogue", lambda: {"small": entry})


# The catalogue


def test_it_is_pulled_once_and_never_twice(web: Web, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed(monkeypatch, web.add("/m.gguf", Page(CONTENT)))
    assert models.find("small", folder) is None
    first = pull("small", folder)
    assert (first.name, first.path, first.fresh) == ("small", folder / "small" / "m.gguf", True)
    assert first.path.read_bytes() == CONTENT
    assert pull("small", folder).fresh is False
    assert len(web.seen) == 1
    assert models.find("small", folder) == first.path
    assert models.installed(folder) == ["small"]
    assert models.verify(folder) == []


def test_the_next_source_is_tried(web: Web, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed(monkeypatch, f"{web.url}/gone.gguf", "http://127.0.0.1:9/m.gguf", web.add("/m.gguf", Page(CONTENT)))
    assert pull("small", folder).fresh
    assert [one.path for one in web.seen] == ["/gone.gguf", "/m.gguf"]


def test_every_failure_is_told(web: Web, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed(monkeypatch, f"{web.url}/one.gguf", f"{web.url}/two.gguf")
    with pytest.raises(Unreachable, match=r"404.*one\.gguf.*404.*two\.gguf"):
        pull("small", folder)
    assert models.find("small", folder) is None


def test_wrong_bytes_are_refused_and_removed(web: Web, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed(monkeypatch, web.add("/m.gguf", Page(weights(seed=2))))
    with pytest.raises(DigestMismatch):
        pull("small", folder)
    assert models.find("small", folder) is None
    assert list(folder.rglob("*.gguf*")) == []


def test_what_is_damaged_here_is_found_and_pulled_again(
    web: Web, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed(monkeypatch, web.add("/m.gguf", Page(CONTENT)))
    path = pull("small", folder).path
    path.write_bytes(b"x" * len(CONTENT))
    (problem,) = models.verify(folder)
    assert "has changed" in problem.what
    assert problem.mend == f"rm {path} && homeport pull small"
    path.unlink()
    assert "is gone" in models.verify(folder)[0].what
    assert pull("small", folder).fresh
    assert models.verify(folder) == []


def test_a_damaged_record_is_pulled_again(web: Web, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed(monkeypatch, web.add("/m.gguf", Page(CONTENT)))
    pull("small", folder)
    (folder / "small" / models.RECORD).write_bytes(b"{")
    assert models.verify(folder)[0].mend == "homeport pull small"
    assert pull("small", folder).fresh
    assert models.verify(folder) == []


def test_a_file_made_of_another_one(web: Web, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = web.add("/raw.gguf", Page(CONTENT))
    made = DerivedFile("m.gguf", "raw.gguf", "twice")
    raw = SourceFile("raw.gguf", (url,), sha256(CONTENT))
    monkeypatch.setattr(models, "catalogue", lambda: {"small": ModelEntry("chat", "MIT", "m.gguf", (raw,), (made,))})
    monkeypatch.setitem(models._HOW, "twice", lambda source, to: to.write_bytes(source.read_bytes() * 2))
    path = pull("small", folder).path
    assert path.read_bytes() == CONTENT * 2
    assert not (folder / "small" / "raw.gguf").exists()
    assert pull("small", folder).fresh is False
    assert len(web.seen) == 1
    assert models.verify(folder) == []


def test_a_file_in_parts_is_joined(web: Web, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = web.add("/m.1", Page(CONTENT[:1000])), web.add("/m.2", Page(CONTENT[1000:]))
    entry = ModelEntry("chat", "MIT", "m.gguf", (SourceFile("m.gguf", ((first, second),), sha256(CONTENT)),))
    monkeypatch.setattr(models, "catalogue", lambda: {"small": entry})
    assert pull("small", folder).path.read_bytes() == CONTENT
    assert sorted(one.name for one in (folder / "small").iterdir()) == [".lock", "m.gguf", models.RECORD]
    assert pull("small", folder).fresh is False
    assert models.verify(folder) == []


def test_a_part_that_has_come_is_not_fetched_again(web: Web, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = web.add("/m.1", Page(CONTENT[:1000]))
    entry = ModelEntry("chat", "MIT", "m.gguf", (SourceFile("m.gguf", ((first, f"{web.url}/m.2"),), sha256(CONTENT)),))
    monkeypatch.setattr(models, "catalogue", lambda: {"small": entry})
    with pytest.raises(Unreachable, match="404"):
        pull("small", folder)
    assert models.find("small", folder) is None
    web.add("/m.2", Page(CONTENT[1000:]))
    assert pull("small", folder).path.read_bytes() == CONTENT
    assert [one.path for one in web.seen] == ["/m.1", "/m.2", "/m.2"]


def test_parts_that_make_something_else_are_thrown_away(
    web: Web, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = web.add("/m.1", Page(CONTENT[:1000])), web.add("/m.2", Page(CONTENT[1001:]))
    entry = ModelEntry("chat", "MIT", "m.gguf", (SourceFile("m.gguf", (parts,), sha256(CONTENT)),))
    monkeypatch.setattr(models, "catalogue", lambda: {"small": entry})
    with pytest.raises(DigestMismatch):
        pull("small", folder)
    assert [one.name for one in (folder / "small").iterdir()] == [".lock"]


def test_two_pulls_at_once_download_once(web: Web, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed(monkeypatch, web.add("/m.gguf", Page(weights(3_000_000))), digest=sha256(weights(3_000_000)))
    results: list[models.Pulled | BaseException] = []

    def one() -> None:
        try:
            results.append(pull("small", folder))
        except BaseException as error:
            results.append(error)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(one.fresh for one in results if isinstance(one, models.Pulled)) == [False, False, False, True]
    assert len(web.seen) == 1


def test_the_folder_is_private(web: Web, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed(monkeypatch, web.add("/m.gguf", Page(CONTENT)))
    pull("small", folder)
    assert (folder / "small").stat().st_mode & 0o077 == 0


# A hub


def test_a_file_of_the_hub(web: Web, folder: Path) -> None:
    web.add(HUB, Page(CONTENT, token=f"Bearer {TOKEN}"))
    pulled = pull("hf:o/r/m.gguf", folder, web, TOKEN)
    assert (pulled.name, pulled.path.read_bytes()) == ("m", CONTENT)
    assert pull("hf:o/r/m.gguf", folder, web, TOKEN).fresh is False
    assert len(web.gets(HUB)) == 1


def test_the_hubs_promise_is_kept_though_the_file_lies_elsewhere(web: Web, folder: Path) -> None:
    """The hub answers for a large file with a redirect, and in that answer with the file's digest and size."""
    with running() as elsewhere:
        target = elsewhere.add("/blob", Page(CONTENT, tag='"another"'))
        promise = {"X-Linked-Etag": f'"{sha256(CONTENT)}"', "X-Linked-Size": str(len(CONTENT))}
        web.add(HUB, Page(redirect=target, token=f"Bearer {TOKEN}", headers=promise))
        assert pull("hf:o/r/m.gguf", folder, web, TOKEN).path.read_bytes() == CONTENT
        assert all("authorization" not in one.headers for one in elsewhere.seen)
        shutil.rmtree(folder)
        elsewhere.add("/blob", Page(weights(seed=2)))
        with pytest.raises(DigestMismatch):
            pull("hf:o/r/m.gguf", folder, web, TOKEN)


def test_a_revision(web: Web, folder: Path) -> None:
    web.add("/o/r/resolve/v1.0/sub/m.gguf", Page(CONTENT))
    assert pull("hf:o/r@v1.0/sub/m.gguf", folder, web).path.read_bytes() == CONTENT


def test_the_only_file_of_a_repository(web: Web, folder: Path) -> None:
    web.add_json("/api/models/o/r/revision/main", {"siblings": [{"rfilename": "README.md"}, {"rfilename": "m.gguf"}]})
    web.add(HUB, Page(CONTENT))
    assert pull("hf:o/r", folder, web).path.read_bytes() == CONTENT
    web.add_json("/api/models/o/r/revision/main", {"siblings": [{"rfilename": "a.gguf"}, {"rfilename": "b.gguf"}]})
    with pytest.raises(UnknownModel, match=r"homeport pull hf:o/r/a\.gguf\n  homeport pull hf:o/r/b\.gguf"):
        pull("hf:o/r", folder, web)
    web.add_json("/api/models/o/r/revision/main", {})
    with pytest.raises(UnknownModel, match="no GGUF"):
        pull("hf:o/r", folder, web)


@pytest.mark.parametrize("status", [401, 403])
def test_a_hub_that_wants_a_token(web: Web, folder: Path, status: int) -> None:
    web.add(HUB, Page(statuses=[status] * 9))
    with pytest.raises(Unreachable, match="HF_TOKEN") as caught:
        pull("hf:o/r/m.gguf", folder, web, TOKEN)
    assert TOKEN not in str(caught.value)


def test_a_hub_that_is_not_there(folder: Path) -> None:
    with pytest.raises(Unreachable, match="hub cannot be reached"):
        pull("hf:o/r/m.gguf", folder, token=TOKEN)


@pytest.mark.parametrize(
    "name", ["hf:../../x.gguf", "hf:o/../x.gguf", "hf:o/r/../../x.gguf", "hf:o/r@../x.gguf", "hf:o", "hf:", "hf:/o/r"]
)
def test_names_that_lead_elsewhere_on_the_hub(web: Web, folder: Path, name: str) -> None:
    with pytest.raises(PullError):
        pull(name, folder, web)
    assert web.seen == []


# Addresses and paths


@pytest.mark.parametrize(
    "name", ["My Model.Q4_K_M.gguf", "%2e%2e%2f%2e%2e%2fevil.gguf", "..%5c..%5cevil.gguf", "...gguf"]
)
def test_an_address_cannot_choose_where_it_is_put(web: Web, folder: Path, name: str) -> None:
    name = urllib.parse.quote(name, safe="%")
    pulled = pull(web.add(f"/a/{name}", Page(CONTENT)) + "?download=true", folder)
    assert pulled.path.read_bytes() == CONTENT
    assert pulled.path.resolve().is_relative_to(folder.resolve() / pulled.name)
    assert pulled.path.parent.parent == folder
    assert [one.name for one in folder.iterdir()] == [pulled.name]
    assert models.find(pulled.name, folder) == pulled.path


@pytest.mark.parametrize("name", ["m.bin", "m.pt", "m.pkl", "m.safetensors.pickle", "m.txt", "m", ""])
def test_formats_that_are_not_taken(web: Web, folder: Path, name: str) -> None:
    with pytest.raises(Refused):
        pull(web.add(f"/{name}", Page(CONTENT)), folder)
    assert web.seen == []


def test_what_is_called_gguf_and_is_a_web_page(web: Web, folder: Path) -> None:
    with pytest.raises(Refused, match="something else"):
        pull(web.add("/m.gguf", Page(b"<html>Sign in</html>")), folder)
    assert models.find("m", folder) is None
    assert list(folder.rglob("*.gguf")) == []


def test_secrets_of_an_address_are_not_told(web: Web, folder: Path) -> None:
    plain = web.url.removeprefix("http://")
    web.add("/m.gguf", Page(statuses=[403] * 9))
    with pytest.raises(Unreachable) as caught:
        pull(f"http://user:secret1@{plain}/m.gguf?signature=secret2", folder)
    assert "secret" not in str(caught.value)
    assert web.seen[0].headers["authorization"].startswith("Basic ")


def test_a_path_is_used_where_it_lies(tmp_path: Path, folder: Path) -> None:
    mine = tmp_path / "Mine.gguf"
    mine.write_bytes(CONTENT)
    for wanted in (str(mine), f"file:{mine}"):
        pulled = pull(wanted, folder)
        assert (pulled.name, pulled.path) == ("mine", mine)
    assert models.find("mine", folder) == mine
    assert not (folder / "mine" / "Mine.gguf").exists()
    mine.unlink()
    assert models.find("mine", folder) is None
    assert "is gone" in models.verify(folder)[0].what


def test_paths_that_cannot_be_used(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "no.gguf").write_bytes(b"something else")
    (tmp_path / "folder.gguf").mkdir()
    for wanted in ("no.gguf", "folder.gguf", "none.gguf"):
        with pytest.raises(PullError):
            pull(f"file:{tmp_path / wanted}", folder)
    assert models.installed(folder) == []


@pytest.mark.parametrize("name", ["nothing", "../nothing", "", "ftp://127.0.0.1/m.gguf", "s3://b/m.gguf"])
def test_a_name_that_nobody_knows(folder: Path, name: str) -> None:
    with pytest.raises(PullError, match="hf:OWNER/REPO/FILE"):
        pull(name, folder)


def test_a_folder_that_cannot_be_written(tmp_path: Path, web: Web) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(PullError, match="file"):
        pull(web.add("/m.gguf", Page(CONTENT)), tmp_path / "file" / "models")
