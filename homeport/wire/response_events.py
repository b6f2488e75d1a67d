"""What the stream of a response tells. Source: ResponseStreamEvent of the description.

Each event says its type, and its number among those of its response (`sequence_number`, from 0). output_index: which
item of the output it is about; content_index: which part of that. The order is drawn in docs/responses.md.
"""

import msgspec
from msgspec import Struct

from homeport.wire.items import Annotation, Item, LogProb, OutputText, ReasoningText, Refusal
from homeport.wire.responses import Response

Part = OutputText | Refusal | ReasoningText


class Event(Struct, tag_field="type"):
    @property
    def kind(self) -> str:
        """Its `type`."""
        return str(self.__struct_config__.tag)

    def numbered(self, number: int) -> bytes:
        """JSON, with its `sequence_number`."""
        return msgspec.json.encode(self)[:-1] + b',"sequence_number":%d}' % number


class ResponseEvent(Event):
    """response: as it was then."""

    response: Response


class ResponseCreated(ResponseEvent, tag="response.created"):
    pass


class ResponseQueued(ResponseEvent, tag="response.queued"):
    pass


class ResponseInProgress(ResponseEvent, tag="response.in_progress"):
    pass


class ResponseCompleted(ResponseEvent, tag="response.completed"):
    pass


class ResponseIncomplete(ResponseEvent, tag="response.incomplete"):
    pass


class ResponseFailed(ResponseEvent, tag="response.failed"):
    pass


#: By the status that a response ends with; of one that was cancelled there is no last event.
LAST: dict[str, type[ResponseEvent]] = {
    "completed": ResponseCompleted,
    "incomplete": ResponseIncomplete,
    "failed": ResponseFailed,
}


class OutputItemAdded(Event, tag="response.output_item.added"):
    output_index: int
    item: Item


class OutputItemDone(Event, tag="response.output_item.done"):
    output_index: int
    item: Item


class ItemEvent(Event):
    item_id: str
    output_index: int


class PartEvent(ItemEvent):
    content_index: int


class ContentPartAdded(PartEvent, tag="response.content_part.added"):
    part: Part


class ContentPartDone(PartEvent, tag="response.content_part.done"):
    part: Part


class TextDelta(PartEvent, tag="response.output_text.delta"):
    delta: str
    logprobs: list[LogProb] = []


class TextDone(PartEvent, tag="response.output_text.done"):
    text: str
    logprobs: list[LogProb] = []


class AnnotationAdded(PartEvent, tag="response.output_text.annotation.added"):
    annotation_index: int
    annotation: Annotation


class RefusalDelta(PartEvent, tag="response.refusal.delta"):
    delta: str


class RefusalDone(PartEvent, tag="response.refusal.done"):
    refusal: str


class ReasoningTextDelta(PartEvent, tag="response.reasoning_text.delta"):
    delta: str


class ReasoningTextDone(PartEvent, tag="response.reasoning_text.done"):
    text: str


class ArgumentsDelta(ItemEvent, tag="response.function_call_arguments.delta"):
    delta: str


class ArgumentsDone(ItemEvent, tag="response.function_call_arguments.done"):
    name: str
    arguments: str


class FileSearchInProgress(ItemEvent, tag="response.file_search_call.in_progress"):
    pass


class FileSearchSearching(ItemEvent, tag="response.file_search_call.searching"):
    pass


class FileSearchCompleted(ItemEvent, tag="response.file_search_call.completed"):
    pass


class CodeInProgress(ItemEvent, tag="response.code_interpreter_call.in_progress"):
    pass


class CodeDelta(ItemEvent, tag="response.code_interpreter_call_code.delta"):
    delta: str


class CodeDone(ItemEvent, tag="response.code_interpreter_call_code.done"):
    code: str


class CodeInterpreting(ItemEvent, tag="response.code_interpreter_call.interpreting"):
    pass


class CodeCompleted(ItemEvent, tag="response.code_interpreter_call.completed"):
    pass
