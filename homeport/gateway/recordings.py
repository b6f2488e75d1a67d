"""A folder of recordings: one readable JSON file for each question, `ENDPOINT/MODEL-HASH.json`, to be kept in git.

The hash is of the endpoint, the model that was asked for, and the question as cache_key has it, so the file of a
question is found without reading the others. A file holds every answer that the question got, in their order.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from homeport.backends.capabilities import Usage
from homeport.gateway.cache_key import Question

VERSION = 2
#: Answers of one question that are kept.
MOST_ANSWERS = 100
#: Differences that are named.
MOST_NAMED = 5
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_encode = msgspec.json.Encoder().encode
_sorted = msgspec.json.Encoder(order="sorted").encode
_canonical = msgspec.msgpack.Encoder(order="sorted").encode


class Recorded(msgspec.Struct, omit_defaults=True, frozen=True, kw_only=True):
    """One answer: a body, events with the milliseconds since the first one, or a refusal.

    target: who gave it; model: what ran. media: its media type, where it is neither JSON nor events; pieces of such a
    stream stand in the place of events, in base64.
    """

    status: int = 200
    target: str = ""
    model: str | None = None
    service_tier: str | None = None
    usage: Usage | None = None
    body: str | None = None
    events: tuple[tuple[int, str], ...] | None = None
    media: str = ""
    error: dict[str, Any] | None = None


class Recording(msgspec.Struct, kw_only=True):
    version: int
    endpoint: str
    model: str
    request: Question
    answers: list[Recorded]


_recording = msgspec.json.Decoder(Recording)


class Unreadable(Exception):
    """A file of the folder is no recording, or one of a later version."""


class Asked(NamedTuple):
    """A question, and the file that its answers are in."""

    endpoint: str
    model: str
    question: Question
    file: str

    @classmethod
    def of(cls, endpoint: str, model: str, question: Question) -> "Asked":
        digest = hashlib.blake2b(_canonical([endpoint, model, question]), digest_size=8).hexdigest()
        name = _NOT_IN_A_NAME.sub("_", model)[:60].lstrip(".") or "model"
        return cls(endpoint, model, question, f"{endpoint}/{name}-{digest}.json")


class Near(NamedTuple):
    """A recording of another question, and where it differs."""

    file: str
    differs: list[str]


class Recordings:
    """Reads and writes block, for as long as a small file takes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, file: str) -> Recording | None:
        """None: there is none. Raises Unreadable."""
        try:
            found = _recording.decode((self.folder / file).read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unreadable(f"{file}: {error.strerror}") from None
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise Unreadable(f"{file} is no recording: {error}") from None
        if found.version > VERSION:
            raise Unreadable(f"{file} was made by a later release of Homeport")
        if not found.answers or any(not _is_one(answer) for answer in found.answers):
            raise Unreadable(f"{file} holds no answer")
        return found

    def write(self, file: str, recording: Recording) -> None:
        """Whole, or not at all; the question in an order of its own, answers as they came. Raises OSError."""
        recording = replace(recording, request=msgspec.json.decode(_sorted(recording.request)))
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(msgspec.json.format(_encode(recording), indent=1) + b"\n")
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def files(self) -> list[str]:
        """Every one, by name."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.glob("*/*-*.json"))

    def models(self) -> list[str]:
        return sorted({recording.model for _, recording in self._readable()})

    def nearest(self, asked: Asked) -> Near | None:
        """Of the same endpoint: the one with the fewest differences, of the same model first."""
        found = [
            (one.model != asked.model, Near(file, list(differences(asked.question, one.request))))
            for file, one in self._readable(asked.endpoint)
        ]
        if not found:
            return None
        other, near = min(found, key=lambda one: (len(one[1].differs) + one[0], one[0], one[1].file))
        return Near(near.file, (["model"] if other else []) + near.differs)

    def _readable(self, endpoint: str | None = None) -> Iterator[tuple[str, Recording]]:
        for file in self.files():
            if endpoint is None or file.startswith(f"{endpoint}/"):
                try:
                    recording = self.read(file)
                except Unreadable:
                    continue
                if recording is not None:
                    yield file, recording


def _is_one(answer: Recorded) -> bool:
    return (answer.body is not None) + bool(answer.events) + (answer.error is not None) == 1


def differences(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """Where two values of JSON are not the same, as `messages[1].content`. No values: they may be anybody's."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted(one.keys() | other.keys()):
            below = f"{path}.{name}" if path else name
            if name in one and name in other:
                yield from differences(one[name], other[name], below)
            else:
                yield below
    elif isinstance(one, list) and isinstance(other, list):
        for index in range(max(len(one), len(other))):
            below = f"{path}[{index}]"
            if index < len(one) and index < len(other):
                yield from differences(one[index], other[index], below)
            else:
                yield below
    elif one != other:
        yield path
