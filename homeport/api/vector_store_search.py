"""`POST /v1/vector_stores/{vector_store_id}/search`, and Azure's."""

from collections.abc import Sequence

from homeport.api.resources import Asked, Operation
from homeport.control.vector_search import VectorSearch as Rules
from homeport.wire.vector_store_search import VectorStoreSearchRequest, VectorStoreSearchResultsPage


class VectorStoreSearch:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def operations(self) -> Sequence[Operation]:
        path = "/v1/vector_stores/{vector_store_id}/search"
        return [Operation("POST", path, self.search, body=VectorStoreSearchRequest, scope="vector_stores.read")]

    async def search(self, asked: Asked) -> VectorStoreSearchResultsPage:
        return await self._rules.search(asked.who, asked.path["vector_store_id"], asked.body)
