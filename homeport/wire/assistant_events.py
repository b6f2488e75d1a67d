"""What a stream of a run tells: the names of events in the order in which they come, and what is in those that are no
whole object. Source: AssistantStreamEvent, MessageDeltaObject, RunStepDeltaObject and their parts; what the SDK's
AssistantEventHandler makes of them (lib/streaming/_assistants.py).

A part of a list has an `index`, since whoever listens puts texts of the same index one behind the other. So names and
ids come once, with the first delta of a part.
"""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from homeport.wire.runs import ImageFile
from homeport.wire.threads import FileReference
from homeport.wire.threads import ImageFile as ShownImage

#: With a thread, a run, a step or a message as it is by then; deltas with what follows below; `error` with an error.
EVENTS = (
    "thread.created",
    "thread.run.created",
    "thread.run.queued",
    "thread.run.in_progress",
    "thread.run.requires_action",
    "thread.run.completed",
    "thread.run.incomplete",
    "thread.run.failed",
    "thread.run.cancelling",
    "thread.run.cancelled",
    "thread.run.expired",
    "thread.run.step.created",
    "thread.run.step.in_progress",
    "thread.run.step.delta",
    "thread.run.step.completed",
    "thread.run.step.failed",
    "thread.run.step.cancelled",
    "thread.run.step.expired",
    "thread.message.created",
    "thread.message.in_progress",
    "thread.message.delta",
    "thread.message.completed",
    "thread.message.incomplete",
    "error",
)


class FileCitationDelta(Struct, kw_only=True, tag_field="type", tag="file_citation"):
    index: int
    text: str
    start_index: int
    end_index: int
    file_citation: FileReference


class FilePathDelta(Struct, kw_only=True, tag_field="type", tag="file_path"):
    index: int
    text: str
    start_index: int
    end_index: int
    file_path: FileReference


class TextDelta(Struct, omit_defaults=True):
    value: str
    annotations: list[FileCitationDelta | FilePathDelta] | UnsetType = UNSET


class TextContentDelta(Struct, tag_field="type", tag="text"):
    index: int
    text: TextDelta


class RefusalContentDelta(Struct, tag_field="type", tag="refusal"):
    index: int
    refusal: str


class ImageFileContentDelta(Struct, tag_field="type", tag="image_file"):
    index: int
    image_file: ShownImage


ContentDelta = TextContentDelta | RefusalContentDelta | ImageFileContentDelta


class MessageChanges(Struct):
    content: list[ContentDelta]


class MessageDelta(Struct):
    id: str
    delta: MessageChanges
    object: Literal["thread.message.delta"] = "thread.message.delta"


class FunctionDelta(Struct, omit_defaults=True):
    name: str | UnsetType = UNSET
    arguments: str | UnsetType = UNSET
    output: str | UnsetType | None = UNSET


class FunctionCallDelta(Struct, omit_defaults=True, tag_field="type", tag="function"):
    index: int
    function: FunctionDelta
    id: str | UnsetType = UNSET


class Nothing(Struct):
    """What was found comes with the step."""


class FileSearchCallDelta(Struct, omit_defaults=True, tag_field="type", tag="file_search"):
    index: int
    file_search: Nothing
    id: str | UnsetType = UNSET


class LogsDelta(Struct, tag_field="type", tag="logs"):
    index: int
    logs: str


class ImageDelta(Struct, tag_field="type", tag="image"):
    index: int
    image: ImageFile


class CodeInterpreterDelta(Struct, omit_defaults=True):
    input: str | UnsetType = UNSET
    outputs: list[LogsDelta | ImageDelta] | UnsetType = UNSET


class CodeInterpreterCallDelta(Struct, omit_defaults=True, tag_field="type", tag="code_interpreter"):
    index: int
    code_interpreter: CodeInterpreterDelta
    id: str | UnsetType = UNSET


CallDelta = FunctionCallDelta | FileSearchCallDelta | CodeInterpreterCallDelta


class CallsDelta(Struct, tag_field="type", tag="tool_calls"):
    tool_calls: list[CallDelta]


class StepChanges(Struct):
    step_details: CallsDelta


class RunStepDelta(Struct):
    id: str
    delta: StepChanges
    object: Literal["thread.run.step.delta"] = "thread.run.step.delta"
