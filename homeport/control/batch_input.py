"""A batch's input: read once from its beginning to its end, at constant memory, and every line looked at.

What is wrong is told by line, in OpenAI's codes. One thing of each line is told, and of the file a hundred. Whether a
request is a good one is not looked at here: that is the endpoint's to say, of each line when it runs.
"""

import hashlib
from codecs import BOM_UTF8
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from typing import Any, NamedTuple

import msgspec

from homeport.control.jsonl import Lines, LineTooLong
from homeport.errors import InvalidRequest
from homeport.wire import base, images, moderations
from homeport.wire.batches import BatchError, BatchRequestInput
from homeport.wire.envelope import CHARACTERS_PER_TOKEN

MOST_LINES = 50_000
MOST_INPUTS = 50_000
MOST_ERRORS = 100
#: A part of the input that is run as one job: so many lines, and not many more bytes than these. In a large batch it is
#: several times as many, up to the most, so that what a job takes by itself is shared by more lines.
CHUNK_LINES, MOST_CHUNK_LINES = 100, 500
CHUNK_BYTES = 2**20
#: Chunks that a batch has at least, where it has the lines: several processes share them, and have some in hand each.
LEAST_CHUNKS = 16
EMBEDDINGS = "/v1/embeddings"
#: Models of requests that name none, where that is no mistake.
_DEFAULT_MODELS = {
    "/v1/moderations": moderations.DEFAULT_MODEL,
    "/v1/images/generations": images.DEFAULT_MODEL,
    "/v1/images/edits": images.DEFAULT_JSON_MODEL,
}

_NOT_JSON = "This line is not parseable as valid JSON."
_input = msgspec.json.Decoder(BatchRequestInput)


class Line(NamedTuple):
    """number: from 1, blank lines counted. begin, end: bytes of the file, the line's end with it."""

    number: int
    begin: int
    end: int
    raw: bytes


class Chunk(msgspec.Struct, frozen=True):
    """Lines that stand together. first, last: their numbers; begin, end: bytes of the file."""

    first: int
    last: int
    begin: int
    end: int


async def lines(pieces: AsyncIterable[bytes], *, longest: int, first: int = 1) -> AsyncGenerator[Line, None]:
    """Of a file, or of a part of it. Blank ones are passed over.

    first: number of the first line; the bytes are counted from it. longest: bytes. Raises LineTooLong.
    """
    cut, begin = Lines(longest, first=first), 0

    def line(raw: bytes, newline: int) -> Line:
        end = begin + len(raw) + newline
        return Line(cut.number, begin, end, raw.removeprefix(BOM_UTF8) if cut.number == 1 else raw)

    async for piece in pieces:
        for raw in cut.feed(piece):
            found = line(raw, newline=1)
            begin = found.end
            if found.raw.strip():
                yield found
    for raw in cut.end():
        found = line(raw, newline=0)
        if found.raw.strip():
            yield found


def request_of(raw: bytes) -> BatchRequestInput:
    """Raises InvalidRequest, with the codes of a batch's errors."""
    try:
        request = base.decode(_input, raw)
    except InvalidRequest as error:
        if error.param == "method" and error.code == "invalid_value":
            error.code = "invalid_method"
        elif error.code is None:
            error.code, error.message = "invalid_json_line", _NOT_JSON
        raise
    if not bytes(request.body).startswith(b"{"):
        raise InvalidRequest(
            "Invalid type for 'body': expected an object, but got something else instead.",
            param="body",
            code="invalid_type",
        )
    return request


class _Body(msgspec.Struct):
    model: str | None = None
    stream: Any = None
    input: msgspec.Raw = msgspec.Raw()


_body = msgspec.json.Decoder(_Body)
_list = msgspec.json.Decoder(list[msgspec.Raw])


class Input:
    """What is found out while the lines go by. total: of them; model: of all; tokens: reckoned; chunks: where they
    stand; errors: None of them, or nothing is to be run."""

    def __init__(self, endpoint: str) -> None:
        """endpoint: as the batch names it. Azure's spelling takes both."""
        self._urls = (endpoint,) if endpoint.startswith("/v1/") else (endpoint, f"/v1{endpoint}")
        self._embeddings = EMBEDDINGS in self._urls
        self._default_model = next((_DEFAULT_MODELS[url] for url in self._urls if url in _DEFAULT_MODELS), None)
        self._seen: set[bytes] = set()
        self._inputs = 0
        self._first: Line | None = None
        self._last: Line | None = None
        self._in_chunk = 0
        self.model = ""
        self.total = 0
        self.tokens = 0
        self.chunks: list[Chunk] = []
        self.errors: list[BatchError] = []

    async def read(self, pieces: AsyncIterable[bytes], *, longest: int) -> None:
        """The whole file, unless there is too much wrong with it. longest: bytes of a line."""
        try:
            async for line in lines(pieces, longest=longest):
                self._take(line)
                if len(self.errors) >= MOST_ERRORS:
                    return
        except LineTooLong as error:
            words = f"This line is longer than {longest} bytes, the most that a request may have."
            self._refuse(error.number, "line_too_long", words)
            return
        self._close_chunk()
        self.chunks = _joined(self.chunks, self.total)
        if not self.total:
            self.errors.append(BatchError("empty_file", "The input file has no requests in it."))

    def _take(self, line: Line) -> None:
        self.total += 1
        if self.total > MOST_LINES:
            if self.total == MOST_LINES + 1:
                words = f"The input file has more requests than the {MOST_LINES} that a batch may have."
                self._refuse(line.number, "too_many_tasks", words)
            return
        try:
            request = request_of(line.raw)
            self._check(line.number, request)
        except InvalidRequest as error:
            self._refuse(line.number, error.code or "invalid_request", error.message, error.param)
        if self._first is None:
            self._first = line
        self._last = line
        self._in_chunk += 1
        if self._in_chunk >= CHUNK_LINES or line.end - self._first.begin >= CHUNK_BYTES:
            self._close_chunk()

    def _check(self, number: int, request: BatchRequestInput) -> None:
        custom_id = hashlib.blake2b(request.custom_id.encode(), digest_size=16).digest()
        if custom_id in self._seen:
            raise InvalidRequest(
                f"The custom_id '{request.custom_id}' for this request is a duplicate of another request. The "
                "custom_id parameter must be unique for each request in a batch.",
                param="custom_id",
                code="duplicate_custom_id",
            )
        self._seen.add(custom_id)
        if request.url not in self._urls:
            raise InvalidRequest(
                "The URL provided for this request does not match the batch endpoint.", param="url", code="invalid_url"
            )
        body = _body_of(request.body)
        model = body.model or self._default_model
        if model is None:
            raise base.missing("body.model")
        if self.model and model != self.model:
            raise InvalidRequest(
                f"The model '{model}' for this request does not match the rest of the batch. Each batch must "
                "contain requests for a single model.",
                param="body.model",
                code="mismatched_model",
            )
        self.model = model
        if body.stream:
            raise InvalidRequest(
                "Requests of a batch cannot be streamed. Leave 'stream' out.",
                param="body.stream",
                code="unsupported_parameter",
            )
        self.tokens += max(1, len(bytes(request.body)) // CHARACTERS_PER_TOKEN)
        if self._embeddings:
            before, self._inputs = self._inputs, self._inputs + _inputs(body.input)
            if before <= MOST_INPUTS < self._inputs:
                raise InvalidRequest(
                    f"With this request the batch has more than {MOST_INPUTS} embedding inputs, the most that one may "
                    "have.",
                    param="body.input",
                    code="too_many_inputs",
                )

    def _refuse(self, number: int, code: str, words: str, param: str | None = None) -> None:
        self.errors.append(BatchError(code, words, param, number))

    def _close_chunk(self) -> None:
        if self._first is not None and self._last is not None:
            self.chunks.append(Chunk(self._first.number, self._last.number, self._first.begin, self._last.end))
        self._first = self._last = None
        self._in_chunk = 0


def _joined(chunks: Sequence[Chunk], total: int) -> list[Chunk]:
    """Neighbours become one, as far as the size of the batch has it. total: its lines."""
    most = min(MOST_CHUNK_LINES // CHUNK_LINES, max(1, total // (CHUNK_LINES * LEAST_CHUNKS)))
    joined: list[Chunk] = []
    parts = 0
    for chunk in chunks:
        if joined and parts < most and chunk.end - joined[-1].begin <= CHUNK_BYTES:
            joined[-1] = Chunk(joined[-1].first, chunk.last, joined[-1].begin, chunk.end)
            parts += 1
        else:
            joined.append(chunk)
            parts = 1
    return joined


def _body_of(raw: msgspec.Raw) -> _Body:
    """Raises InvalidRequest, with `param` below `body`."""
    try:
        return base.decode(_body, bytes(raw))
    except InvalidRequest as error:
        if error.param:
            error.message = error.message.replace(f"'{error.param}'", f"'body.{error.param}'")
            error.param = f"body.{error.param}"
        raise


def _inputs(raw: msgspec.Raw) -> int:
    """Texts, or lists of tokens; what is neither counts as one, and is for the endpoint to refuse."""
    if not bytes(raw).startswith(b"["):
        return 1
    listed = _list.decode(raw)
    return len(listed) if listed and bytes(listed[0])[:1] in (b'"', b"[") else 1
