"""One file over HTTP, into place: resumed where it stopped, checked while it streams, renamed when it is whole."""

import base64
import errno
import hashlib
import http.client
import json
import os
import shutil
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from homeport import __version__
from homeport.backends.weights.errors import DigestMismatch, NoSpace, Unreachable
from homeport.backends.weights.progress import Progress

TIMEOUT_SECONDS = 30.0
TRIES = 5
_BLOCK = 1 << 18
_SPARE = 64 * 2**20


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect must not lead away from https, nor to a file; credentials stay with the host they were meant for."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        old, new = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        if req.get_method() == "HEAD" and new.netloc != old.netloc:
            return None  # what is asked for stands in this answer; the one behind it is another host's
        if new.scheme != "https" and not (old.scheme == "http" and new.scheme == "http"):
            raise Unreachable(f"{old.hostname} redirects to {new.scheme}://, which is not followed.")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and new.netloc != old.netloc:
            request.remove_header("Authorization")
        return request


class Web:
    """What fetches. ca_file: PEM authorities instead of the system's; headers: sent with every request."""

    def __init__(self, *, ca_file: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        context = ssl.create_default_context(cafile=ca_file)
        self._opener = urllib.request.build_opener(_SafeRedirects, urllib.request.HTTPSHandler(context=context))
        self._headers = {"User-Agent": f"homeport/{__version__}", **(headers or {})}

    def open(self, url: str, headers: Mapping[str, str] | None = None, *, method: str = "GET") -> Any:
        """The response. Raises Unreachable, and urllib.error.HTTPError for a status that is none of success."""
        split = urllib.parse.urlsplit(url)
        if split.scheme not in ("https", "http"):
            raise Unreachable(f"{split.scheme}: is no address to download from.")
        credentials = {}
        if split.username is not None:  # as in the addresses of private package indexes
            plain = f"{urllib.parse.unquote(split.username)}:{urllib.parse.unquote(split.password or '')}"
            credentials = {"Authorization": f"Basic {base64.b64encode(plain.encode()).decode()}"}
            url = split._replace(netloc=split.netloc.rpartition("@")[2]).geturl()
        request = urllib.request.Request(
            url, headers={**self._headers, **credentials, **(headers or {})}, method=method
        )
        try:
            return self._opener.open(request, timeout=TIMEOUT_SECONDS)
        except urllib.error.HTTPError as error:
            error.close()  # its status and headers stay
            raise

    def json(self, url: str, *, accept: str = "application/json") -> dict[str, Any]:
        host = urllib.parse.urlsplit(url).hostname
        try:
            with self.open(url, {"Accept": accept}) as response:
                found = json.loads(response.read())
        except urllib.error.HTTPError as error:
            raise Unreachable(f"{host} answers {error.code} for {shown(url)}.") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unreachable(f"{host} cannot be reached or does not answer as it should: {error}.") from None
        if not isinstance(found, dict):
            raise Unreachable(f"{host} does not answer as it should.")
        return found


def shown(url: str) -> str:
    """An address for a message: without the name, the password and the query that it may carry."""
    split = urllib.parse.urlsplit(url)
    return split._replace(netloc=split.netloc.rpartition("@")[2], query="", fragment="").geturl()


def fetch(web: Web, url: str, to: Path, *, digest: str | None, size: int = 0, what: str = "") -> str:
    """Download to `to`, which exists afterwards, whole. Returns the sha256.

    digest: `sha256:HEX` or `sha512:HEX` that the bytes must have. What is there of an earlier try (`.part`) is kept
    when the server still has the same file. Raises Unreachable, DigestMismatch, NoSpace.
    """
    part = to.with_name(to.name + ".part")
    note = to.with_name(to.name + ".part.json")
    to.parent.mkdir(parents=True, exist_ok=True)
    if size and shutil.disk_usage(to.parent).free < size + _SPARE:
        raise NoSpace(f"{to.parent} has too little room: {what or to.name} takes {size / 1e6:.0f} MB.")
    failure = ""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(min(2**attempt, 10) * 0.5)
        try:
            if _transfer(web, url, part, note, size, what or to.name):
                break
            failure = "the transfer broke off"
        except urllib.error.HTTPError as error:
            if error.code not in (408, 416, 429) and error.code < 500:
                raise Unreachable(f"The server answers {error.code} for {shown(url)}.") from None
            if error.code == 416:
                part.unlink(missing_ok=True)
            failure = f"the server answers {error.code}"
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpace(f"{to.parent} has no room left for {what or to.name}.") from None
            failure = str(error) or type(error).__name__
    else:
        raise Unreachable(
            f"{what or to.name} could not be downloaded: {failure}. What has come is kept; run the same command again."
        )
    note.unlink(missing_ok=True)
    found = check(part, digest)
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(part, to)
    return found


def _transfer(web: Web, url: str, part: Path, note: Path, size: int, what: str) -> bool:
    """One try, from where the last one stopped. True when the file is whole."""
    have = part.stat().st_size if part.exists() else 0
    validator = _validator(note, url) if have else None
    headers = {"Accept-Encoding": "identity"}
    if have and validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    with web.open(url, headers) as response:
        resumed = response.status == 206
        if not resumed:
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else size
        tag = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if not resumed:
            note.write_text(json.dumps({"url": url, "validator": tag}))
        progress = Progress(what, total)
        with part.open("ab" if resumed else "wb") as file:
            while block := response.read(_BLOCK):
                file.write(block)
                have += len(block)
                progress.at(have)
        progress.done(have)
        return not total or have >= total


def _validator(note: Path, url: str) -> str | None:
    """What the server called the file that the part belongs to; None when that is not known. Weak tags do not count."""
    try:
        kept = json.loads(note.read_text())
    except (OSError, ValueError):
        return None
    found = kept.get("validator") if isinstance(kept, dict) and kept.get("url") == url else None
    return found if isinstance(found, str) and not found.startswith("W/") else None


def check(file: Path, digest: str | None) -> str:
    """The file's sha256. Raises DigestMismatch, and removes the file, when it is not what was promised."""
    sha256, sha512 = hashlib.sha256(), hashlib.sha512()
    with file.open("rb") as opened:
        while block := opened.read(1 << 20):
            sha256.update(block)
            if digest is not None and digest.startswith("sha512:"):
                sha512.update(block)
    if digest is not None:
        kind, _, wanted = digest.partition(":")
        found = sha512.hexdigest() if kind == "sha512" else sha256.hexdigest()
        if found != wanted.lower():
            file.unlink()
            raise DigestMismatch(
                f"{file.name.removesuffix('.part')} is not the file that was promised ({kind} {found[:16]}..., not "
                f"{wanted[:16]}...). It was thrown away; do not use this source if it happens again."
            )
    return sha256.hexdigest()
