"""JSON Lines, as each purpose wants them: cut and looked at piece by piece, so that memory does not grow with a file.

A line ends with a line feed, with or without a carriage return. Lines with nothing but blanks are passed over, and
counted: a message names the line that an editor shows. Files for batches are not looked at here: OpenAI takes them as
they are, and the batch that is made of one tells what is wrong with its lines (control/batch_input.py).
"""

from collections.abc import AsyncIterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from homeport.errors import InvalidRequest

#: Bytes of a line. What is longer could not be sent as a request either.
LONGEST_LINE = 32 * 2**20
_BOM = b"\xef\xbb\xbf"


class _Object(msgspec.Struct):
    """Of whatever members."""


class _Conversation(msgspec.Struct):
    messages: list[_Object]


class _Completion(msgspec.Struct):
    prompt: str
    completion: str


class _Preference(msgspec.Struct):
    input: _Object
    preferred_output: list[_Object]
    non_preferred_output: list[_Object]


#: Purpose -> what a line may be.
SHAPES: Mapping[str, Sequence[type[msgspec.Struct]]] = {
    "fine-tune": (_Conversation, _Completion, _Preference),
    "evals": (_Object,),
}


Shapes = Sequence["msgspec.json.Decoder[Any]"]


class LineTooLong(Exception):
    """number: of the line."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Lines:
    """Pieces in, whole lines out. number: of the line that came last."""

    def __init__(self, longest: int = LONGEST_LINE, *, first: int = 1) -> None:
        """longest: bytes. first: number of the first line."""
        self._longest = longest
        self._begun: list[bytes] = []
        self._bytes = 0
        self.number = first - 1

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Raises LineTooLong."""
        *ended, rest = piece.split(b"\n")
        for line in ended:
            yield self._whole(line)
        self._begin(rest)

    def end(self) -> Iterator[bytes]:
        """The last line, where nothing ends it."""
        if self._bytes:
            yield self._whole(b"")

    def _begin(self, part: bytes) -> None:
        if part:
            self._begun.append(part)
            self._bytes += len(part)
            if self._bytes > self._longest:
                raise LineTooLong(self.number + 1)

    def _whole(self, part: bytes) -> bytes:
        self._begin(part)
        line = self._begun[0] if len(self._begun) == 1 else b"".join(self._begun)
        self._begun, self._bytes = [], 0
        self.number += 1
        return line


async def check(pieces: AsyncIterable[bytes], purpose: str) -> None:
    """Every line is what the purpose wants. Raises InvalidRequest, which names the first line that is not."""
    try:
        await _check(pieces, [msgspec.json.Decoder(shape) for shape in SHAPES[purpose]])
    except LineTooLong as error:
        raise InvalidRequest(
            f"The file's line {error.number} is longer than {LONGEST_LINE} bytes.",
            param="file",
            code="invalid_json_line",
        ) from None


async def _check(pieces: AsyncIterable[bytes], shapes: Shapes) -> None:
    """Raises InvalidRequest, LineTooLong."""
    lines = Lines()
    found = False
    async for piece in pieces:
        for line in lines.feed(piece):
            if line and not line.isspace():
                found = True
                _check_line(line, lines.number, shapes)
    for line in lines.end():
        if not line.isspace():
            found = True
            _check_line(line, lines.number, shapes)
    if not found:
        raise InvalidRequest("The file is empty: it has no line of JSON.", param="file", code="empty_file")


def _check_line(line: bytes, number: int, shapes: Shapes) -> None:
    """Raises InvalidRequest."""
    if not line.isascii():
        try:
            line.decode()
        except UnicodeDecodeError:
            raise _refusal(number, "is not UTF-8") from None
    for decoder in shapes:
        try:
            decoder.decode(line)
        except (msgspec.DecodeError, RecursionError):
            continue
        return
    bom = number == 1 and line.startswith(_BOM)
    wrong = "begins with a byte order mark. Save the file as UTF-8 without one" if bom else _wrong(line, shapes)
    raise _refusal(number, wrong)


def _wrong(line: bytes, shapes: Shapes) -> str:
    """What is, with a line that is none of them."""
    try:
        msgspec.json.decode(line, type=_Object)
    except msgspec.ValidationError:
        return "is not a JSON object"
    except (msgspec.DecodeError, RecursionError):
        return "is not valid JSON"
    known = "; or ".join(", ".join(f"'{name}'" for name in shape.type.__struct_fields__) for shape in shapes)
    return f"has none of the shapes that its purpose knows: {known}"


def _refusal(number: int, what: str) -> InvalidRequest:
    return InvalidRequest(
        f"Expected file to have JSONL format, where every line is a JSON object as its purpose wants it: line {number} "
        f"{what}.",
        param="file",
        code="invalid_json_line",
    )
