"""Search of vector stores: nearest by vectors and best by words, fused by their ranks.

    1  queries     rewritten where that is asked for, made vectors by the model of the store
    2  two halves  of each query, CANDIDATES nearest chunks (store/vectors.py), CANDIDATES best by words (keywords.py)
    3  fusion      of all these lists by the ranks of a chunk in them (reciprocal rank fusion)
    4  reranker    where there is one, the best CANDIDATES are put in its order
    5  scores      0 to 1, falling; those below the threshold are left out

What is found is there at the end: the rows of candidates are read last, and of a file that is not completed any more,
or was taken out, or does not pass the filters, none is. Why scores are what they are: docs/decisions/0010.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import sqlalchemy as sa

from homeport.control import vector_store_states as states
from homeport.control.files import alive
from homeport.control.owners import Owner
from homeport.control.vector_filters import condition
from homeport.control.vector_queries import as_query
from homeport.control.vector_store_states import Store
from homeport.control.vector_stores import VectorStores
from homeport.errors import HomeportError, InvalidRequest
from homeport.settings import VectorStores as VectorStoresSettings
from homeport.store import keywords, pgvector
from homeport.store.database import Database
from homeport.store.tables import files, vector_store_chunks, vector_store_files, vector_stores
from homeport.wire.vector_store_search import (
    Filter,
    VectorStoreSearchRequest,
    VectorStoreSearchResultContentObject,
    VectorStoreSearchResultItem,
    VectorStoreSearchResultsPage,
)

if TYPE_CHECKING:
    from homeport.store.vectors import Index

log = logging.getLogger("homeport.vector_stores")

#: Of each list, and of what is re-ranked. As many as can be asked for.
CANDIDATES = 50
DEFAULT_RESULTS = 10
#: Of reciprocal rank fusion: how little the first of a list is before the second (Cormack, Clarke, Buettcher 2009).
_K = 60


class Found(NamedTuple):
    """A chunk. chunk: its number in its file; begins, ends: its place in the file's text, in characters."""

    file_id: str
    filename: str
    score: float
    attributes: dict[str, Any] | None
    text: str
    chunk: int
    page: int | None
    begins: int
    ends: int


class Weights(NamedTuple):
    """How much each half counts, as `hybrid_search` of the tool `file_search` has them. Not both are 0."""

    embedding: float = 1.0
    text: float = 1.0


class Embedded(NamedTuple):
    """model: that answered. vectors: one a text, float32, little-endian, of length 1; width: numbers of one."""

    model: str
    vectors: Sequence[bytes]
    width: int


class Asking(Protocol):
    """Models, asked on the account of whoever searches."""

    async def embed(self, who: Owner, model: str, texts: Sequence[str]) -> Embedded:
        """Raises HomeportError."""
        ...

    async def rewrite(self, who: Owner, question: str) -> str | None:
        """A query in place of a question; None: no model does that. Raises HomeportError."""
        ...

    async def rerank(self, who: Owner, query: str, texts: Sequence[str]) -> Sequence[float] | None:
        """How relevant each text is, 0 to 1; None: no model says so. Raises HomeportError."""
        ...


class _Row(NamedTuple):
    """Of a candidate. similarity: to the nearest of the queries, 0 to 1; rank: what the ranks in all lists come to."""

    seq: int
    found: Found
    similarity: float
    rank: float


class VectorSearch:
    def __init__(
        self, database: Database, stores: VectorStores, asking: Asking, settings: VectorStoresSettings
    ) -> None:
        self._database: Final = database
        self._stores: Final = stores
        self._asking: Final = asking
        self._most_bytes = settings.cache_mb * 2**20
        self._pgvector = settings.pgvector and not database.sqlite
        self._index: Index | None = None

    async def open(self) -> None:
        """Once the tables are there. Raises Unavailable."""
        if self._pgvector:
            self._pgvector = await pgvector.make(self._database)

    async def search(self, who: Owner, store_id: str, asked: VectorStoreSearchRequest) -> VectorStoreSearchResultsPage:
        """Raises NotFound, InvalidRequest, and whatever asking a model raises."""
        wanted = asked.filter()
        options = asked.ranking_options
        await self._stores.searched(who, store_id)
        queries: Sequence[str] = asked.queries
        if asked.rewrite_query:
            queries = await self.rewritten(who, queries)
        found = await self.find(
            who,
            [store_id],
            queries,
            most=asked.max_num_results or DEFAULT_RESULTS,
            filters=wanted,
            ranker=options.ranker if options else "auto",
            score_threshold=options.score_threshold if options else 0.0,
        )
        return VectorStoreSearchResultsPage([*queries], [_as_item(one) for one in found])

    async def rewritten(self, who: Owner, questions: Sequence[str]) -> list[str]:
        """Raises HomeportError."""
        return [await self._asking.rewrite(who, one) or as_query(one) for one in questions]

    async def find(
        self,
        who: Owner,
        store_ids: Sequence[str],
        queries: Sequence[str],
        *,
        most: int,
        filters: Filter | None = None,
        ranker: str = "auto",
        score_threshold: float = 0.0,
        weights: Weights = Weights(),  # noqa: B008
    ) -> list[Found]:
        """In all of these stores together, the best first, for all of the queries together.

        Raises as `search`.
        """
        async with self._database.read() as connection:
            stores = [await states.find(connection, who, one) for one in dict.fromkeys(store_ids)]
        for store in stores:
            states.check_usable(store)
        stores = [store for store in stores if store["width"] is not None]  # others have nothing in them
        if not stores:
            return []
        where = None if filters is None else condition(filters, sqlite=self._database.sqlite)
        asked = await self._embed(who, stores, queries)
        ranks: defaultdict[int, float] = defaultdict(float)
        for weight, ranked in await self._lists(stores, queries, asked, where, weights):
            for rank, seq in enumerate(ranked, 1):
                ranks[seq] += weight / (_K + rank)
        rows = await self._rows(ranks, asked, where)
        if ranker != "none":
            reranked = await self._reranked(who, queries, rows[:CANDIDATES])
            if reranked is not None:
                return [one for one in reranked if one.score >= score_threshold][:most]
        scored = zip(rows, falling([row.similarity for row in rows]), strict=True)
        every = (row.found._replace(score=score) for row, score in scored)
        return [one for one in every if one.score >= score_threshold][:most]

    async def _embed(
        self, who: Owner, stores: Sequence[Store], queries: Sequence[str]
    ) -> "dict[tuple[str, str, int], Sequence[bytes]]":
        """Vectors of the queries, of each model that stores were made with. Raises HomeportError."""
        found = {}
        for model, answered, width in {_model_of(store): None for store in stores}:
            try:
                embedded = await self._asking.embed(who, model, queries)
            except InvalidRequest as error:
                if error.param is not None and error.param.startswith("input"):
                    error.param = "query" + error.param.removeprefix("input")
                raise
            if (embedded.model, embedded.width) != (answered, width):
                raise HomeportError(
                    f"The vectors of this store were made by {answered!r} with {width} numbers, and for the query "
                    f"{embedded.model!r} answered with {embedded.width}: they cannot be compared. Bring the model back "
                    "under its name, or put the files into a new store.",
                    code="other_embedding_model",
                )
            found[model, answered, width] = embedded.vectors
        return found

    async def _lists(
        self,
        stores: Sequence[Store],
        queries: Sequence[str],
        asked: "dict[tuple[str, str, int], Sequence[bytes]]",
        where: "sa.ColumnElement[bool] | None",
        weights: Weights,
    ) -> list[tuple[float, Sequence[int]]]:
        """Numbers of chunks, the best first, and how much each list counts."""
        found: list[tuple[float, Sequence[int]]] = []

        async def by_vectors() -> None:
            for model, vectors in asked.items():
                those = [store for store in stores if _model_of(store) == model]
                for ranked in await self._nearest(those, vectors, where):
                    found.append((weights.embedding, ranked))

        async def by_words() -> None:
            seqs = [store["seq"] for store in stores]
            async with self._database.read() as connection:
                for query in queries:
                    ranked = await keywords.best(connection, seqs, query, most=CANDIDATES, where=where)
                    found.append((weights.text, ranked))

        try:
            async with asyncio.TaskGroup() as group:
                if weights.embedding:
                    group.create_task(by_vectors())
                if weights.text:
                    group.create_task(by_words())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return found

    async def _nearest(
        self, stores: Sequence[Store], vectors: Sequence[bytes], where: "sa.ColumnElement[bool] | None"
    ) -> list[list[int]]:
        """For each query, in all stores of one model."""
        from homeport.store.vectors import Searched, merged, numbers_of

        index = self._chosen()
        queries = numbers_of(vectors)
        each = [
            await index.nearest(
                Searched(store["seq"], store["generation"], store["width"]), queries, most=CANDIDATES, where=where
            )
            for store in stores
        ]
        return [[one.seq for one in merged(some, CANDIDATES)] for some in zip(*each, strict=True)]

    def _chosen(self) -> "Index":
        """With it comes numpy, which nobody needs who does not search. Raises HomeportError: it is not installed."""
        if self._index is None:
            try:
                from homeport.store.vectors import Matrices
            except ModuleNotFoundError:
                raise HomeportError(
                    "Search of vector stores needs an extra on this server: pip install 'homeport[documents]'."
                ) from None
            if self._pgvector:
                self._index = pgvector.Vectors(self._database)
            else:
                self._index = Matrices(self._database, most_bytes=self._most_bytes)
        return self._index

    async def _rows(
        self,
        ranks: "dict[int, float]",
        asked: "dict[tuple[str, str, int], Sequence[bytes]]",
        where: "sa.ColumnElement[bool] | None",
    ) -> list[_Row]:
        """Of the best candidates that are still there, the best first."""
        best = sorted(ranks, key=lambda seq: (-ranks[seq], seq))[: 2 * CANDIDATES]
        chunks, inside, stores = vector_store_chunks.c, vector_store_files.c, vector_stores.c
        query = (
            sa.select(vector_store_chunks, inside.file_id, inside.attributes, files.c.filename)
            .add_columns(stores.model, stores.answered, stores.width)
            .join(vector_store_files, inside.seq == chunks.file_seq)
            .join(files, files.c.id == inside.file_id)
            .join(vector_stores, stores.seq == chunks.store_seq)
            .where(chunks.seq.in_(best), inside.status == "completed", states.usable(), alive())
        )
        if where is not None:
            query = query.where(where)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        similar = _similarities(rows, asked)
        made = [_Row(row["seq"], _found(row), similar[row["seq"]], ranks[row["seq"]]) for row in rows]
        return sorted(made, key=lambda one: (-one.rank, -one.similarity, one.seq))

    async def _reranked(self, who: Owner, queries: Sequence[str], rows: Sequence[_Row]) -> list[Found] | None:
        """None: nobody does that, or who does cannot now, which is no reason to find nothing."""
        try:
            scores = await self._asking.rerank(who, "\n".join(queries), [row.found.text for row in rows])
        except HomeportError as error:
            log.warning("the reranker does not answer, and what is found stays in its order: %s", type(error).__name__)
            return None
        if scores is None:
            return None
        scored = [(row, min(1.0, max(0.0, score))) for row, score in zip(rows, scores, strict=True)]
        scored.sort(key=lambda one: -one[1])  # equals stay in the order that they had
        return [row.found._replace(score=score) for row, score in scored]


def falling(values: Sequence[float]) -> list[float]:
    """The falling numbers that are nearest to these (least squares): neighbours that rise become their mean."""
    pools: list[tuple[float, int]] = []
    for value in values:
        mean, count = value, 1
        while pools and pools[-1][0] < mean:
            before, some = pools.pop()
            mean, count = (before * some + mean * count) / (some + count), some + count
        pools.append((mean, count))
    return [mean for mean, count in pools for _ in range(count)]


def _model_of(store: Store) -> tuple[str, str, int]:
    """That its vectors are asked of, the one that answered, and its width."""
    return store["model"], store["answered"], store["width"]


def _similarities(
    rows: Iterable[sa.RowMapping], asked: "dict[tuple[str, str, int], Sequence[bytes]]"
) -> dict[int, float]:
    """By the number of a chunk: cosine of the nearest of its vectors and of the queries'; what points away is 0."""
    from homeport.store.vectors import numbers_of, similarity

    queries = {model: numbers_of(vectors) for model, vectors in asked.items()}
    return {row["seq"]: max(0.0, similarity(row["vectors"], queries[_model_of(row)])) for row in rows}


def _found(row: sa.RowMapping) -> Found:
    return Found(
        file_id=row["file_id"],
        filename=row["filename"],
        score=0.0,
        attributes=row["attributes"],
        text=row["text"],
        chunk=row["number"],
        page=row["page"],
        begins=row["begins"],
        ends=row["ends"],
    )


def _as_item(found: Found) -> VectorStoreSearchResultItem:
    content = VectorStoreSearchResultContentObject(found.text, found.page, found.begins, found.ends)
    return VectorStoreSearchResultItem(found.file_id, found.filename, found.score, found.attributes, [content])
