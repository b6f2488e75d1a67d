"""A message while it is written: its parts so far, and what a stream tells of each piece."""

from collections.abc import Sequence
from typing import Any

import msgspec

from homeport.loop.turns import Annotation
from homeport.wire.assistant_events import (
    ContentDelta,
    FileCitationDelta,
    FilePathDelta,
    ImageFileContentDelta,
    MessageDelta,
    RefusalContentDelta,
    TextContentDelta,
    TextDelta,
)
from homeport.wire.threads import (
    Content,
    FileCitationAnnotation,
    FilePathAnnotation,
    FileReference,
    ImageFile,
    ImageFileContent,
    RefusalContent,
    Text,
    TextContent,
)


class Draft:
    def __init__(self) -> None:
        self._parts: list[Content] = []
        self._pieces: list[str] = []  # of the last part

    @property
    def content(self) -> list[dict[str, Any]]:
        """As a row has it."""
        self._close()
        built: list[dict[str, Any]] = msgspec.to_builtins(self._parts)
        return built

    def text(self, delta: str, annotations: Sequence[Annotation] = ()) -> ContentDelta:
        part = self._parts[-1] if self._parts else None
        begins = not isinstance(part, TextContent)
        if not isinstance(part, TextContent):
            part = TextContent(Text("", []))
            self._open(part)
        self._pieces.append(delta)
        known = len(part.text.annotations)
        part.text.annotations += map(_annotation, annotations)
        told = [_delta(known + at, one) for at, one in enumerate(annotations)]
        changed = TextDelta(delta, told) if told or begins else TextDelta(delta)
        return TextContentDelta(len(self._parts) - 1, changed)

    def refusal(self, delta: str) -> ContentDelta:
        if not self._parts or not isinstance(self._parts[-1], RefusalContent):
            self._open(RefusalContent(""))
        self._pieces.append(delta)
        return RefusalContentDelta(len(self._parts) - 1, delta)

    def picture(self, file_id: str) -> ContentDelta:
        self._open(ImageFileContent(ImageFile(file_id)))
        return ImageFileContentDelta(len(self._parts) - 1, ImageFile(file_id))

    def take(self, delta: MessageDelta) -> None:
        """What was told, by somebody who writes no more."""
        for change in delta.delta.content:
            if isinstance(change, ImageFileContentDelta):
                self.picture(change.image_file.file_id)
            elif isinstance(change, RefusalContentDelta):
                self.refusal(change.refusal)
            else:
                self.text(change.text.value)
                part = self._parts[-1]
                assert isinstance(part, TextContent)
                part.text.annotations += map(_told, change.text.annotations or [])

    def _open(self, part: Content) -> None:
        self._close()
        self._parts.append(part)

    def _close(self) -> None:
        """The last part has all that was said of it so far."""
        said, self._pieces = "".join(self._pieces), []
        part = self._parts[-1] if self._parts else None
        if isinstance(part, TextContent):
            part.text.value += said
        elif isinstance(part, RefusalContent):
            part.refusal += said


def _annotation(one: Annotation) -> FileCitationAnnotation | FilePathAnnotation:
    where: dict[str, Any] = {"text": one.text, "start_index": one.begins, "end_index": one.ends}
    file = FileReference(one.file_id)
    if one.type == "file_citation":
        return FileCitationAnnotation(**where, file_citation=file)
    return FilePathAnnotation(**where, file_path=file)


def _delta(index: int, one: Annotation) -> FileCitationDelta | FilePathDelta:
    where: dict[str, Any] = {"index": index, "text": one.text, "start_index": one.begins, "end_index": one.ends}
    file = FileReference(one.file_id)
    if one.type == "file_citation":
        return FileCitationDelta(**where, file_citation=file)
    return FilePathDelta(**where, file_path=file)


def _told(delta: FileCitationDelta | FilePathDelta) -> FileCitationAnnotation | FilePathAnnotation:
    where: dict[str, Any] = {"text": delta.text, "start_index": delta.start_index, "end_index": delta.end_index}
    if isinstance(delta, FileCitationDelta):
        return FileCitationAnnotation(**where, file_citation=delta.file_citation)
    return FilePathAnnotation(**where, file_path=delta.file_path)
