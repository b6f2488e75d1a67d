"""The tests of the help desk, run three times: against a fake upstream while it is recorded, then offline, twice.

What the program's SDK receives is compared by the byte.
"""

import base64
import http.client
import io
import json
import math
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.fake_upstream import STREAM_HEAD, Visit, chunked, embeddings, event, whole
from tests.recorded.application import HelpDesk
from tests.server import KEY, Running, running
from tests.upstreams.homeports import relaying

MODELS = ("gpt-4o-mini", "gpt-3.5-turbo-instruct", "text-embedding-3-small")


def the_tests(desk: HelpDesk) -> None:
    """Twice each where the same question may be answered differently."""
    assert "Anna" in desk.greet("Anna")
    assert [desk.greet("Bert") for _ in range(2)] == ["Hello, Bert! (4)", "Hello, Bert! (5)"]
    assert "".join(desk.summary("A long text.")) == "A long text, in short: grüße 🏡."
    assert desk.where_is("A-17") == "It is: shipped on Monday."
    assert desk.where_is("B-2") == "It is: waiting for parts."
    assert desk.is_angry("I hate this!")
    assert not desk.is_angry("Thank you.")
    assert desk.complete("Once") == " upon a time"
    assert desk.nearest("refund money", ["Opening hours", "How to get money back: refund"]).endswith("refund")
    with pytest.raises(openai.BadRequestError, match="Nobody has no name"):
        desk.greet("")


def brain() -> Callable[[Visit], None]:
    """What plays the model. Its answers are numbered, so that no two are the same."""
    turns = iter(range(3, 1000))

    def think(visit: Visit) -> None:
        asked = visit.json
        turn = next(turns)
        if "input" in asked:
            visit.send(whole(json.dumps({**json.loads(embeddings(visit)), "data": vectors(asked)}).encode()))
            return
        if "prompt" in asked:
            choice: dict[str, Any] = {"text": " upon a time"}
        else:
            choice = {"message": {"role": "assistant", **said(asked["messages"], turn)}}
        if choice.get("message", {}).get("content") == "":
            error = {
                "message": "Nobody has no name.",
                "type": "invalid_request_error",
                "param": None,
                "code": "no_name",
            }
            visit.send(whole(json.dumps({"error": error}).encode(), 400))
        elif asked.get("stream"):
            visit.send(STREAM_HEAD)
            text = choice["message"]["content"]
            for piece in [text[at : at + 5] for at in range(0, len(text), 5)]:
                visit.send(chunked(event(chunk(turn, [{"index": 0, "delta": {"content": piece}}]))))
            visit.send(chunked(event(chunk(turn, [{"index": 0, "delta": {}, "finish_reason": "stop"}]))))
            visit.send(chunked(event({**chunk(turn, []), "usage": usage(turn)}) + b"data: [DONE]\n\n") + b"0\r\n\r\n")
        else:
            answer = {"id": f"chatcmpl-{turn}", "object": "chat.completion", "created": turn, "model": asked["model"]}
            choices = [{"index": 0, "finish_reason": "stop", **choice}]
            visit.send(whole(json.dumps({**answer, "choices": choices, "usage": usage(turn)}, indent=1).encode()))

    return think


def vectors(asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Units, by the letters of a text; as numbers or as base64, as the SDK asks for them."""
    texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
    counts = [[text.count(letter) for letter in "refundmoy"] for text in texts]
    found = [[one / math.hypot(*each) for one in each] for each in counts]
    encode = asked.get("encoding_format") == "base64"
    written = [base64.b64encode(struct.pack("<9f", *one)).decode() if encode else one for one in found]
    return [{"object": "embedding", "index": at, "embedding": one} for at, one in enumerate(written)]


def said(messages: list[dict[str, Any]], turn: int) -> dict[str, Any]:
    last = messages[-1]
    text = last["content"]
    if last["role"] == "tool":
        return {"content": f"It is: {text}."}
    if text.startswith("Greet "):
        name = text[6:-1]
        return {"content": f"Hello, {name}! ({turn})" if name else ""}
    if text.startswith("Where is"):
        arguments = json.dumps({"order": text.split()[-1][:-1]})
        function = {"name": "order_status", "arguments": arguments}
        return {"content": None, "tool_calls": [{"id": f"call_{turn}", "type": "function", "function": function}]}
    if "JSON" in text:
        return {"content": json.dumps({"angry": "hate" in text})}
    return {"content": f"{text[:-1]}, in short: grüße 🏡."}


def chunk(turn: int, choices: list[Any]) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{turn}",
        "object": "chat.completion.chunk",
        "created": turn,
        "model": "m",
        "choices": choices,
    }


def usage(turn: int) -> dict[str, int]:
    return {"prompt_tokens": turn, "completion_tokens": 2, "total_tokens": turn + 2}


class Tap:
    """A port before another one, which keeps what comes back from there."""

    def __init__(self, port: int) -> None:
        self._behind = port
        self._heard: list[bytearray] = []
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def close(self) -> list[tuple[int, bytes]]:
        """Status and body of every answer, in the order of the connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=60)
        for one in self._sockets:
            one.close()
        return [answer for heard in self._heard for answer in answers_in(bytes(heard))]

    def _start(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._behind))
                self._sockets += [client, server]
                self._heard.append(bytearray())
                self._start(pump, client, server, bytearray())
                self._start(pump, server, client, self._heard[-1])


def pump(source: socket.socket, to: socket.socket, heard: bytearray) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            heard += data
            to.sendall(data)
    with suppress(OSError):
        to.shutdown(socket.SHUT_WR)


class Heard(io.BytesIO):
    """As http.client wants to read it: a socket and its file, which stays open for the next answer."""

    def makefile(self, *_: Any) -> "Heard":
        return self

    def close(self) -> None:
        """Not yet."""


def answers_in(data: bytes) -> Iterator[tuple[int, bytes]]:
    source: Any = Heard(data)
    while source.tell() < len(data):
        response = http.client.HTTPResponse(source)
        response.begin()
        yield response.status, response.read()


def answers(homeport: Running) -> list[tuple[int, bytes]]:
    """Runs the tests. What their SDK received."""
    tap = Tap(homeport.port)
    try:
        base_url = f"http://127.0.0.1:{tap.port}/v1"
        with openai.OpenAI(base_url=base_url, api_key=KEY, max_retries=0) as client:
            the_tests(HelpDesk(client))
    finally:
        heard = tap.close()
    return heard


def test_a_suite_that_was_recorded_runs_offline_to_the_byte(tmp_path: Path) -> None:
    tapes = str(tmp_path / "tapes")
    with relaying(tmp_path / "recording", {"recording": {"record": tapes}}) as relay:
        relay.fake.by_model |= dict.fromkeys(MODELS, brain())
        first = answers(relay.homeport)
        assert len(relay.fake.received) == len(first) == 14
    for turn in range(2):
        with running(tmp_path / f"replay-{turn}", {"recording": {"replay": tapes}}) as homeport:
            assert answers(homeport) == first
            recorder = homeport.app.recorder
            assert recorder is not None
            assert recorder.told() == "14 answers were replayed, 0 requests were not found, 0 recordings were not used"
