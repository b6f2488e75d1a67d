"""A small object store that speaks S3, in a thread of this process: what Homeport's client asks for, and no more.

It believes nobody: each request must be signed with its key (AWS Signature Version 4), and its body must be what was
signed. Objects appear whole. A list comes in pages of two. `answer` makes it fail: it is asked for each request, by
its method and path, and what it returns is the status in place of an answer; `hang` stops it answering.
"""

import hashlib
import hmac
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

from homeport import clock

KEY_ID = "AKIATEST"
SECRET = "secret/of+the/object+store"
REGION = "eu-test-1"
BUCKET = "homeport-test"
_PAGE = 2
_SIGNED = re.compile(r"AWS4-HMAC-SHA256 Credential=([^,]+), SignedHeaders=([^,]+), Signature=([0-9a-f]+)")


@dataclass
class FakeS3:
    """objects: name -> bytes and when they came. parts: of uploads that are not completed."""

    objects: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    answer: Callable[[str, str], int | None] = lambda method, path: None
    hang: threading.Event | None = None
    url: str = ""

    @property
    def settings(self) -> dict[str, str]:
        """Of `[files]`."""
        return {
            "store": f"s3://{BUCKET}/some/prefix",
            "s3_endpoint": self.url,
            "s3_region": REGION,
            "s3_access_key_id": KEY_ID,
            "s3_secret_access_key": SECRET,
        }


@contextmanager
def fake_s3() -> Iterator[FakeS3]:
    store = FakeS3()

    class Handler(_Handler):
        held = store

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    store.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, name="fake-s3", daemon=True)
    thread.start()
    try:
        yield store
    finally:
        if store.hang is not None:
            store.hang.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    held: FakeS3

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        url = urlsplit(self.path)
        path, query = unquote(url.path), dict(parse_qsl(url.query, keep_blank_values=True))
        self.held.requests.append(f"{self.command} {self.path}")
        if self.held.hang is not None:
            self.held.hang.wait()
        wanted = self.held.answer(self.command, self.path)
        if wanted is not None:
            self._fail(wanted, "TheyWantIt")
        elif not self._signed(body, query):
            self._fail(403, "SignatureDoesNotMatch")
        elif not path.startswith(f"/{BUCKET}"):
            self._fail(404, "NoSuchBucket")
        else:
            getattr(self, f"_{self.command.lower()}")(path.removeprefix(f"/{BUCKET}").lstrip("/"), query, body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any

    def _signed(self, body: bytes, query: dict[str, str]) -> bool:
        found = _SIGNED.fullmatch(self.headers.get("authorization") or "")
        if found is None or self.headers["x-amz-content-sha256"] != hashlib.sha256(body).hexdigest():
            return False
        scope, names = found[1].removeprefix(f"{KEY_ID}/"), found[2].split(";")
        canonical = "\n".join(
            [
                self.command,
                quote(unquote(urlsplit(self.path).path), safe="/~"),
                "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in sorted(query.items())),
                *(f"{name}:{self.headers[name].strip()}" for name in names),
                "",
                found[2],
                self.headers["x-amz-content-sha256"],
            ]
        )
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        key = b"AWS4" + SECRET.encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        text = "\n".join(["AWS4-HMAC-SHA256", self.headers["x-amz-date"], scope, digest])
        wanted = hmac.new(key, text.encode(), "sha256").hexdigest()
        return hmac.compare_digest(wanted, found[3]) and scope.split("/")[1:3] == [REGION, "s3"]

    def _head(self, name: str, query: dict[str, str], body: bytes) -> None:
        if name not in self.held.objects:
            return self._fail(404, "")
        data, since = self.held.objects[name]
        self._answer(200, b"", {"content-length": str(len(data)), **self._about(data, since)})

    def _get(self, name: str, query: dict[str, str], body: bytes) -> None:
        if "list-type" in query:
            return self._list(query)
        if name not in self.held.objects:
            return self._fail(404, "NoSuchKey")
        data, since = self.held.objects[name]
        about = self._about(data, since)
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range") or "")
        if found is None:
            return self._answer(200, data, about)
        begin, end = int(found[1]), min(int(found[2]) + 1, len(data))
        if begin >= len(data):
            return self._fail(416, "InvalidRange")
        self._answer(206, data[begin:end], {**about, "content-range": f"bytes {begin}-{end - 1}/{len(data)}"})

    def _put(self, name: str, query: dict[str, str], body: bytes) -> None:
        if "uploadId" in query:
            self.held.parts[query["uploadId"]][int(query["partNumber"])] = body
        else:
            self.held.objects[name] = (body, clock.now())
        self._answer(200, b"", {"etag": _etag(body)})

    def _post(self, name: str, query: dict[str, str], body: bytes) -> None:
        if "delete" in query:
            names = [unquote(found) for found in re.findall(r"<Key>([^<]+)</Key>", body.decode())]
            for one in names:
                self.held.objects.pop(one, None)
            deleted = "".join(f"<Deleted><Key>{escape(one)}</Key></Deleted>" for one in names)
            return self._xml(f"<DeleteResult>{deleted}</DeleteResult>")
        if "uploads" in query:
            upload = f"upload-{len(self.held.requests)}"
            self.held.parts[upload] = {}
            return self._xml(
                f"<InitiateMultipartUploadResult><Bucket>{BUCKET}</Bucket><Key>{escape(name)}</Key>"
                f"<UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
            )
        parts = self.held.parts[query["uploadId"]]
        told = re.findall(r"<PartNumber>(\d+)</PartNumber>", body.decode())
        data = b"".join(parts[int(number)] for number in told)
        del self.held.parts[query["uploadId"]]
        self.held.objects[name] = (data, clock.now())
        self._xml(
            f"<CompleteMultipartUploadResult><Bucket>{BUCKET}</Bucket><Key>{escape(name)}</Key>"
            f"<ETag>{escape(_etag(data))}</ETag></CompleteMultipartUploadResult>"
        )

    def _delete(self, name: str, query: dict[str, str], body: bytes) -> None:
        if "uploadId" in query:
            self.held.parts.pop(query["uploadId"], None)
        else:
            self.held.objects.pop(name, None)
        self._answer(204, b"", {})

    def _list(self, query: dict[str, str]) -> None:
        names = sorted(name for name in self.held.objects if name.startswith(query.get("prefix", "")))
        after = query.get("continuation-token", "")
        page = [name for name in names if name > after]
        more, page = len(page) > _PAGE, page[:_PAGE]
        shown = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{len(data)}</Size><ETag>{escape(_etag(data))}</ETag>"
            f"<LastModified>{time.strftime('%Y-%m-%dT%H:%M:%S.000Z', time.gmtime(since))}</LastModified></Contents>"
            for name in page
            for data, since in [self.held.objects[name]]
        )
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        self._xml(
            f"<ListBucketResult><Name>{BUCKET}</Name><KeyCount>{len(page)}</KeyCount>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{shown}</ListBucketResult>"
        )

    def _about(self, data: bytes, since: float) -> dict[str, str]:
        return {"etag": _etag(data), "last-modified": formatdate(since, usegmt=True)}

    def _xml(self, text: str) -> None:
        self._answer(
            200, b'<?xml version="1.0" encoding="UTF-8"?>' + text.encode(), {"content-type": "application/xml"}
        )

    def _fail(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code><Message>of {SECRET}</Message></Error>".encode(), {})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
