"""A scripted upstream: HTTP/1.1 by hand over real loopback sockets, which records what comes and behaves as it is told.

    with fake_upstream() as fake:
        fake.script.append(status(503))          # the next request
        fake.by_model["slow"] = silence          # every request for this model
        ...                                      # any other request is answered well

A behaviour is a function of a `Visit`. It may send what it likes; a connection that it does not close is kept.
"""

import base64
import json
import re
import socket
import ssl
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

#: Seconds after which a socket of the fake gives up, so that no test hangs.
PATIENCE = 90.0
SMALL_BUFFER = 16 * 1024

USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 7,
    "total_tokens": 18,
    "prompt_tokens_details": {"cached_tokens": 3},
}
TEXT = "Grüße, 世界 🏡!"


@dataclass(frozen=True)
class FormPart:
    name: str
    filename: str | None
    kind: str | None
    content: bytes

    @classmethod
    def of(cls, part: bytes) -> "FormPart":
        top, _, content = part.partition(b"\r\n\r\n")
        lines = top.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        found = re.fullmatch(
            r'form-data; name="([^"]*)"(?:; filename="([^"]*)")?', headers.pop("content-disposition"), re.DOTALL
        )
        assert found is not None
        kind = headers.pop("content-type", None)
        assert not headers, headers
        return cls(found[1], found[2], kind, content)


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
        """Of a form its fields; those of a name with `[]` are a list."""
        if not self.headers.get("content-type", "").startswith("multipart/"):
            return json.loads(self.body)
        fields: dict[str, Any] = {}
        for part in self.parts:
            if part.filename is None and part.name.endswith("[]"):
                fields.setdefault(part.name, []).append(part.content.decode())
            elif part.filename is None:
                fields[part.name] = part.content.decode()
        return fields

    @property
    def parts(self) -> "list[FormPart]":
        """Of a form, in their order."""
        boundary = self.headers["content-type"].partition("boundary=")[2].encode()
        first, *parts, last = (b"\r\n" + self.body).split(b"\r\n--" + boundary)
        assert (first, last) == (b"", b"--\r\n"), "a form has a beginning and an end"
        return [FormPart.of(part.removeprefix(b"\r\n")) for part in parts]

    @property
    def sound(self) -> bytes:
        """The file of a form."""
        return next(part.content for part in self.parts if part.filename is not None)

    @property
    def stream(self) -> bool:
        return bool(self.body) and bool(self.json.get("stream"))

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)
        self.sent += len(data)

    def hurry(self) -> None:
        """With a buffer for what is large."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * 2**20)

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


def reranked(visit: Visit) -> bytes:
    """Texts that share more words with the query are before others; the best first."""
    wanted = {*visit.json["query"].lower().split()}
    texts = visit.json["documents"]
    shared = [len(wanted & {*text.lower().split()}) / max(1, len(wanted)) for text in texts]
    best = sorted(range(len(texts)), key=lambda at: -shared[at])[: visit.json.get("top_n", len(texts))]
    results = [{"index": at, "relevance_score": shared[at]} for at in best]
    answer = {"id": "rerank-fake", "model": f"{visit.json['model']}-2024", "results": results}
    tokens = sum(len(text.split()) + len(wanted) for text in texts)
    return json.dumps({**answer, "usage": {"total_tokens": tokens}}, indent=1).encode()


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


SECONDS = 7
SOUND = b"ID3" + bytes(range(256)) * 40
SUBTITLES = f"1\n00:00:00,000 --> 00:00:07,000\n{TEXT}\n\n"
DURATION = {"type": "duration", "seconds": SECONDS}
TOKENS_HEARD = {
    "type": "tokens",
    "total_tokens": 45,
    "input_tokens": 40,
    "input_token_details": {"text_tokens": 5, "audio_tokens": 35},
    "output_tokens": 5,
}
TOKENS_SPOKEN = {"input_tokens": 14, "output_tokens": 101, "total_tokens": 115}


def transcript_events(*, done: bool = True, usage: Any = TOKENS_HEARD) -> list[bytes]:
    pieces = [TEXT[:3], TEXT[3:9], TEXT[9:]]
    found = [event({"type": "transcript.text.delta", "delta": piece}) for piece in pieces]
    last = {"type": "transcript.text.done", "text": TEXT, **({"usage": usage} if usage else {})}
    return [*found, event(last)] if done else found


def speech_events(*, done: bool = True) -> list[bytes]:
    pieces = [SOUND[:3000], SOUND[3000:]]
    found = [event({"type": "speech.audio.delta", "audio": base64.b64encode(one).decode()}) for one in pieces]
    return [*found, event({"type": "speech.audio.done", "usage": TOKENS_SPOKEN})] if done else found


def hear(visit: Visit) -> None:
    """whisper-1 tells a duration and does not stream; any other name its tokens."""
    asked = visit.json
    whisper = asked["model"].startswith("whisper")
    form = asked.get("response_format", "json")
    if asked.get("stream") == "true" and not whisper:
        stream(visit, transcript_events())
    elif form in ("text", "srt", "vtt"):
        text = SUBTITLES if form == "srt" else f"{TEXT}\n"
        visit.send(whole(text.encode(), content_type="text/plain; charset=utf-8"))
    elif form == "verbose_json":
        verbose = {"task": "transcribe", "language": "german", "duration": 6.6, "text": TEXT, "segments": []}
        visit.send(whole(json.dumps(verbose).encode()))
    else:
        usage = DURATION if whisper else TOKENS_HEARD
        plain = {"text": TEXT, **({"usage": usage} if "transcriptions" in visit.path else {})}
        visit.send(whole(json.dumps(plain, ensure_ascii=False, indent=1).encode()))


def speak(visit: Visit) -> None:
    if visit.json.get("stream_format") == "sse":
        stream(visit, speech_events())
        return
    visit.send(head(content_type="audio/mpeg", transfer_encoding="chunked"))
    for place in range(0, len(SOUND), 4000):
        visit.send(chunked(SOUND[place : place + 4000]))
    visit.send(b"0\r\n\r\n")


def png(side: int = 2, colour: int = 0x40) -> bytes:
    """A picture of one colour, as small as one is."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + bytes([colour, 0x80, 0xC0]) * side for _ in range(side))
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


PICTURE_URL = "https://far.example/picture.png?sig=1"
TOKENS_DRAWN = {
    "input_tokens": 30,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 20},
    "output_tokens": 272,
    "total_tokens": 302,
}


def pictures(visit: Visit) -> list[dict[str, Any]]:
    """As many as are asked for, each of another colour: addresses from dall-e, unless it is asked for bytes; bytes from
    everybody else."""
    asked = visit.json
    count = int(asked.get("n", 1))
    if asked["model"].startswith("dall-e") and asked.get("response_format") != "b64_json":
        return [{"url": f"{PICTURE_URL}&n={number}"} for number in range(count)]
    return [{"b64_json": base64.b64encode(png(colour=number)).decode()} for number in range(count)]


def drawn_events(visit: Visit, *, completed: bool = True) -> list[bytes]:
    """One picture in the making, then those that are finished."""
    kind = "image_generation" if "generations" in visit.path else "image_edit"
    more = {"created_at": 1_700_000_000, "size": "1024x1024", "quality": "low", "background": "opaque"}
    more["output_format"] = "png"
    found = [
        {"type": f"{kind}.completed", "b64_json": one["b64_json"], **more, "usage": TOKENS_DRAWN}
        for one in pictures(visit)
    ]
    partial = {**found[0], "type": f"{kind}.partial_image", "partial_image_index": 0}
    del partial["usage"]
    return [event(one) for one in [partial, *found]][: None if completed else -1]


def draw(visit: Visit) -> None:
    """gpt-image counts tokens, says what it made, streams, and knows no `response_format`."""
    asked = visit.json
    gpt = asked["model"].startswith("gpt-image")
    if gpt and "response_format" in asked:
        error = {"message": "Unknown parameter: 'response_format'.", "param": "response_format", "code": None}
        visit.send(whole(json.dumps({"error": error}).encode(), 400))
    elif gpt and visit.stream:
        stream(visit, drawn_events(visit))
    else:
        told = {"size": "1024x1024", "quality": "low", "output_format": "png", "usage": TOKENS_DRAWN} if gpt else {}
        answer = {"created": 1_700_000_000, "data": pictures(visit), **told, "x_extra": {"kept": 1.5}}
        visit.send(whole(json.dumps(answer, indent=1).encode()))


def stream(visit: Visit, found: list[bytes]) -> None:
    visit.send(STREAM_HEAD)
    for one in found:
        visit.send(chunked(one))
    visit.send(b"0\r\n\r\n")


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
    elif "/audio/speech" in visit.path:
        speak(visit)
    elif "/audio/" in visit.path:
        hear(visit)
    elif "/images/" in visit.path:
        draw(visit)
    elif visit.path.endswith("/rerank"):
        visit.send(whole(reranked(visit)))
    elif visit.stream:
        stream(visit, events(visit))
    else:
        visit.send(whole(plain_answer(visit), x_upstream="told", openai_organization="the-upstreams"))


class FakeUpstream:
    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.script: deque[Behaviour] = deque()
        self.by_model: dict[str, Behaviour] = {}
        self.otherwise: Behaviour = answer_well
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
            behaviour = self.script.popleft() if self.script else self.by_model.get(model, self.otherwise)
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


def until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Poll for what another thread will do: often at first, then more seldom, as looking takes of the same cores."""
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        if waited > seconds:
            return False
        time.sleep(min(0.005 + waited / 10, 0.1))
    return True
