"""The processes of a measurement: started on free ports in a folder of their own, each on its core, ended with it.

What is measured runs on one core, and what measures it (the load and the fake upstream) on another.
"""

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.build import program

KEY = "sk-bench-0123456789abcdef"
INSTALL_NGINX = "apt-get install nginx-light"
INSTALL_REDIS = "apt-get install redis-server"
INSTALL_LITELLM = "python3 -m venv DIR && DIR/bin/pip install 'litellm[proxy]', then --litellm DIR/bin/litellm"
_TICKS = os.sysconf("SC_CLK_TCK")

HOMEPORT = """\
[upstreams.fake]
base_url = "http://127.0.0.1:{upstream}/v1"
models = ["gpt-4o-mini"]
connections = 8192

[models.echo]
engine = "echo"

[tiers.home.default]  # every step is on, and none refuses the load
max_requests_per_1_minute = 1_000_000_000
max_tokens_per_1_minute = 1_000_000_000_000
"""

NGINX = """\
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
{user}
events {{ worker_connections 16384; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_max_body_size 32m;
  client_body_buffer_size 1m;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream fake {{ server 127.0.0.1:{upstream}; keepalive 4096; keepalive_requests 1000000000; }}
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  server {{ listen 127.0.0.1:{plain}; location / {{ proxy_pass http://fake; }} }}
  server {{ listen 127.0.0.1:{stream}; location / {{ proxy_pass http://fake; proxy_buffering off; }} }}
}}
"""


LITELLM = """\
model_list:
  - model_name: gpt-4o-mini
    litellm_params: {{model: openai/gpt-4o-mini, api_base: "http://127.0.0.1:{upstream}/v1", api_key: sk-upstream}}
general_settings: {{master_key: {key}}}
litellm_settings: {{telemetry: false}}
"""


class NotStarted(Exception):
    """A process ended, or did not answer in time; the message has its last words."""


@dataclass(frozen=True)
class Served:
    """A server that answers. stream_port: where it takes streams, if that is another port."""

    pid: int
    port: int
    stream_port: int

    def cpu(self) -> float:
        """CPU seconds, user and system, of the process and its children since they began, of ended ones, too."""
        return sum(_cpu(pid) for pid in tree(self.pid))

    def rss(self) -> int:
        """Resident bytes of the process and its children."""
        return sum(_rss(pid) for pid in tree(self.pid))

    def peak(self) -> int:
        """The most resident bytes that the process has held."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmHWM:")) * 1024


def cores() -> tuple[int, int]:
    """The core of what is measured, and the core of what measures; the same where there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[min(1, len(usable) - 1)]


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def raise_file_limit() -> None:
    """As many connections as the system allows, here and in every process started from here."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def environment(**more: str) -> dict[str, str]:
    """Ours, without settings of Homeport that happen to be set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOMEPORT_")}
    return kept | {"HOMEPORT_API_KEY": KEY} | more


def tree(pid: int) -> list[int]:
    """A process and all that descends from it."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(folder.name))
    found = [pid]
    for one in found:
        found += children.get(one, ())
    return found


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS


def _rss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except ProcessLookupError:  # it has ended
        return 0
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Rss:")) * 1024


@contextmanager
def running(
    command: Sequence[str | Path], log: Path, *, core: int | None = None, **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process until the block ends. log: what it prints. core: the only one that it may use."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment(**variables), cwd=log.parent)
    try:
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(process: subprocess.Popen[bytes], port: int, path: str, log: Path, *, seconds: float = 30.0) -> None:
    """Until GET `path` is answered with 200. Raises NotStarted."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        if answers(port, path):
            return
        time.sleep(0.002)
    last_words = log.read_text(errors="replace")[-2000:]
    raise NotStarted(f"{process.args!r} does not answer {path} with 200 on port {port}:\n{last_words}")


def wait_to_listen(process: subprocess.Popen[bytes], port: int) -> None:
    """Raises NotStarted."""
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return
        time.sleep(0.01)
    raise NotStarted(f"{process.args!r} does not listen on port {port}")


def answers(port: int, path: str) -> bool:
    """GET `path` gives 200."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET %b HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n" % path.encode())
            return connection.recv(12) == b"HTTP/1.1 200"
    except OSError:
        return False


@contextmanager
def upstream(folder: Path) -> Iterator[Served]:
    """The fake upstream, on the core of what measures. Raises NotBuilt, NotStarted."""
    port, log = free_port(), folder / "upstream.log"
    with running([program("fake_upstream"), str(port)], log, core=cores()[1]) as process:
        wait_for(process, port, "/", log)
        yield Served(process.pid, port, port)


@contextmanager
def nginx(folder: Path, upstream_port: int) -> Iterator[Served]:
    """A plain reverse proxy with one worker that keeps its connections to the upstream. Raises NotStarted."""
    executable = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if executable is None:
        raise NotStarted(f"nginx is not installed: {INSTALL_NGINX}")
    home = folder / "nginx"
    home.mkdir()
    plain, stream = free_port(), free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    settings = home / "nginx.conf"
    settings.write_text(NGINX.format(folder=home, upstream=upstream_port, plain=plain, stream=stream, user=user))
    log = home / "out.log"
    with running([executable, "-p", home, "-e", home / "error.log", "-c", settings], log, core=cores()[0]) as process:
        wait_for(process, plain, "/", log)
        yield Served(process.pid, plain, stream)


@contextmanager
def bare(folder: Path, upstream_port: int) -> Iterator[Served]:
    """The least that a gateway in Python can be. Raises NotStarted."""
    port, log = free_port(), folder / "bare.log"
    command = [sys.executable, str(Path(__file__).with_name("bare.py")), str(port), str(upstream_port), KEY]
    with running(command, log, core=cores()[0]) as process:
        wait_to_listen(process, port)
        yield Served(process.pid, port, port)


@contextmanager
def litellm(folder: Path, upstream_port: int, executable: str | None) -> Iterator[Served]:
    """LiteLLM's proxy as it comes: one worker, a master key, no database. Raises NotStarted."""
    if executable is None:
        raise NotStarted(f"LiteLLM is not installed: {INSTALL_LITELLM}")
    home = folder / "litellm"
    home.mkdir()
    settings, log, port = home / "litellm.yaml", home / "out.log", free_port()
    settings.write_text(LITELLM.format(upstream=upstream_port, key=KEY))
    command: list[str | Path] = [
        executable,
        "--config",
        settings,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--num_workers",
        "1",
    ]
    with running(command, log, core=cores()[0], LITELLM_LOCAL_MODEL_COST_MAP="True") as process:
        wait_for(process, port, "/health/liveliness", log, seconds=180)
        yield Served(process.pid, port, port)


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """The URL of a Redis that keeps nothing on disk, on the core of what measures. Raises NotStarted."""
    executable = shutil.which("redis-server")
    if executable is None:
        raise NotStarted(f"Redis is not installed: {INSTALL_REDIS}")
    port, log = free_port(), folder / "redis.log"
    command = [executable, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with running(command, log, core=cores()[1]) as process:
        wait_to_listen(process, port)
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def homeport(folder: Path, settings: str, *, core: int | None = None, path: str = "/readyz") -> Iterator[Served]:
    """`homeport serve` with these settings (TOML) until the block ends; `path` has answered. Raises NotStarted."""
    home = folder / "homeport"
    home.mkdir(parents=True, exist_ok=True)
    (home / "homeport.toml").write_text(settings)
    port, log = free_port(), home / "out.log"
    command = [sys.executable, "-m", "homeport", "serve", "--port", str(port), "--data", str(home)]
    with running([*command, "--config", str(home / "homeport.toml")], log, core=core) as process:
        wait_for(process, port, path, log, seconds=120)
        yield Served(process.pid, port, port)
