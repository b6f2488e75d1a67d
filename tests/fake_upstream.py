"""A scripted upstream: HTTP/1.1 by hand over real loopback sockets, which records what comes and behaves as it is told.

    with fake_upstream() as fake:
        fake.script.append(status(503))          # the next request
        fake.by_model["slow"] = silence          # every request for this model
        ...                                      # any other request is answered well

A behaviour is a function of a `Visit`. It may send what it likes; a connection that it does not close is kept.
"""

import base64
import json
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

#: Seconds after which a socket of the fake gives up, so that no test hangs.
PATIENCE = 20.0
SMALL_BUFFER = 16 * 1024

USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 7,
    "total_tokens": 18,
    "prompt_tokens_details": {"cached_tokens": 3},
}
TEXT = "Grüße, 世界 🏡!"


@dataclass
class Visit:
    """One request. headers: names in lower case. sent: bytes of the answer so far. left: the client has closed."""

    socket: socket.socket
    connection: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    sent: int = 0
    left: threading.Event = field(default_factory=threading.Event)
    closed: bool = False

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def stream(self) -> bool:
        return bool(self.body) and bool(self.json.get("stream"))

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)
        self.sent += len(data)

    def wait_until_left(self) -> None:
        """Say nothing more, and see whether the client goes."""
        while self.socket.recv(65536):
            pass
        self.left.set()
        self.closed = True

    def close(self) -> None:
        """The end, with everything before it delivered."""
        self.closed = True
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """The end at once: RST."""
        self.closed = True
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Behaviour = Callable[[Visit], None]


def plain_answer(visit: Visit) -> bytes:
    """The JSON of a whole answer, of chat or of completions; odd spacing shows whether it is passed on untouched."""
    model = visit.json["model"]
    if "chat" in visit.path:
        choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": TEXT, "refusal": None}}
        kind, name = "chat.completion", "chatcmpl-fake"
    else:
        choice, kind, name = {"index": 0, "text": TEXT, "logprobs": None}, "text_completion", "cmpl-fake"
    choice["finish_reason"] = "stop"
    answer = {"id": name, "object": kind, "created": 1_700_000_000, "model": f"{model}-2024", "choices": [choice]}
    return json.dumps({**answer, "usage": USAGE, "x_extra": {"kept": 1.50}}, ensure_ascii=False, indent=1).encode()


def embedded(text: object, *, base64_encoded: bool) -> Any:
    """A vector that tells of what it is: of length 1 only by chance."""
    letters = str(text)
    numbers = [len(letters) / 8, sum(map(ord, letters)) % 1000 / 16, 0.5, -0.25]
    return base64.b64encode(struct.pack("<4f", *numbers)).decode() if base64_encoded else numbers


def embeddings(visit: Visit) -> bytes:
    """Of each input, last first; a token for every word."""
    asked = visit.json["input"]
    inputs = asked if isinstance(asked, list) and not isinstance(asked[0], int) else [asked]
    encoded = visit.json.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": at, "embedding": embedded(one, base64_encoded=encoded)}
        for at, one in enumerate(inputs)
    ]
    tokens = sum(len(one.split()) if isinstance(one, str) else len(one) for one in inputs)
    answer = {"object": "list", "data": data[::-1], "model": f"{visit.json['model']}-2024"}
    return json.dumps({**answer, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}, indent=1).encode()


def events(visit: Visit, *, done: bool = True, finish: bool = True) -> list[bytes]:
    """The events of a streamed answer; the usage chunk is there only when it was asked for."""
    asked = bool((visit.json.get("stream_options") or {}).get("include_usage"))
    chat = "chat" in visit.path
    pieces = [TEXT[:3], TEXT[3:9], TEXT[9:]]
    chunks = [_chunk(visit, chat=chat, text=piece, first=not place) for place, piece in enumerate(pieces)]
    if finish:
        chunks.append(_chunk(visit, chat=chat, text="", finish="stop"))
    if asked:
        chunks = [{**chunk, "usage": None} for chunk in chunks]
        chunks.append({**chunks[0], "choices": [], "usage": USAGE})
    found = [event(chunk) for chunk in chunks]
    return [*found, b"data: [DONE]\n\n"] if done else found


def event(chunk: Any) -> bytes:
    return b"data: " + json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def _chunk(visit: Visit, *, chat: bool, text: str, first: bool = False, finish: str | None = None) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": 0, "finish_reason": finish}
    if chat:
        choice["delta"] = {**({"role": "assistant"} if first else {}), **({} if finish else {"content": text})}
    else:
        choice["text"] = text
    kind = "chat.completion.chunk" if chat else "text_completion"
    model = f"{visit.json['model']}-2024"
    return {"id": "fake-1", "object": kind, "created": 1_700_000_000, "model": model, "choices": [choice]}


def head(status: int = 200, **headers: str) -> bytes:
    """A status line and headers, `_` written as `-`."""
    lines = [
        f"HTTP/1.1 {status} Some Words",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def whole(body: bytes, status: int = 200, content_type: str = "application/json", **headers: str) -> bytes:
    return head(status, content_type=content_type, content_length=str(len(body)), **headers) + body


STREAM_HEAD = head(content_type="text/event-stream; charset=utf-8", transfer_encoding="chunked")


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def answer_well(visit: Visit) -> None:
    if visit.method == "GET":
        listed = [{"id": name, "object": "model", "created": 1, "owned_by": "fake"} for name in ("fake-a", "fake-b")]
        visit.send(whole(json.dumps({"object": "list", "data": listed}).encode()))
    elif visit.path.partition("?")[0].endswith("/embeddings"):
        visit.send(whole(embeddings(visit)))
    elif visit.stream:
        visit.send(STREAM_HEAD)
        for one in events(visit):
            visit.send(chunked(one))
        visit.send(b"0\r\n\r\n")
    else:
        visit.send(whole(plain_answer(visit), x_upstream="told", openai_organization="the-upstreams"))


class FakeUpstream:
    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.script: deque[Behaviour] = deque()
        self.by_model: dict[str, Behaviour] = {}
        self.received: list[Visit] = []
        self.connections = 0
        self.open = 0
        self._tls = tls
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.base_url = f"{self.url}/v1"
        self._start(self._accept)

    def received_for(self, model: str) -> list[Visit]:
        return [visit for visit in list(self.received) if visit.body and visit.json.get("model") == model]

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for one in self._sockets:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=PATIENCE)

    def _start(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, name="fake-upstream", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                accepted, _ = self._listener.accept()
                with self._lock:
                    self.connections += 1
                    self.open += 1
                    self._sockets.add(accepted)
                self._start(self._serve, accepted, self.connections)

    def _serve(self, accepted: socket.socket, number: int) -> None:
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        accepted.settimeout(PATIENCE)
        wrapped = accepted
        try:
            if self._tls is not None:
                wrapped = self._tls.wrap_socket(accepted, server_side=True)
                self._sockets.add(wrapped)
            while (visit := _read_request(wrapped, number)) is not None:
                self._behave(visit)
                if visit.closed:
                    break
        except OSError:
            pass
        finally:
            with self._lock:
                self.open -= 1
                self._sockets -= {accepted, wrapped}
            wrapped.close()
            accepted.close()

    def _behave(self, visit: Visit) -> None:
        with self._lock:
            self.received.append(visit)
            model = visit.json.get("model", "") if visit.body else ""
            behaviour = self.script.popleft() if self.script else self.by_model.get(model, answer_well)
        try:
            behaviour(visit)
        except OSError:
            visit.left.set()
            raise


def _read_request(source: socket.socket, number: int) -> Visit | None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = source.recv(65536)
        if not more:
            return None
        data += more
    top, _, body = data.partition(b"\r\n\r\n")
    line, *rest = top.decode("latin-1").split("\r\n")
    method, path, _ = line.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in rest)}
    while len(body) < int(headers.get("content-length", "0")):
        more = source.recv(65536)
        if not more:
            return None
        body += more
    return Visit(source, number, method, path, headers, body)


@contextmanager
def fake_upstream(tls: ssl.SSLContext | None = None) -> Iterator[FakeUpstream]:
    fake = FakeUpstream(tls)
    try:
        yield fake
    finally:
        fake.close()


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as once:
        port: int = once.getsockname()[1]
        return port


def dead_port() -> int:
    """A port that nobody listens on, nor will: it is taken until this process ends."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    port: int = taken.getsockname()[1]
    taken.detach()
    return port


def until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Poll for what another thread will do."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
