"""What a backup is written to and read from: a folder, or one tar file.

    manifest.json         written last, so a backup without it was cut
    state/, usage/        rows of the databases (copies.py)
    blobs/, models/       bytes of files, each under the SHA-256 of it; models, under their names

It is written beside its place as *.partial and gets its name when all of it is on the disk. Everything is readable by
its owner alone.
"""

import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Protocol

import msgspec

from homeport import clock
from homeport.errors import SettingsError

#: Of the manifest and of all that it names.
FORMAT = 1
MANIFEST = "manifest.json"
PIECE = 2**20


class Entry(msgspec.Struct, frozen=True):
    """A file of the backup."""

    bytes: int
    sha256: str


class Copy(msgspec.Struct, frozen=True):
    """A table. parts: entries with its rows, in order. sequence: the largest number that it has ever given."""

    history: str
    name: str
    columns: list[str]
    rows: int
    parts: list[str]
    sequence: int | None = None


class Manifest(msgspec.Struct, frozen=True):
    """forms: of the histories that are in it (store/migrations). blobs: digest -> bytes. damaged: digests of bytes that
    were missing or other than they should be when the backup was made."""

    format: int
    homeport: str
    made_at: int
    database: str
    forms: dict[str, str]
    tables: list[Copy]
    blobs: dict[str, int]
    damaged: list[str]
    models: dict[str, Entry]
    parts: dict[str, Entry]

    @property
    def entries(self) -> Iterator[tuple[str, Entry]]:
        """Everything in it, under its name there."""
        yield from self.parts.items()
        for digest, size in self.blobs.items():
            yield blob_name(digest), Entry(size, digest)
        for name, entry in self.models.items():
            yield f"models/{name}", entry

    def __str__(self) -> str:
        rows = sum(table.rows for table in self.tables)
        size = sum(self.blobs.values())
        text = f"{rows:,} rows of {len(self.tables)} tables, {len(self.blobs):,} blobs of {size / 1e6:,.1f} MB"
        return text + (f", {len(self.models)} files of models" if self.models else "")


def blob_name(digest: str) -> str:
    return f"blobs/{digest[:2]}/{digest[2:4]}/{digest}"


class Writer(Protocol):
    """Files one after the other. Every method raises SettingsError: the place takes no more."""

    def begin(self, name: str, size: int) -> None:
        """size: bytes that are written before end()."""

    def write(self, data: bytes) -> None: ...

    def end(self) -> None: ...

    def finish(self) -> None:
        """All of it is on the disk, under its name."""

    def abandon(self) -> None:
        """Nothing of it stays."""


class Reader(Protocol):
    def open(self, name: str) -> IO[bytes]:
        """Raises SettingsError: it is not there."""

    def close(self) -> None: ...


def writer(path: Path) -> Writer:
    """Raises SettingsError: something is there already."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise SettingsError(f"{path} is there already. Choose a place for this backup where nothing is.")
    return _Tar(path) if path.suffix == ".tar" else _Folder(path)


def reader(path: Path) -> Reader:
    """Raises SettingsError."""
    if path.is_dir():
        return _FolderReader(path)
    if not path.exists():
        raise SettingsError(f"There is no backup {str(path)!r}.")
    return _TarReader(path)


def manifest(read: Reader) -> Manifest:
    """Raises SettingsError: this is none, or one that this Homeport does not know."""
    with read.open(MANIFEST) as file:
        data = file.read()
    try:
        known = msgspec.json.decode(data, type=_Format).format
        if known <= FORMAT:
            return msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:
        raise SettingsError(f"The backup's {MANIFEST} cannot be read: {error}.") from None
    raise SettingsError(f"The backup is of a newer Homeport (format {known}, this one knows {FORMAT}). Upgrade.")


class _Format(msgspec.Struct):
    format: int


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(path.name + ".partial")
        self._file: IO[bytes] | None = None
        with _told(path):
            if self._partial.exists():
                shutil.rmtree(self._partial)
            self._partial.mkdir(parents=True, mode=0o700)

    def begin(self, name: str, size: int) -> None:
        with _told(self._path):
            place = self._partial / name
            place.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(place, "xb", opener=_private)

    def write(self, data: bytes) -> None:
        assert self._file is not None
        with _told(self._path):
            self._file.write(data)

    def end(self) -> None:
        assert self._file is not None
        with _told(self._path):
            self._file.close()
        self._file = None

    def finish(self) -> None:
        with _told(self._path):
            os.sync()  # many small files: once is minutes faster than each
            if self._path.exists():
                self._path.rmdir()
            self._partial.rename(self._path)
            _sync(self._path.parent)

    def abandon(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        shutil.rmtree(self._partial, ignore_errors=True)


class _Tar:
    """Headers are tarfile's; bytes go past it, as they come."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(path.name + ".partial")
        self._left = 0
        self._size = 0
        with _told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._partial.unlink(missing_ok=True)
            self._file = open(self._partial, "xb", opener=_private)

    def begin(self, name: str, size: int) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, 0o600, int(clock.now())
        self._size = self._left = size
        with _told(self._path):
            self._file.write(info.tobuf(tarfile.PAX_FORMAT))

    def write(self, data: bytes) -> None:
        self._left -= len(data)
        with _told(self._path):
            self._file.write(data)

    def end(self) -> None:
        assert self._left == 0
        with _told(self._path):
            self._file.write(bytes(-self._size % tarfile.BLOCKSIZE))

    def finish(self) -> None:
        with _told(self._path):
            self._file.write(bytes(2 * tarfile.BLOCKSIZE))
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._partial.rename(self._path)
            _sync(self._path.parent)

    def abandon(self) -> None:
        with suppress(OSError):
            self._file.close()
        self._partial.unlink(missing_ok=True)


class _FolderReader:
    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, name: str) -> IO[bytes]:
        with _there(self._path, name):
            return (self._path / name).open("rb")

    def close(self) -> None:
        """Nothing is open."""


class _TarReader:
    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with ExitStack() as stack:
                self._tar = stack.enter_context(tarfile.open(path, "r:"))
                self._members = {info.name: info for info in self._tar if info.isreg()}
                stack.pop_all()
        except (tarfile.TarError, OSError):
            raise SettingsError(f"{path} is no backup, or one that was cut: it is no whole tar file.") from None

    def open(self, name: str) -> IO[bytes]:
        with _there(self._path, name):
            if name not in self._members:
                raise FileNotFoundError
            file = self._tar.extractfile(self._members[name])
            assert file is not None
            return file

    def close(self) -> None:
        self._tar.close()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SettingsError(f"The backup cannot be written to {path}: {error.strerror}.") from error


@contextmanager
def _there(path: Path, name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        if name == MANIFEST:
            raise SettingsError(f"{path} is no backup, or one that was cut: it has no {MANIFEST}.") from None
        raise SettingsError(f"The backup is damaged: it has no {name}.") from None
    except OSError as error:
        raise SettingsError(f"The backup cannot be read: {name}: {error.strerror}.") from error


def pieces(read: Reader, name: str, seen: Callable[[int], None] = lambda _: None) -> Iterator[bytes]:
    """Of one file. seen: is told how many bytes each has. Raises SettingsError."""
    with read.open(name) as file, _there(Path(name), name):
        while piece := file.read(PIECE):
            yield piece
            seen(len(piece))
