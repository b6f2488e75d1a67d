"""`models.pull` of a diffusion model: all files of a folder that are needed, and no others."""

from pathlib import Path

import pytest

from homeport.backends import models
from homeport.backends.weights.errors import DigestMismatch, UnknownModel, Unreachable
from tests import diffusion_models
from tests.models.fake_web import Page, Web, sha256

COMMIT, NEXT = "a" * 40, "b" * 40
#: What such repositories have beside it, or might.
STRANGE = (
    ".gitattributes",
    "README.md",
    "feature_extractor/preprocessor_config.json",
    "safety_checker/model.onnx",
    "text_encoder/pytorch_model.bin",
    "tokenizer/../../escaped.json",
    "unet/diffusion_pytorch_model.safetensors",
    "unet/model.onnx.py",
    "unet/model_fp16.onnx",
    "unet/model_quantized.onnx_data",
    "vae/diffusion_pytorch_model.bin",
)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return diffusion_models.stable_diffusion(tmp_path_factory.mktemp("weights") / "tiny-sd", external=True)


def files(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def publish(web: Web, content: dict[str, bytes], *, commit: str = COMMIT, revision: str = "main") -> None:
    siblings = [{"rfilename": name} for name in (*content, *STRANGE)]
    web.add_json(f"/api/models/O/Tiny_SD.v1/revision/{revision}", {"sha": commit, "siblings": siblings})
    for name, one in content.items():
        promise = {"X-Linked-Etag": f'"{sha256(one)}"'} if "model.onnx" in name else {}
        web.add(f"/O/Tiny_SD.v1/resolve/{commit}/{name}", Page(one, headers=promise, tag=f'"{sha256(one)[:40]}"'))


def pull(wanted: str, folder: Path, web: Web | None = None) -> models.Pulled:
    return models.pull(wanted, folder, hub_url=web.url if web else "http://127.0.0.1:9")


def test_a_repository(web: Web, folder: Path, own: Path) -> None:
    content = files(own)
    assert {"unet/model.onnx_data", "vae_encoder/model.onnx", "tokenizer/merges.txt"} <= content.keys()
    publish(web, content)
    pulled = pull("hf:O/Tiny_SD.v1", folder, web)
    assert pulled == models.Pulled("tiny_sd.v1", folder / "tiny_sd.v1" / "model_index.json", True)
    here = files(folder / "tiny_sd.v1")
    assert here.keys() == content.keys() | {"record.json", ".lock"}
    assert {name: here[name] for name in content} == content
    assert models.find("tiny_sd.v1", folder) == pulled.path
    assert models.verify(folder) == []
    before = len(web.seen)
    assert pull("hf:O/Tiny_SD.v1", folder, web).fresh is False
    assert [one.path for one in web.seen[before:]] == ["/api/models/O/Tiny_SD.v1/revision/main"]
    (folder / "tiny_sd.v1" / "unet" / "model.onnx_data").write_bytes(b"x" * 10)
    assert "unet/model.onnx_data has changed" in models.verify(folder)[0].what


def test_a_pull_that_breaks_off_goes_on(web: Web, folder: Path, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homeport.backends.weights.download.TRIES", 1)
    content = files(own)
    publish(web, content)
    broken = f"/O/Tiny_SD.v1/resolve/{COMMIT}/unet/model.onnx_data"
    web.pages[broken].cuts = [100]
    with pytest.raises(Unreachable, match="kept; run the same command again"):
        pull("hf:O/Tiny_SD.v1", folder, web)
    assert models.find("tiny_sd.v1", folder) is None
    assert pull("hf:O/Tiny_SD.v1", folder, web).fresh
    assert {name: one for name, one in files(folder / "tiny_sd.v1").items() if name in content} == content
    assert [one.headers.get("range") for one in web.gets(broken)] == [None, "bytes=100-"]
    assert len(web.gets(f"/O/Tiny_SD.v1/resolve/{COMMIT}/text_encoder/model.onnx")) == 1


def test_only_what_a_new_commit_has_changed_is_fetched(web: Web, folder: Path, own: Path) -> None:
    content = files(own)
    publish(web, content)
    pull("hf:O/Tiny_SD.v1", folder, web)
    changed = {**content, "unet/model.onnx_data": content["unet/model.onnx_data"][::-1]}
    del changed["unet/config.json"]
    publish(web, changed, commit=NEXT)
    assert pull("hf:O/Tiny_SD.v1", folder, web).fresh
    fetched = [one.path for one in web.seen if one.method == "GET" and f"/{NEXT}/" in one.path and ".onnx" in one.path]
    assert fetched == [f"/O/Tiny_SD.v1/resolve/{NEXT}/unet/model.onnx_data"]
    assert not (folder / "tiny_sd.v1" / "unet" / "config.json").exists()
    assert models.verify(folder) == []


def test_other_bytes_than_were_promised(web: Web, folder: Path, own: Path) -> None:
    content = files(own)
    publish(web, content)
    web.pages[f"/O/Tiny_SD.v1/resolve/{COMMIT}/unet/model.onnx"].content = b"something else"
    with pytest.raises(DigestMismatch):
        pull("hf:O/Tiny_SD.v1", folder, web)
    assert models.find("tiny_sd.v1", folder) is None


def test_a_branch(web: Web, folder: Path, own: Path) -> None:
    publish(web, files(own), revision="onnx")
    assert pull("hf:O/Tiny_SD.v1@onnx", folder, web).fresh


def test_a_model_that_is_not_in_onnx(web: Web, folder: Path) -> None:
    names = ["model_index.json", "unet/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json"]
    web.add_json("/api/models/O/R/revision/main", {"siblings": [{"rfilename": name} for name in names]})
    with pytest.raises(UnknownModel, match="without unet/model.onnx, text_encoder/model.onnx.*optimum-cli export onnx"):
        pull("hf:O/R", folder, web)


@pytest.mark.parametrize("said", ["{}", "{}/model_index.json", "file:{}"])
def test_a_folder_of_ones_own_stays_where_it_is(folder: Path, own: Path, said: str) -> None:
    pulled = pull(said.format(own), folder)
    assert pulled == models.Pulled("tiny-sd", own / "model_index.json", True)
    assert models.find("tiny-sd", folder) == own / "model_index.json"
    assert sorted(path.name for path in (folder / "tiny-sd").iterdir()) == [".lock", "record.json"]
    assert models.verify(folder) == []


def test_a_folder_of_something_else(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="There is no model"):
        pull(str(tmp_path), folder)
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(UnknownModel, match="is a diffusion model without unet/model.onnx"):
        pull(str(tmp_path), folder)
