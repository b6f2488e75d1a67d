"""llama.cpp's library with one model in it, and the listener that it opens with every model. Everything here blocks.

- The library always opens a listener of its own, with CORS for everybody and no key. Here it is a Unix socket in a
  folder of mode 700, with a random key; tokenising goes through it.
- Its constructor puts its own SIGINT and SIGTERM handlers in place of Python's. They are put back.
- It deadlocks when it is deleted right after it was made: let it do something first, which also warms it up.
"""

import contextlib
import ctypes
import http.client
import json
import logging
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from homeport.backends.text import ModelCard
from homeport.errors import HomeportError, InvalidRequest, ModelNotReady

log = logging.getLogger("homeport.llama_cpp")

#: Among texts and tokens to be made tokens it stays what it is, and is none.
_BETWEEN = -1


def parameters(path: Path, *, threads: int) -> Any:
    """CommonParams for a model's file, as far as they are the same whatever it is used for."""
    import xllamacpp

    made = xllamacpp.CommonParams()
    made.model.path = str(path)
    made.ctx_shift = False
    made.cache_ram_mib = 0
    made.cpuparams.n_threads = threads
    made.cpuparams_batch.n_threads = threads
    made.ui = False
    made.endpoint_slots = False
    made.verbosity = -1
    return made


class LlamaServer:
    """library: what answers requests, with the GIL released. folder: of its socket; key: what its listener asks for."""

    def __init__(self, path: Path, parameters: Any) -> None:
        """Loads the model. Raises ModelNotReady where llama.cpp cannot."""
        import xllamacpp

        self.folder = tempfile.mkdtemp(prefix="homeport-")  # mode 700
        self.key = secrets.token_urlsafe(24)
        self.version = str(getattr(xllamacpp, "__version__", ""))
        self.library: Any = None
        self._connections = threading.local()
        self._opened: list[http.client.HTTPConnection] = []
        parameters.hostnames = [f"{self.folder}/llama.sock"]
        parameters.api_keys = [self.key]
        try:
            with _pythons_signal_handlers():
                self.library = xllamacpp.Server(parameters)
        except RuntimeError:
            self.close()
            raise ModelNotReady(
                f"llama.cpp cannot load {path.name}: its architecture is unknown, the file is damaged, or memory is "
                "too small."
            ) from None

    def about(self) -> dict[str, Any]:
        """What it says of the model: `n_vocab`, `n_ctx_train`, `n_embd`, ..."""
        meta: dict[str, Any] = self.look_up("GET", "/v1/models")["data"][0]["meta"]
        return meta

    def card(self, context_length: int) -> ModelCard:
        """How its prompts are written; what else a card says, its caller knows."""
        properties = self.look_up("GET", "/props")
        return ModelCard(
            context_length=context_length,
            chat_template=properties.get("chat_template") or None,
            bos=str(properties.get("bos_token") or ""),
            eos=str(properties.get("eos_token") or ""),
            add_bos=bool(self.tokens("", around=True)),
        )

    def tokens(self, text: str, *, special: bool = False, around: bool = False) -> list[int]:
        """special: names of special tokens are these tokens. around: with those that the model puts around a text."""
        asked = {"content": text, "parse_special": special, "add_special": around}
        tokens: list[int] = self.look_up("POST", "/tokenize", asked)["tokens"]
        return tokens

    def tokens_of_each(self, texts: Sequence[str], *, special: bool) -> list[list[int]]:
        """As tokens() of each of them, in one go."""
        mixed = [part for text in texts for part in (text, _BETWEEN)]
        asked = {"content": mixed, "parse_special": special, "add_special": False}
        found: list[list[int]] = [[]]
        for token in self.look_up("POST", "/tokenize", asked)["tokens"]:
            if token == _BETWEEN:
                found.append([])
            else:
                found[-1].append(token)
        if len(found) != len(texts) + 1:
            raise HomeportError("The model's tokenizer answers with something else than tokens.")
        return found[:-1]

    def text(self, tokens: list[int]) -> str:
        return str(self.look_up("POST", "/detokenize", {"tokens": tokens})["content"])

    def look_up(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask its listener, on a connection of this thread. Raises HomeportError."""
        kept: http.client.HTTPConnection | None = getattr(self._connections, "one", None)
        raw = None
        if kept is not None:
            with contextlib.suppress(OSError, http.client.HTTPException):  # the library drops idle connections
                raw = self._exchange(kept, method, path, body)
        if raw is None:
            if kept is None:
                kept = self._connections.one = _UnixConnection(f"{self.folder}/llama.sock")
                self._opened.append(kept)
            kept.close()  # it opens itself again
            try:
                raw = self._exchange(kept, method, path, body)
            except (OSError, http.client.HTTPException):
                raise HomeportError("The model's tokenizer does not answer.") from None
        answer: dict[str, Any] = json.loads(raw)
        return answer

    def complete(self, request: dict[str, Any], take: Callable[[dict[str, Any]], bool]) -> None:
        """Blocks until llama.cpp is done, with the GIL released. take: each chunk -> stop. Raises HomeportError."""
        failure: list[BaseException] = []

        def called(chunk: dict[str, Any]) -> bool:
            try:
                if "error" in chunk:
                    raise _error(chunk["error"])
                return bool(take(chunk) if "choices" in chunk else False)
            except BaseException as error:
                failure.append(error)
                return True

        try:
            self.library.handle_completions(request, called)
        except (ValueError, RuntimeError) as error:
            log.error("llama.cpp refused a request: %s", type(error).__name__)
            raise HomeportError("The model could not process this request.") from None
        if failure:
            raise failure[0]

    def close(self) -> None:
        for connection in self._opened:
            connection.close()
        self.library = None  # its destructor joins llama.cpp's threads
        shutil.rmtree(self.folder, ignore_errors=True)

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: dict[str, Any] | None
    ) -> bytes:
        headers = {"Authorization": f"Bearer {self.key}"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        raw = response.read()
        if response.status != 200:
            raise HomeportError("The model's tokenizer refused the text.")
        return raw


def _error(error: dict[str, Any]) -> HomeportError:
    if error.get("code") == 400:
        return InvalidRequest("The model refused this request: its prompt or its grammar cannot be used.")
    log.error("llama.cpp failed with code %s", error.get("code"))
    return HomeportError("The model failed while it was generating. You can retry your request.")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@contextlib.contextmanager
def _pythons_signal_handlers() -> Iterator[None]:
    """llama.cpp's server installs handlers with sigaction behind Python's back: remember what was there, restore it.

    Done on the C level, because `signal.signal` works in the main thread alone and models load in others.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    kept = {number: ctypes.create_string_buffer(512) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, action in kept.items():
        libc.sigaction(int(number), None, action)
    try:
        yield
    finally:
        for number, action in kept.items():
            libc.sigaction(int(number), action, None)
