"""`homeport recordings`: what is in a folder of recordings, in lines for a person."""

import re
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from homeport.errors import SettingsError
from homeport.gateway.recordings import Recorded, Recording, Recordings, Unreadable

_LONGEST = 60
_PICTURE = re.compile(r'("b64_json": ?")([A-Za-z0-9+/=]{256,})"')


class Line(NamedTuple):
    text: str
    broken: bool = False


def lines(folder: Path) -> Iterator[Line]:
    """One for each file. Raises SettingsError."""
    if not folder.is_dir():
        raise SettingsError(f"There is no folder {str(folder)!r}.")
    recordings = Recordings(folder)
    for file in recordings.files():
        try:
            recording = recordings.read(file)
        except Unreadable as error:
            yield Line(f"{error}.", broken=True)
        else:
            if recording is not None:
                count = len(recording.answers)
                yield Line(f"{file}  {count} answer{'s' if count > 1 else ''}  {_beginning(recording)}")


def shown(file: Path) -> str:
    """Raises SettingsError."""
    try:
        recording = Recordings(file.parent).read(file.name)
    except Unreadable as error:
        raise SettingsError(f"{error}.") from None
    if recording is None:
        raise SettingsError(f"There is no recording {str(file)!r}.")
    question = msgspec.json.format(msgspec.json.encode(recording.request), indent=2).decode()
    parts = [f"{recording.endpoint}, model {recording.model}", question]
    for number, answer in enumerate(recording.answers, 1):
        parts += [f"answer {number}: {_about(answer)}", _text(answer)]
    return "\n\n".join(parts)


def _about(answer: Recorded) -> str:
    by = f"{answer.status} by {answer.target or 'nobody'}"
    ran = f", {answer.model}" if answer.model else ""
    used = f", {answer.usage.prompt} + {answer.usage.completion} tokens" if answer.usage is not None else ""
    return f"{by}{ran}{used}" + (f", {len(answer.events)} events" if answer.events is not None else "")


def _text(answer: Recorded) -> str:
    if answer.events is not None and answer.media:
        return "\n".join(f"{at:>8} ms  {len(b64decode(text))} bytes of {answer.media}" for at, text in answer.events)
    if answer.media:
        return answer.body or ""
    if answer.events is not None:
        lines = ((at, line) for at, text in answer.events for line in text.splitlines() if line)
        return "\n".join(f"{at:>8} ms  {_without_pictures(line)}" for at, line in lines)
    body = msgspec.json.encode(answer.error) if answer.error is not None else (answer.body or "").encode()
    return _without_pictures(msgspec.json.format(body, indent=2).decode())


def _without_pictures(text: str) -> str:
    """How large they are is enough for whoever reads it."""
    return _PICTURE.sub(lambda found: f'{found[1]}({len(found[2])} characters of base64)"', text)


def _beginning(recording: Recording) -> str:
    """Of the last message or the prompt."""
    messages = recording.request.get("messages")
    asked = recording.request
    said = messages[-1].get("content") if isinstance(messages, list) and messages else asked.get("prompt")
    said = said or asked.get("input") or asked.get("file") or asked.get("image")
    text = said if isinstance(said, str) else msgspec.json.encode(said).decode()
    flat = " ".join(text.split())
    return flat if len(flat) <= _LONGEST else flat[: _LONGEST - 3] + "..."
