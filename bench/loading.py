"""One run of the load generator: a request sent over and over, every answer checked, CPU of the server beside it."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.build import program
from bench.processes import KEY, Served, cores

PATH = "/v1/chat/completions"


@dataclass(frozen=True)
class Sample:
    """What one run showed. rate: good answers per second, cpu_us: the server's CPU for one of them.

    first_*, whole_*: microseconds to the first byte of the body and to its end. errors: answers that were no success or
    not whole, and connections that were not made. busy: share of the measuring core that load and upstream used.
    """

    count: int
    errors: int
    seconds: float
    rate: float
    cpu_us: float
    events: int
    tokens: int
    whole_p50: float
    whole_p99: float
    first_p50: float
    first_p99: float
    busy: float


def request_file(folder: Path, body: Mapping[str, Any], *, key: str = KEY, path: str = PATH) -> Path:
    """A whole HTTP request in a file, with headers as an SDK sends them."""
    data = json.dumps(body, separators=(",", ":")).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        "host: 127.0.0.1",
        "content-type: application/json",
        "accept: application/json",
        "user-agent: bench",
        f"authorization: Bearer {key}",
        f"content-length: {len(data)}",
    ]
    file = folder / f"request-{len(list(folder.glob('request-*')))}"
    file.write_bytes("\r\n".join([*lines, "", ""]).encode() + data)
    return file


def command(port: int, request: Path, connections: int, *, seconds: float, most: int = 0) -> list[str]:
    """The load generator's command line. most: requests in all; 0 for as many as go into `seconds`."""
    return [str(program("load")), str(port), str(request), str(connections), str(seconds), str(most)]


def measure(
    server: Served,
    request: Path,
    connections: int,
    *,
    seconds: float = 600.0,
    most: int = 0,
    port: int | None = None,
    helper: Served | None = None,
    pinned: bool = True,
) -> Sample:
    """helper: the upstream, whose CPU is the measuring core's. pinned: the load stays on its core."""
    cpu, helped = server.cpu(), helper.cpu() if helper else 0.0
    process = subprocess.Popen(
        command(port or server.port, request, connections, seconds=seconds, most=most), stdout=subprocess.PIPE
    )
    if pinned:
        os.sched_setaffinity(process.pid, {cores()[1]})
    printed, _ = process.communicate()
    said = json.loads(printed)
    used = server.cpu() - cpu
    return sample(said, used=used, helped=(helper.cpu() - helped) if helper else 0.0)


def sample(said: Mapping[str, Any], *, used: float, helped: float) -> Sample:
    """said: the load generator's JSON. used, helped: CPU seconds of the server and of the upstream."""
    count = said["count"]
    whole, first = said["whole_us"], said["first_us"]
    return Sample(
        count=count,
        errors=sum(said["errors"].values()),
        seconds=said["seconds"],
        rate=count / max(said["seconds"], 1e-9),
        cpu_us=used / count * 1e6 if count else float("inf"),
        events=said["events"],
        tokens=said["tokens"],
        whole_p50=whole["p50"],
        whole_p99=whole["p99"],
        first_p50=first["p50"],
        first_p99=first["p99"],
        busy=(said["cpu_seconds"] + helped) / max(said["seconds"], 1e-9),
    )
