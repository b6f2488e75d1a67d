"""Search of vector stores. Source: VectorStoreSearchRequest, VectorStoreSearchResultsPage, ComparisonFilter,
CompoundFilter.

Beside what the description has, a piece of content says where it stands in its file: `page` (from 1; null where the
kind of file has none), and `begins` and `ends`, its first character and the one after its last in the file's text. The
SDKs keep members that they do not know.
"""

from collections.abc import Sequence
from math import isfinite
from typing import Annotated, Any, Literal, NoReturn, TypeAlias

import msgspec
from msgspec import Meta, Raw, Struct

from homeport.errors import InvalidRequest
from homeport.wire import base
from homeport.wire.fields import Request

#: Queries of one search. The description says nothing of it.
MOST_QUERIES = 32
#: How deep filters may be in each other, comparisons and values that there may be. The description says nothing of it.
DEEPEST = 16
MOST_COMPARISONS = 256
MOST_VALUES = 10_000

Attribute: TypeAlias = str | float | bool
Attributes: TypeAlias = dict[str, Attribute]
COMPARISONS = ("eq", "ne", "gt", "gte", "lt", "lte")
MEMBERSHIPS = ("in", "nin")
COMPOUNDS = ("and", "or")
#: Those for which one of two values is the greater.
_ORDERING = ("gt", "gte", "lt", "lte")


class ComparisonFilter(Struct, frozen=True):
    """Numbers are floats: 1 and 1.0 are one number."""

    type: str
    key: str
    value: Attribute | tuple[str | float, ...]


class CompoundFilter(Struct, frozen=True):
    type: Literal["and", "or"]
    filters: "tuple[Filter, ...]"


Filter: TypeAlias = ComparisonFilter | CompoundFilter


class RankingOptions(Request):
    ranker: Literal["none", "auto", "default-2024-11-15"] = "auto"
    score_threshold: Annotated[float, Meta(ge=0, le=1)] = 0.0


class VectorStoreSearchRequest(Request):
    query: str | list[str]
    rewrite_query: bool | None = None
    max_num_results: Annotated[int, Meta(ge=1, le=50)] | None = None
    filters: Raw = Raw(b"null")
    ranking_options: RankingOptions | None = None

    def __post_init__(self) -> None:
        """Raises InvalidRequest."""
        if isinstance(self.query, str):
            _check_text("query", self.query)
            return
        if not self.query:
            raise base.empty("query", "array")
        if len(self.query) > MOST_QUERIES:
            raise InvalidRequest(
                f"Invalid 'query': array too long. Expected an array with maximum length {MOST_QUERIES}, but got an "
                f"array with length {len(self.query)} instead.",
                param="query",
                code="array_above_max_length",
            )
        for at, one in enumerate(self.query):
            _check_text(f"query[{at}]", one)

    @property
    def queries(self) -> list[str]:
        return [self.query] if isinstance(self.query, str) else self.query

    def filter(self) -> Filter | None:
        """Raises InvalidRequest, which names the place."""
        raw = msgspec.json.decode(self.filters)
        return None if raw is None else read_filter(raw)


class VectorStoreSearchResultContentObject(Struct):
    text: str
    page: int | None
    begins: int
    ends: int
    type: Literal["text"] = "text"


class VectorStoreSearchResultItem(Struct):
    file_id: str
    filename: str
    score: float
    attributes: Attributes | None
    content: list[VectorStoreSearchResultContentObject]


class VectorStoreSearchResultsPage(Struct):
    """search_query: what was looked for, after rewriting."""

    search_query: list[str]
    data: list[VectorStoreSearchResultItem]
    has_more: bool = False
    next_page: str | None = None
    object: Literal["vector_store.search_results.page"] = "vector_store.search_results.page"


def read_filter(raw: Any, param: str = "filters") -> Filter:
    """Raises InvalidRequest, whose `param` is the place: `filters.filters[1].value`."""
    return _Reading().filter(raw, param, 1)


class _Reading:
    """Of one whole filter, whose parts are counted."""

    def __init__(self) -> None:
        self._comparisons = 0
        self._values = 0

    def filter(self, raw: Any, path: str, depth: int) -> Filter:
        if not isinstance(raw, dict):
            _wrong_type(path, "an object", raw)
        if depth > DEEPEST:
            raise InvalidRequest(f"Invalid '{path}': filters may be {DEEPEST} deep in each other at most.", param=path)
        kind = raw.get("type")
        compound = kind in COMPOUNDS
        members = ("type", "filters") if compound else ("type", "key", "value")
        if "type" not in raw:
            raise base.missing(f"{path}.type")
        if kind not in (*COMPARISONS, *MEMBERSHIPS, *COMPOUNDS):
            every = [f"'{one}'" for one in (*COMPARISONS, *MEMBERSHIPS, *COMPOUNDS)]
            raise base.unsupported_value(f"{path}.type", kind, f"{', '.join(every[:-1])}, and {every[-1]}")
        for name in members:
            if name not in raw:
                raise base.missing(f"{path}.{name}")
        for name in raw:
            if name not in members:
                raise InvalidRequest(
                    f"Unknown parameter: '{path}.{name}'.", param=f"{path}.{name}", code="unknown_parameter"
                )
        if compound:
            return self._compound(kind, raw["filters"], f"{path}.filters", depth)
        self._comparisons += 1
        if self._comparisons > MOST_COMPARISONS:
            raise InvalidRequest(f"Invalid 'filters': more than {MOST_COMPARISONS} comparisons.", param="filters")
        if not isinstance(raw["key"], str):
            _wrong_type(f"{path}.key", "a string", raw["key"])
        base.check_nul(f"{path}.key", raw["key"])
        return ComparisonFilter(kind, raw["key"], self._value(kind, raw["value"], f"{path}.value"))

    def _compound(self, kind: Literal["and", "or"], raw: Any, path: str, depth: int) -> CompoundFilter:
        if not isinstance(raw, list):
            _wrong_type(path, "an array", raw)
        if not raw:
            raise base.empty(path, "array")
        return CompoundFilter(kind, tuple(self.filter(one, f"{path}[{at}]", depth + 1) for at, one in enumerate(raw)))

    def _value(self, kind: str, raw: Any, path: str) -> Attribute | tuple[str | float, ...]:
        if kind in MEMBERSHIPS:
            if not isinstance(raw, list):
                _wrong_type(path, "an array of strings and numbers", raw)
            self._values += len(raw)
            if self._values > MOST_VALUES:
                raise InvalidRequest(f"Invalid '{path}': filters have more than {MOST_VALUES} values.", param=path)
            return tuple(self._one(one, f"{path}[{at}]", "a string or a number") for at, one in enumerate(raw))
        if kind in _ORDERING:
            return self._one(raw, path, "a string or a number")
        return raw if isinstance(raw, bool) else self._one(raw, path, "a string, a number or a boolean")

    def _one(self, raw: Any, path: str, expected: str) -> str | float:
        if isinstance(raw, bool) or not isinstance(raw, str | int | float):
            _wrong_type(path, expected, raw)
        if isinstance(raw, str):
            base.check_nul(path, raw)
            return raw
        try:
            number = float(raw)
        except OverflowError:
            number = float("inf")
        if not isfinite(number):
            raise InvalidRequest(f"Invalid '{path}': the number is too large.", param=path, code="invalid_value")
        return number


_TYPES: Sequence[tuple[Any, str]] = [
    (bool, "a boolean"),
    (str, "a string"),
    (int, "an integer"),
    (float, "a decimal"),
    (dict, "an object"),
    (list, "an array"),
]


def _wrong_type(path: str, expected: str, raw: Any) -> NoReturn:
    got = next((name for kind, name in _TYPES if isinstance(raw, kind)), "null")
    raise InvalidRequest(
        f"Invalid type for '{path}': expected {expected}, but got {got} instead.", param=path, code="invalid_type"
    )


def _check_text(path: str, text: str) -> None:
    if not text.strip():
        raise base.empty(path, "string")
    base.check_nul(path, text)
