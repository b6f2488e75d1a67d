"""Assistants, and what their runs share with them: tools, resources of tools, the form of answers. Source:
AssistantObject, CreateAssistantRequest, ModifyAssistantRequest, AssistantToolsCode, AssistantToolsFileSearch,
AssistantToolsFunction, FileSearchRankingOptions, AssistantsApiResponseFormatOption.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from homeport.errors import InvalidRequest
from homeport.wire.base import missing
from homeport.wire.chat import (
    FunctionTool,
    Metadata,
    ResponseFormatJSONObject,
    ResponseFormatJSONSchema,
    ResponseFormatText,
    check_metadata,
)
from homeport.wire.fields import Identifier, ModelName, Request
from homeport.wire.vector_stores import ChunkingStrategy

MOST_TOOLS = 128
#: Files that code of an assistant, or of a thread, may see; files of a store that is made with either.
MOST_CODE_FILES, MOST_STORE_FILES = 20, 10_000
#: What OpenAI calls the ranker where nobody names one.
RANKER = "default_2024_08_21"

#: PostgreSQL's texts have no NUL.
Name = Annotated[str, Meta(max_length=256, pattern=r"^[^\x00]*$")]
Description = Annotated[str, Meta(max_length=512, pattern=r"^[^\x00]*$")]
Instructions = Annotated[str, Meta(max_length=256_000, pattern=r"^[^\x00]*$")]
Temperature = Annotated[float, Meta(ge=0, le=2)]
TopP = Annotated[float, Meta(ge=0, le=1)]
ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
ResponseFormat = Literal["auto"] | ResponseFormatText | ResponseFormatJSONObject | ResponseFormatJSONSchema


class RankingOptions(Request):
    """score_threshold: passages below it are not found."""

    score_threshold: Annotated[float, Meta(ge=0, le=1)]
    ranker: Literal["auto", "default_2024_08_21"] | None = None


class FileSearchOptions(Request):
    """max_num_results: 20 where nobody says."""

    max_num_results: Annotated[int, Meta(ge=1, le=50)] | None = None
    ranking_options: RankingOptions | None = None


class FileSearchTool(Request, tag_field="type", tag="file_search"):
    file_search: FileSearchOptions | None = None


class CodeInterpreterTool(Request, tag_field="type", tag="code_interpreter"):
    """Python, in a cell."""


Tool = CodeInterpreterTool | FileSearchTool | FunctionTool
Tools = Annotated[list[Tool], Meta(max_length=MOST_TOOLS)]


def check_tools(tools: Sequence[Tool] | None) -> None:
    """Each hosted tool once, and each function's name. Raises InvalidRequest."""
    seen: set[str] = set()
    for at, tool in enumerate(tools or ()):
        function = isinstance(tool, FunctionTool)
        name = tool.function.name if isinstance(tool, FunctionTool) else str(tool.__struct_config__.tag)
        key = f"function {name}" if function else name
        if key in seen:
            raise InvalidRequest(
                f"Invalid 'tools': the {'function' if function else 'tool'} '{name}' is there twice.",
                param=f"tools[{at}]" + (".function.name" if function else ".type"),
                code="invalid_value",
            )
        seen.add(key)


def shown_tools(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """As they are stored, and as answers have them: with OpenAI's values for what nobody said."""
    return [_shown(tool) for tool in tools]


def _shown(tool: Tool) -> dict[str, Any]:
    if isinstance(tool, FunctionTool):
        said = {name: value for name, value in msgspec.structs.asdict(tool.function).items() if value is not None}
        return {"type": "function", "function": {"strict": False, **said}}
    if isinstance(tool, CodeInterpreterTool):
        return {"type": "code_interpreter"}
    options = tool.file_search or FileSearchOptions()
    ranking = options.ranking_options or RankingOptions(score_threshold=0.0)
    shown: dict[str, Any] = {
        "ranking_options": {"ranker": ranking.ranker or RANKER, "score_threshold": ranking.score_threshold}
    }
    if options.max_num_results is not None:
        shown["max_num_results"] = options.max_num_results
    return {"type": "file_search", "file_search": shown}


def shown_format(asked: ResponseFormat | None) -> Any:
    """As it is stored: None where nobody said."""
    if asked is None or isinstance(asked, str):
        return asked
    shown: dict[str, Any] = msgspec.to_builtins(asked)
    if isinstance(asked, ResponseFormatJSONSchema):
        shown["json_schema"] = {name: one for name, one in shown["json_schema"].items() if one is not None}
    return shown


class CodeInterpreterResources(Request):
    file_ids: Annotated[list[Identifier], Meta(max_length=MOST_CODE_FILES)] | None = None


class NewStore(Request):
    """A vector store that is made with what it is for."""

    file_ids: Annotated[list[Identifier], Meta(max_length=MOST_STORE_FILES)] | None = None
    chunking_strategy: ChunkingStrategy | None = None
    metadata: Metadata | None = None

    def __post_init__(self) -> None:
        check_metadata(self.metadata)


class FileSearchResources(Request):
    """One that there is, or one that is made."""

    vector_store_ids: Annotated[list[Identifier], Meta(max_length=1)] | None = None
    vector_stores: Annotated[list[NewStore], Meta(max_length=1)] | None = None

    def __post_init__(self) -> None:
        if self.vector_store_ids and self.vector_stores:
            raise InvalidRequest(
                "'tool_resources.file_search' has either 'vector_store_ids' or 'vector_stores': both are there, and "
                "only one vector store can be searched.",
                param="tool_resources.file_search",
                code="invalid_value",
            )


class OtherFileSearchResources(Request):
    """Of something that is there already."""

    vector_store_ids: Annotated[list[Identifier], Meta(max_length=1)] | None = None


class ToolResources(Request):
    code_interpreter: CodeInterpreterResources | None = None
    file_search: FileSearchResources | None = None


class OtherToolResources(Request):
    """A tool that is not there keeps what it has."""

    code_interpreter: CodeInterpreterResources | None = None
    file_search: OtherFileSearchResources | None = None


class CreateAssistantRequest(Request):
    model: ModelName
    name: Name | None = None
    description: Description | None = None
    instructions: Instructions | None = None
    reasoning_effort: ReasoningEffort | None = None
    tools: Tools | None = None
    tool_resources: ToolResources | None = None
    metadata: Metadata | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    response_format: ResponseFormat | None = None

    def __post_init__(self) -> None:
        check_metadata(self.metadata)
        check_tools(self.tools)


class ModifyAssistantRequest(Request):
    """What is not there stays as it is; null takes away what there was. An assistant always has a model."""

    model: ModelName | UnsetType | None = UNSET
    name: Name | UnsetType | None = UNSET
    description: Description | UnsetType | None = UNSET
    instructions: Instructions | UnsetType | None = UNSET
    reasoning_effort: ReasoningEffort | UnsetType | None = UNSET
    tools: Tools | UnsetType | None = UNSET
    tool_resources: OtherToolResources | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    temperature: Temperature | UnsetType | None = UNSET
    top_p: TopP | UnsetType | None = UNSET
    response_format: ResponseFormat | UnsetType | None = UNSET

    def __post_init__(self) -> None:
        if self.model is None:
            raise missing("model")
        if self.metadata is not UNSET:
            check_metadata(self.metadata)
        if self.tools is not UNSET:
            check_tools(self.tools)


class Assistant(Struct, kw_only=True):
    """As the service shows it: what nobody said has OpenAI's value."""

    id: str
    object: Literal["assistant"] = "assistant"
    created_at: int
    name: str | None
    description: str | None
    model: str
    instructions: str | None
    tools: list[dict[str, Any]]
    tool_resources: dict[str, Any]
    metadata: Metadata
    temperature: float
    top_p: float
    reasoning_effort: str | None
    response_format: Any
