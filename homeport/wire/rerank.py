"""Texts in the order of how much they have to do with a query. OpenAI has no word for it: the request and the answer
are those that Jina, Cohere and vLLM have in common.

    POST /v1/rerank {"model", "query", "documents": [text, ...], "top_n", "return_documents"}
    {"results": [{"index", "relevance_score", "document"}, ...], "usage": {"total_tokens"}}
"""

from msgspec import Struct


class RerankResult(Struct):
    """index: of the document in the request. What else there is of it is passed on as it came."""

    index: int
    relevance_score: float


class RerankUsage(Struct):
    total_tokens: int | None = None
    prompt_tokens: int | None = None


class RerankResponse(Struct):
    results: list[RerankResult]
    model: str | None = None
    usage: RerankUsage | None = None
