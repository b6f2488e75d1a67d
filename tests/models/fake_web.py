"""A small web of our own on a loopback port: files with ranges, redirects, tokens, faults; a hub, an index."""

import hashlib
import io
import json
import re
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GGUF = b"GGUF\x03\0\0\0"


def weights(size: int = 300_000, *, seed: int = 1) -> bytes:
    """Bytes that do not compress, with the beginning of a GGUF."""
    blocks = [hashlib.sha256(f"{seed} {number}".encode()).digest() for number in range(size // 32 + 1)]
    return (GGUF + b"".join(blocks))[:size]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def zipped(**members: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


@dataclass
class Page:
    """What is at one path.

    cuts: after how many bytes each next answer breaks off; statuses: what the next answers say instead of 200.
    token: an Authorization header that must come. tag: the ETag; None sends none. ranges: whether Range is honoured.
    """

    content: bytes = b""
    kind: str = "application/octet-stream"
    tag: str | None = '"one"'
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    redirect: str | None = None
    token: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    length: bool = True


@dataclass(frozen=True)
class Seen:
    method: str
    path: str
    headers: dict[str, str]


class Web:
    """pages: by path; seen: every request, in order. url: without a slash at its end."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.pages: dict[str, Page] = {}
        self.seen: list[Seen] = []

    def add(self, path: str, page: Page) -> str:
        self.pages[path] = page
        return self.url + path

    def add_json(self, path: str, body: Any) -> str:
        return self.add(path, Page(json.dumps(body).encode(), kind="application/json"))

    def gets(self, path: str) -> list[Seen]:
        return [one for one in self.seen if one.path == path and one.method == "GET"]

    def add_wheel(self, name: str, version: str, content: bytes, *, digest: str | None = None) -> str:
        """A release in the simple index under /simple. Returns the wheel's path."""
        file = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        self.add(f"/files/{file}", Page(content))
        listed = {
            "filename": file,
            "url": f"../../files/{file}#sha256=0",
            "size": len(content),
            "hashes": {"sha256": digest or sha256(content)},
        }
        body = {"meta": {"api-version": "1.0"}, "name": name, "files": [listed]}
        self.add_json(f"/simple/{name}/", body)
        return f"/files/{file}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: Web

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.web.seen.append(Seen(self.command, path, {name.lower(): value for name, value in self.headers.items()}))
        page = self.web.pages.get(path)
        if page is None:
            return self._status(404)
        if page.token is not None and self.headers.get("Authorization") != page.token:
            return self._status(401)
        if page.statuses:
            return self._status(page.statuses.pop(0))
        if page.redirect is not None:
            return self._status(302, Location=page.redirect, **page.headers)
        self._content(page, body)

    def _status(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _content(self, page: Page, body: bool) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        same = self.headers.get("If-Range") in (None, page.tag)
        start = int(asked[1]) if asked and page.ranges and same else 0
        if asked and page.ranges and same and start >= len(page.content):
            return self._status(416)
        content = page.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", page.kind)
        if page.length:
            self.send_header("Content-Length", str(len(content)))
        if page.tag:
            self.send_header("ETag", page.tag)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(page.content) - 1}/{len(page.content)}")
        for name, value in page.headers.items():
            self.send_header(name, value)
        cut = page.cuts.pop(0) if body and page.cuts else None
        if cut is not None or not page.length:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if body:
            self.wfile.write(content if cut is None else content[:cut])

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running() -> Iterator[Web]:
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    web = Web(f"http://127.0.0.1:{server.server_address[1]}")
    handler.web = web  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
