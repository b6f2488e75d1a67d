"""`file_search`: passages of vector stores, which the model is told with a marker each, to cite them by."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from homeport import clock
from homeport.control.owners import Owner
from homeport.control.vector_search import Found, VectorSearch, Weights
from homeport.control.vector_stores import VectorStores
from homeport.errors import InvalidRequest
from homeport.gateway.counting import count_text
from homeport.loop.citations import marker
from homeport.loop.turns import Calling, Passage, Searched, ToolType
from homeport.store.calls import paired
from homeport.wire.vector_store_search import Filter, read_filter

#: OpenAI's "Assistants File Search": how many passages there are where nobody says, and tokens of all together.
RESULTS, TOKENS = 20, 16_000
SMALLER_RESULTS, SMALLER_TOKENS = 5, 4_000
_SMALLER_MODELS = ("gpt-3.5-turbo", "gpt-35-turbo")
#: Of a model's context, what passages of one call may take.
_SHARE = 0.4
#: Seconds that files of a thread are waited for, and between two looks at them.
PATIENCE, _LOOK = 60.0, 0.25
#: Of one call; more are left out.
_MOST_QUERIES = 16
RANKER = "default_2024_08_21"

DEFINITION: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "file_search",
        "description": (
            "Searches the files that belong to this conversation, and gives passages of them. Search whenever the "
            "answer may be in a file, before you say that you do not know it."
        ),
        "parameters": {
            "type": "object",
            "properties": {
                "queries": {
                    "type": "array",
                    "items": {"type": "string", "maxLength": 400},  # small models would not come to an end
                    "minItems": 1,
                    "maxItems": 4,
                    "description": "What to look for: one or several short sentences, each complete in itself.",
                }
            },
            "required": ["queries"],
            "additionalProperties": False,
        },
    },
}
_FOUND = (
    "Passages that were found, the best first, each below its marker. Where you use one, write its marker right after "
    "what you took from it, exactly as it stands here, for example: {}"
)
_NOTHING = "Nothing was found. Search again in other words, or say that the files do not tell."
_NO_FILES = "There are no files to be searched."
_NO_QUERIES = 'There is nothing to look for. Call it again with {"queries": ["..."]}.'


class Options(NamedTuple):
    """How it is searched. most: passages; None: as many as is usual for the model."""

    most: int | None = None
    ranker: str = RANKER
    score_threshold: float = 0.0
    filters: Filter | None = None
    weights: Weights = Weights()

    @classmethod
    def of_assistant(cls, tool: Mapping[str, Any]) -> "Options":
        """tool: as assistants have it (AssistantToolsFileSearch)."""
        return cls._of(tool.get("file_search") or {})

    @classmethod
    def of_response(cls, tool: Mapping[str, Any], param: str) -> "Options":
        """tool: as responses have it (FileSearchTool). param: where. Raises InvalidRequest: the filters are none."""
        filters = tool.get("filters")
        return cls._of(tool)._replace(filters=None if filters is None else read_filter(filters, f"{param}.filters"))

    @classmethod
    def _of(cls, options: Mapping[str, Any]) -> "Options":
        ranking = options.get("ranking_options") or {}
        weights = ranking.get("hybrid_search")
        ranker = ranking.get("ranker") or "auto"
        return cls(
            most=options.get("max_num_results"),
            ranker=RANKER if ranker == "auto" else ranker,
            score_threshold=ranking.get("score_threshold") or 0.0,
            weights=Weights(weights["embedding_weight"], weights["text_weight"]) if weights else Weights(),
        )


class FileSearch:
    """A Hosted (loop/tools)."""

    type: ToolType = "file_search"
    definition = DEFINITION
    sources: Sequence[Searched] = ()

    def __init__(
        self,
        who: Owner,
        search: VectorSearch,
        stores: VectorStores,
        *,
        store_ids: Sequence[str],
        awaited: Sequence[str] = (),
        model: str,
        context: int | None = None,
        options: Options = Options(),  # noqa: B008
        number: int = 0,
    ) -> None:
        """store_ids: that are searched. awaited: those of them whose files are waited for, while they are on their way.
        model: that is told. context: its tokens, where they are known. number: of the first call, in the markers."""
        self._who = who
        self._search = search
        self._stores = stores
        self._store_ids = list(dict.fromkeys(store_ids))
        self._awaited = list(awaited)
        self._model = model
        smaller = model.startswith(_SMALLER_MODELS)
        most_tokens = SMALLER_TOKENS if smaller else TOKENS
        self._most_tokens = most_tokens if context is None else min(most_tokens, int(_SHARE * context))
        self._most = options.most or (SMALLER_RESULTS if smaller else RESULTS)
        self._options = options
        self._number = number

    async def call(self, calling: Calling) -> None:
        """Raises NotFound, InvalidRequest: a store is gone, or has expired; and whatever asking a model raises."""
        queries = queries_of(calling.arguments)
        number, self._number = self._number, self._number + 1
        passages: Sequence[Passage] = ()
        if not self._store_ids:
            calling.output = _NO_FILES
        elif not queries:
            calling.output = _NO_QUERIES
        else:
            await self._wait()
            try:
                found = await self._find(queries)
            except InvalidRequest as error:
                if error.param is None or not error.param.startswith("query"):
                    raise
                calling.output = f"This cannot be looked for: {error.message}"
            else:
                passages = await asyncio.to_thread(self._passages, number, found)
                calling.output = _told(passages)
        options = self._options
        calling.result = Searched(queries, [*passages], options.ranker, options.score_threshold)

    async def _find(self, queries: Sequence[str]) -> Sequence[Found]:
        for store_id in self._store_ids:
            await self._stores.searched(self._who, store_id)
        return await self._search.find(
            self._who,
            self._store_ids,
            queries,
            most=self._most,
            filters=self._options.filters,
            score_threshold=self._options.score_threshold,
            weights=self._options.weights,
        )

    async def _wait(self) -> None:
        """Once: until the files of those stores are in them."""
        awaited, self._awaited = self._awaited, []
        until = clock.monotonic() + PATIENCE
        while awaited and clock.monotonic() < until and await self._stores.in_progress(self._who, awaited):
            await clock.sleep(_LOOK)

    def _passages(self, number: int, found: Sequence[Found]) -> list[Passage]:
        """As many as there is room for; of the first, as much of it."""
        left = self._most_tokens
        made: list[Passage] = []
        for at, one in enumerate(found):
            named, text = marker(number, at, one.filename), one.text
            tokens = count_text(self._model, f"{named}\n{text}\n\n")
            if tokens > left:
                if made:
                    break
                text = text[: len(text) * left // tokens]
            left -= tokens
            made.append(Passage(named, one.file_id, one.filename, one.score, text, one.attributes))
        return made


def queries_of(arguments: str) -> list[str]:
    """What a model wants to have looked for, however it has written it."""
    try:
        value = json.loads(arguments, strict=False)
    except (ValueError, RecursionError):
        value = arguments
    if isinstance(value, dict):
        value = next((value[name] for name in ("queries", "query") if name in value), None)
    found = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    texts = [" ".join(paired(one).replace("\0", " ").split()) for one in found if isinstance(one, str)]
    return list(dict.fromkeys(text for text in texts if text))[:_MOST_QUERIES]


def _told(passages: Sequence[Passage]) -> str:
    if not passages:
        return _NOTHING
    blocks = [f"{one.marker}\n{one.text}" for one in passages]
    return "\n\n".join([_FOUND.format(passages[0].marker), *blocks])
