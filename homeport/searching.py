"""The part of the composition root for search: what it asks of models passes the straight line as any request does, on
the account of whoever searches."""

import asyncio
import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from homeport import ids
from homeport.api.resources import Operation
from homeport.api.vector_store_search import VectorStoreSearch
from homeport.backends.capabilities import Call, Frame
from homeport.batching import Gateway
from homeport.control.owners import Owner
from homeport.control.vector_search import Embedded, VectorSearch
from homeport.control.vector_stores import VectorStores
from homeport.errors import UpstreamFailed
from homeport.gateway.endpoints import CHAT, EMBEDDINGS, RERANK, Endpoint
from homeport.gateway.pipeline import StraightLine
from homeport.jobs.batch_lines import Callers
from homeport.jobs.embedding import read_vectors
from homeport.settings import Settings
from homeport.store.database import Database
from homeport.wire.rerank import RerankResponse

#: Tokens of a query that is made of a question.
_LONGEST_QUERY = 64
_REWRITE = (
    "Rewrite what the user writes as one short query for a search engine over documents: the words that the answer's "
    "text would have, in the user's language, without question words. Answer with the query alone."
)


class Searching:
    """Search of vector stores, with its one operation."""

    def __init__(self, settings: Settings, database: Database, stores: VectorStores, gateway: Gateway) -> None:
        """gateway: what answers what is asked of models."""
        chosen = settings.vector_stores
        callers = gateway.callers(database)
        asking = Asking(gateway.line, callers, rewriter=chosen.rewrite_model, reranker=chosen.reranker)
        self.rules = VectorSearch(database, stores, asking, chosen)

    def operations(self) -> Sequence[Operation]:
        return VectorStoreSearch(self.rules).operations()

    async def open(self) -> None:
        """Once the tables are there. Raises Unavailable."""
        await self.rules.open()


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Answer(msgspec.Struct):
    choices: list[_Choice]


_answer = msgspec.json.Decoder(_Answer)
_reranked = msgspec.json.Decoder(RerankResponse)


class Asking:
    """`control.vector_search.Asking`."""

    def __init__(self, line: StraightLine, callers: Callers, *, rewriter: str | None, reranker: str | None) -> None:
        """rewriter: a chat model. reranker: one that answers `/v1/rerank`."""
        self._line: Final = line
        self._callers: Final = callers
        self._rewriter: Final = rewriter
        self._reranker: Final = reranker

    async def embed(self, who: Owner, model: str, texts: Sequence[str]) -> Embedded:
        frame = await self._ask(EMBEDDINGS, who, model, {"input": texts, "encoding_format": "base64"})
        answered = await asyncio.to_thread(read_vectors, frame, model, len(texts))
        return Embedded(answered.model, answered.vectors, answered.width)

    async def rewrite(self, who: Owner, question: str) -> str | None:
        if self._rewriter is None:
            return None
        messages = [{"role": "system", "content": _REWRITE}, {"role": "user", "content": question}]
        wanted = {"messages": messages, "max_tokens": _LONGEST_QUERY, "temperature": 0}
        frame = await self._ask(CHAT, who, self._rewriter, wanted, max_tokens=_LONGEST_QUERY)
        try:
            choices = _answer.decode(frame.data).choices
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise UpstreamFailed(f"The model `{self._rewriter}` answered with something that is no message.") from None
        content = choices[0].message.content if choices else None
        return " ".join((content or "").replace("\0", " ").split()) or None

    async def rerank(self, who: Owner, query: str, texts: Sequence[str]) -> Sequence[float] | None:
        if self._reranker is None or not texts:
            return None
        wanted = {"query": query, "documents": texts, "top_n": len(texts), "return_documents": False}
        frame = await self._ask(RERANK, who, self._reranker, wanted)
        scores = {one.index: one.relevance_score for one in _reranked.decode(frame.data).results}
        if scores.keys() != {*range(len(texts))}:
            raise UpstreamFailed(f"The model `{self._reranker}` has not ranked every text.")
        ordered = [scores[at] for at in range(len(texts))]
        if all(0 <= score <= 1 for score in ordered):
            return ordered
        return [0.5 + 0.5 * math.tanh(score / 2) for score in ordered]  # some give what stands before the sigmoid

    async def _ask(
        self, endpoint: Endpoint, who: Owner, model: str, wanted: dict[str, Any], *, max_tokens: int | None = None
    ) -> Frame:
        """Raises HomeportError. Cancelling it cancels the work."""
        principal = await self._callers.of(who.key_id)
        body = msgspec.json.encode({"model": model, **wanted})
        call = Call(endpoint.name, ids.request_id(), model, body, max_tokens=max_tokens, told=[])
        return await self._line.plain(endpoint, principal, call)
