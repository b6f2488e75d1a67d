"""Calls of tools as a stream of a run tells of them, piece by piece. index: of the call among those of its step."""

import json
import re

from homeport.store.calls import Calling, Ran, code_of, paired
from homeport.wire.assistant_events import (
    CallDelta,
    CodeInterpreterCallDelta,
    CodeInterpreterDelta,
    FileSearchCallDelta,
    FunctionCallDelta,
    FunctionDelta,
    ImageDelta,
    LogsDelta,
    Nothing,
)
from homeport.wire.runs import ImageFile

_OPENING = re.compile(r'\s*\{\s*"code"\s*:\s*"')
#: Of a text in JSON: characters that are there whole.
_WHOLE = re.compile(r'(?:[^"\\]|\\u[0-9a-fA-F]{4}|\\[^u])*')
#: The first half of a character that JSON writes in two.
_HALF = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\Z")


class CodeText:
    """The code in a call's arguments (`{"code": "..."}`), while they are written. Of what is no such object, or may be
    in a fence, nothing, until it is whole."""

    def __init__(self) -> None:
        self.said = ""
        self._raw = ""
        self._open = False
        self._over = False

    def feed(self, delta: str) -> str:
        """What is known of it now, and was not before."""
        self._raw += delta
        if not self._open:
            opening = _OPENING.match(self._raw)
            if opening is None:
                return ""
            self._open, self._raw = True, self._raw[opening.end() :]
        if self._over:
            return ""
        whole = _WHOLE.match(self._raw)
        piece = _HALF.sub("", whole[0] if whole is not None else "")
        try:
            text = paired(json.loads(f'"{piece}"', strict=False))
        except ValueError:
            self._over = True
            return ""
        if not self.said and not text.strip():
            return ""  # it is looked at again with the next piece
        if not self.said and text.lstrip().startswith("`"):
            self._over = True
            return ""
        self._raw = self._raw[len(piece) :]
        self._over = self._raw.startswith('"')
        self.said += text
        return text

    def end(self, arguments: str) -> str:
        """The rest of what is run."""
        code, _ = code_of(arguments)
        return code[len(self.said) :] if code.startswith(self.said) else ""


def began(index: int, call: Calling) -> CallDelta:
    if call.type == "function":
        return FunctionCallDelta(index, FunctionDelta(call.name, "", None), call.id)
    if call.type == "file_search":
        return FileSearchCallDelta(index, Nothing(), call.id)
    return CodeInterpreterCallDelta(index, CodeInterpreterDelta("", []), call.id)


def argued(index: int, delta: str) -> CallDelta:
    """Of a function."""
    return FunctionCallDelta(index, FunctionDelta(arguments=delta))


def coded(index: int, text: str) -> CallDelta:
    return CodeInterpreterCallDelta(index, CodeInterpreterDelta(input=text))


def ended(index: int, call: Calling) -> CallDelta | None:
    """What came of it; None: that comes with the step."""
    if call.type == "function":
        return FunctionCallDelta(index, FunctionDelta(output=call.output))
    if not isinstance(call.result, Ran):
        return None
    pictures = [file.file_id for file in call.result.files if file.image]
    outputs: list[LogsDelta | ImageDelta] = [LogsDelta(0, call.result.logs)] if call.result.logs else []
    outputs += [ImageDelta(len(outputs) + at, ImageFile(file_id)) for at, file_id in enumerate(pictures)]
    return CodeInterpreterCallDelta(index, CodeInterpreterDelta(outputs=outputs)) if outputs else None
