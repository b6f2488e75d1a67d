"""Folders of somebody who means harm, looked at from the server."""

import os
import socket
from pathlib import Path

import pytest

from homeport.sandbox import files
from homeport.sandbox.inside import tree


def found(folder: Path, **options: int) -> dict[str, bytes]:
    told = {}
    for each in files.walk(folder, **options):
        with each.open() as opened:
            told[each.path] = opened.read()
    return told


def test_files_are_found_and_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    folder = tmp_path / "cell"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "file").write_bytes(b"in b")
    (folder / "file").write_bytes(b"on top")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "folder").symlink_to(tmp_path)
    (folder / "nowhere").symlink_to("nowhere")
    os.link(tmp_path / "secret", folder / "another name")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket"))
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff")).write_bytes(b"a name that is no text")
    assert found(folder) == {"a/b/file": b"in b", "file": b"on top"}


def test_a_file_that_becomes_a_link_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for each in files.walk(tmp_path):
        (tmp_path / "file").unlink()
        (tmp_path / "file").symlink_to("/etc/passwd")
        with pytest.raises(OSError, match="symbolic links"):
            each.open()
        (tmp_path / "file").unlink()
        (tmp_path / "file").write_bytes(b"another")
        (tmp_path / "other").write_bytes(b"x")
        os.replace(tmp_path / "other", tmp_path / "file")
        with pytest.raises(OSError, match="another file by now"):
            each.open()


def test_there_is_an_end_to_it(tmp_path: Path) -> None:
    deep = tmp_path / "/".join("d" * (tree.DEPTH + 5))
    deep.mkdir(parents=True)
    (deep / "file").touch()
    assert found(tmp_path) == {}
    many = tmp_path / "many"
    many.mkdir()
    for number in range(20):
        (many / str(number)).touch()
    assert len(found(many, most=5)) == 5


def test_a_folder_goes_however_deep_it_is_and_forbidden(tmp_path: Path) -> None:
    folder = tmp_path / "cell"
    folder.mkdir()
    here = os.open(folder, os.O_RDONLY)
    for _ in range(1100):  # no path is that long
        os.mkdir("deeper", dir_fd=here)
        inner = os.open("deeper", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    (folder / "closed").mkdir()
    (folder / "closed" / "file").touch()
    (folder / "closed").chmod(0)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    (folder / "link").symlink_to(tmp_path / "kept")
    files.remove(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept" / "file").exists()
    files.remove(folder)  # there is none
