"""JSON Lines, as each purpose wants them: cut and looked at piece by piece, so that memory does not grow with a file.

A line ends with a line feed, with or without a carriage return. Lines with nothing but blanks are passed over, and
counted: a message names the line that an editor shows.
"""

from collections.abc import AsyncIterable, Iterator, Mapping, Sequence

import msgspec

from homeport.errors import InvalidRequest

#: Bytes of a line. What is longer could not be sent as a request either.
LONGEST_LINE = 32 * 2**20
_BOM = b"\xef\xbb\xbf"
_TEXT, _OBJECT, _ARRAY = b'"', b"{", b"["
_KINDS = {_TEXT: "a string", _OBJECT: "an object", _ARRAY: "an array"}
_LINE = msgspec.json.Decoder(dict[str, msgspec.Raw])

#: Purpose -> what a line may be: members that must be there, and the first byte of each.
SHAPES: Mapping[str, Sequence[Mapping[str, bytes]]] = {
    "batch": [{"custom_id": _TEXT, "method": _TEXT, "url": _TEXT, "body": _OBJECT}],
    "fine-tune": [
        {"messages": _ARRAY},
        {"prompt": _TEXT, "completion": _TEXT},
        {"input": _OBJECT, "preferred_output": _ARRAY, "non_preferred_output": _ARRAY},
    ],
    "evals": [{}],
}


class Lines:
    """Pieces in, whole lines out. number: of the line that came last, from 1."""

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._begun: list[bytes] = []
        self._bytes = 0
        self.number = 0

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Raises InvalidRequest: a line is too long."""
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
                raise InvalidRequest(
                    f"The file's line {self.number + 1} is longer than {self._longest} bytes.",
                    param="file",
                    code="invalid_json_line",
                )

    def _whole(self, part: bytes) -> bytes:
        self._begin(part)
        line = self._begun[0] if len(self._begun) == 1 else b"".join(self._begun)
        self._begun, self._bytes = [], 0
        self.number += 1
        return line


async def check(pieces: AsyncIterable[bytes], purpose: str) -> None:
    """Every line is what the purpose wants. Raises InvalidRequest, which names the first line that is not."""
    shapes = SHAPES[purpose]
    lines = Lines()
    found = False
    async for piece in pieces:
        for line in lines.feed(piece):
            found = _check_line(line, lines.number, shapes) or found
    for line in lines.end():
        found = _check_line(line, lines.number, shapes) or found
    if not found:
        raise InvalidRequest("The file is empty: it has no line of JSON.", param="file", code="empty_file")


def _check_line(line: bytes, number: int, shapes: Sequence[Mapping[str, bytes]]) -> bool:
    """Whether it says anything. Raises InvalidRequest."""
    if not line or line.isspace():
        return False
    try:
        if not line.isascii():
            line.decode()
        members = _LINE.decode(line)
    except UnicodeDecodeError:
        raise _refusal(number, "is not UTF-8") from None
    except (msgspec.DecodeError, RecursionError) as error:
        if number == 1 and line.startswith(_BOM):
            raise _refusal(number, "begins with a byte order mark. Save the file as UTF-8 without one") from None
        kind = "is not a JSON object" if isinstance(error, msgspec.ValidationError) else "is not valid JSON"
        raise _refusal(number, kind) from None
    if not any(_missing(members, shape) is None for shape in shapes):
        raise _refusal(number, _wanted(members, shapes))
    return True


def _missing(members: Mapping[str, msgspec.Raw], shape: Mapping[str, bytes]) -> str | None:
    """The first member that is not there as it should be."""
    for name, first in shape.items():
        if name not in members or bytes(members[name])[:1] != first:
            return name
    return None


def _wanted(members: Mapping[str, msgspec.Raw], shapes: Sequence[Mapping[str, bytes]]) -> str:
    if len(shapes) > 1:
        known = " or ".join(" and ".join(f"'{name}'" for name in shape) for shape in shapes)
        return f"has none of the shapes that its purpose knows: {known}"
    name = _missing(members, shapes[0])
    assert name is not None
    return f"has no '{name}' that is {_KINDS[shapes[0][name]]}"


def _refusal(number: int, what: str) -> InvalidRequest:
    return InvalidRequest(
        f"Expected file to have JSONL format, where every line is a JSON object as its purpose wants it: line {number} "
        f"{what}.",
        param="file",
        code="invalid_json_line",
    )
