"""Files: how fast they come in and go out and what memory that takes, and a long list from its first page to its last.

The bytes are made before the clock runs, and are not the same twice. One connection sends a file through `/v1/files`,
four the parts of an upload; what is timed is all of it, until the answer.
"""

import http.client
import json
import os
import sqlite3
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import processes
from bench.processes import KEY, Served
from bench.report import Goal, ratio, table

MB = 2**20
#: Of parts of an upload, and how many are sent side by side.
PART, AT_ONCE = 64 * MB, 4
PAGE = 100
#: Pages at either end of the list whose medians are compared.
ENDS = 100
_PIECE = MB
_BOUNDARY = "bench-6c9f1d2e8a"
_SETTINGS = """\
[models.echo]
engine = "echo"
"""


@dataclass
class Files:
    """megabytes: of the file and of the upload. rates: what was done -> MiB a second, of each round. peak: bytes that
    the server has held at most beyond what it held before. listed: files in the list; first, last: milliseconds of a
    page at either end, whole: of the longest page there is."""

    megabytes: dict[str, int]
    listed: int
    rates: dict[str, list[float]] = field(default_factory=dict)
    peak: int = 0
    first: float = 0.0
    last: float = 0.0
    whole: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        sizes = {**self.megabytes, "content": 0}
        rows = [
            [
                f"{name}, {sizes[name]} MiB" if sizes[name] else f"{name}, of both",
                f"{statistics.median(rates):.0f} MiB/s",
            ]
            for name, rates in self.rates.items()
        ]
        rows += [
            ["the server's memory, at most beyond what it held before", f"{self.peak / 1e6:.0f} MB"],
            [f"a page of {PAGE}, the first ones", f"{self.first:.2f} ms"],
            [f"a page of {PAGE}, the last ones", f"{self.last:.2f} ms"],
            ["a page of 10,000", f"{self.whole:.0f} ms"],
        ]
        return f"files; a list of {self.listed:,}\n" + table(["", "median"], rows)

    def goals(self) -> list[Goal]:
        """Megabytes a second are of the machine's disk; memory and the list are ours."""
        return [
            Goal("memory that files of any size take", self.peak / 1e6, 50, 30, unit=" MB"),
            Goal(
                "a page at the end of a long list, of one at its beginning",
                ratio(self.last, self.first),
                1.5,
                1.1,
                unit="x",
            ),
        ]


def run(folder: Path, *, megabytes: int, upload_megabytes: int, listed: int, rounds: int) -> Files:
    """Raises NotStarted."""
    found = Files({"/v1/files": megabytes, "/v1/uploads": upload_megabytes}, listed)
    pieces = [os.urandom(_PIECE) for _ in range(64)]
    with processes.homeport(folder, _SETTINGS, core=processes.cores()[0]) as server:
        small, _ = _sent(server, pieces, 1)
        _read(server, small)
        before = _peak(server.pid)
        for _ in range(rounds):
            for name, work in (("/v1/files", _sent), ("/v1/uploads", _uploaded)):
                file_id, seconds = work(server, pieces, found.megabytes[name])
                found.rates.setdefault(name, []).append(found.megabytes[name] / seconds)
                seconds = _read(server, file_id)
                found.rates.setdefault("content", []).append(found.megabytes[name] / seconds)
                _asked(server, "DELETE", f"/v1/files/{file_id}")
        found.peak = _peak(server.pid) - before
        _fill(folder / "homeport" / "state.db", small, listed)
        _look(server, found)
    return found


def _look(server: Served, found: Files) -> None:
    """One of the first pages, one of the last, and again: so that what else the machine does meets both."""
    places = [after for after, _ in _pages(server, PAGE)]
    ends = min(ENDS, len(places) // 2)
    first, last = [], []
    for place in range(ends):
        first.append(_page(server, PAGE, places[place])[1])
        last.append(_page(server, PAGE, places[-1 - place])[1])
    found.first, found.last = statistics.median(first), statistics.median(last)
    found.whole = statistics.median(milliseconds for _, milliseconds in _pages(server, 10_000))


def _sent(server: Served, pieces: list[bytes], megabytes: int) -> tuple[str, float]:
    """The id of a file, and the seconds that it took."""
    began = time.perf_counter()
    made = _form(server, "/v1/files", {"purpose": "user_data"}, "file", pieces, megabytes, first=0)
    return str(made["id"]), time.perf_counter() - began


def _uploaded(server: Served, pieces: list[bytes], megabytes: int) -> tuple[str, float]:
    began = time.perf_counter()
    asked = {"bytes": megabytes * MB, "filename": "a", "mime_type": "x/y", "purpose": "user_data"}
    upload = _asked(server, "POST", "/v1/uploads", asked)
    path = f"/v1/uploads/{upload['id']}"
    sizes = [min(PART // MB, megabytes - at) for at in range(0, megabytes, PART // MB)]

    def part(place: int) -> str:
        made = _form(server, f"{path}/parts", {}, "data", pieces, sizes[place], first=place + 1)
        return str(made["id"])

    with ThreadPoolExecutor(AT_ONCE) as pool:
        parts = [*pool.map(part, range(len(sizes)))]
    done = _asked(server, "POST", f"{path}/complete", {"part_ids": parts})
    return str(done["file"]["id"]), time.perf_counter() - began


def _form(
    server: Served, path: str, fields: dict[str, str], name: str, pieces: list[bytes], megabytes: int, *, first: int
) -> Any:
    """first: the piece to begin with, so that parts differ."""
    head = b"".join(
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode()
        for field, value in fields.items()
    )
    head += f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="a"\r\n\r\n'.encode()
    tail = f"\r\n--{_BOUNDARY}--\r\n".encode()

    def body() -> Iterator[bytes]:
        yield head
        for place in range(megabytes):
            yield pieces[(first + place) % len(pieces)]
        yield tail

    with closing(_connection(server)) as connection:
        headers = {
            "Authorization": f"Bearer {KEY}",
            "Content-Type": f"multipart/form-data; boundary={_BOUNDARY}",
            "Content-Length": str(len(head) + megabytes * MB + len(tail)),
        }
        connection.request("POST", path, body(), headers)
        return _answer(connection)


def _asked(server: Served, method: str, path: str, body: Any = None) -> Any:
    with closing(_connection(server)) as connection:
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        return _answer(connection)


def _answer(connection: http.client.HTTPConnection) -> Any:
    response = connection.getresponse()
    answered = response.read()
    if response.status != 200:
        raise processes.NotStarted(f"the server answers {response.status}: {answered[:500]!r}")
    return json.loads(answered)


def _read(server: Served, file_id: str) -> float:
    """Seconds until all of it was there."""
    with closing(_connection(server)) as connection:
        began = time.perf_counter()
        connection.request("GET", f"/v1/files/{file_id}/content", headers={"Authorization": f"Bearer {KEY}"})
        response = connection.getresponse()
        while response.read(MB):
            pass
        return time.perf_counter() - began


def _pages(server: Served, limit: int) -> Iterator[tuple[str, float]]:
    """After which file each begins, and the milliseconds that it took, from the first to the last."""
    after: str | None = ""
    while after is not None:
        began = after
        after, milliseconds = _page(server, limit, began)
        yield began, milliseconds


def _page(server: Served, limit: int, after: str) -> tuple[str | None, float]:
    """After which file the next one begins."""
    with closing(_connection(server)) as connection:
        connection.connect()
        began = time.perf_counter()
        path = f"/v1/files?limit={limit}{after and f'&after={after}'}"
        connection.request("GET", path, headers={"Authorization": f"Bearer {KEY}"})
        raw = connection.getresponse().read()
        milliseconds = (time.perf_counter() - began) * 1000
    page = json.loads(raw)
    return page["last_id"] if page["has_more"] else None, milliseconds


def _fill(database: Path, like: str, count: int) -> None:
    """So many files of the bytes that one has, beside the server, which does not mind."""
    columns = "project_id, filename, purpose, bytes, digest, created_at, status"
    one = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(
            f"{one} INSERT INTO files (id, {columns}) "  # noqa: S608
            f"SELECT 'file-' || printf('%024d', n.i), {columns} FROM n, files WHERE files.id = ?",
            (count - 1, like),
        )


def _connection(server: Served) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", server.port, timeout=600, blocksize=_PIECE)


def _peak(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmHWM:")) * 1024
