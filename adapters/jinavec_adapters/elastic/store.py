"""``VectorStore`` of elasticsearch-py that compares contracts.

``VectorStore`` does not check existing indexes, so it can mix the vectors of two models in one. ``JinaVectorStore``
reads the contract from the mapping before each add and each search.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinavec import Contract
from jinavec.errors import EngineError, InvalidInput
from jinavec.extras import require
from jinavec_adapters.elastic.embedding import AsyncJinaEmbeddingService, JinaEmbeddingService
from jinavec_adapters.elastic.strategy import AsyncJinaRetrievalStrategy, JinaRetrievalStrategy
from jinavec_adapters.shared.keywords import refuse_unknown
from jinavec_integrations.elasticsearch.mapping import contract_of

require("elasticsearch.helpers.vectorstore", "elasticsearch")
from elasticsearch import AsyncElasticsearch, Elasticsearch  # noqa: E402
from elasticsearch.helpers.vectorstore import AsyncVectorStore, VectorStore  # noqa: E402


class JinaVectorStore(VectorStore):
    """``VectorStore`` over an index of one contract.

    Raises:
        ContractMismatch: on add and search, the index has another contract.
        EngineError: on add and search, the index has none.
    """

    def __init__(
        self,
        client: Elasticsearch,
        *,
        index: str,
        embedding_service: JinaEmbeddingService | None = None,
        retrieval_strategy: JinaRetrievalStrategy | None = None,
        **how: Any,
    ) -> None:
        """Use an index, which the first add creates.

        Args:
            client: connected to the server.
            index: name of the index.
            embedding_service: embeds texts; without it every call needs vectors.
            retrieval_strategy: by default that of the embedding service's contract.
            how: anything else that ``VectorStore`` takes.

        Raises:
            InvalidInput: neither service nor strategy has a contract.
            ContractMismatch: they have different ones.
        """
        refuse_unknown(super().__init__, how)
        contract = embedding_service and embedding_service.contract
        strategy = retrieval_strategy or JinaRetrievalStrategy(contract=contract)
        self.contract = _one_contract(strategy.contract, contract)
        super().__init__(client, index=index, embedding_service=embedding_service, retrieval_strategy=strategy, **how)

    def add_texts(self, texts: list[str], **how: Any) -> list[str]:
        """Store texts as ``VectorStore`` does, if the index has this contract or does not exist yet."""
        refuse_unknown(super().add_texts, how)
        self._check()
        return super().add_texts(texts, **how)

    def search(self, **how: Any) -> list[dict[str, Any]]:
        """Search as ``VectorStore`` does, if the index has this contract."""
        refuse_unknown(super().search, how)
        self._check()
        return super().search(**how)

    def _check(self) -> None:
        client = self.client.options(ignore_status=404)
        _check_mappings(self.contract, client.indices.get_mapping(index=self.index).body)


class AsyncJinaVectorStore(AsyncVectorStore):
    """``AsyncVectorStore`` over an index of one contract; errors as of ``JinaVectorStore``."""

    def __init__(
        self,
        client: AsyncElasticsearch,
        *,
        index: str,
        embedding_service: AsyncJinaEmbeddingService | None = None,
        retrieval_strategy: AsyncJinaRetrievalStrategy | None = None,
        **how: Any,
    ) -> None:
        """Use an index, as ``JinaVectorStore`` does."""
        refuse_unknown(super().__init__, how)
        contract = embedding_service and embedding_service.contract
        strategy = retrieval_strategy or AsyncJinaRetrievalStrategy(contract=contract)
        self.contract = _one_contract(strategy.contract, contract)
        super().__init__(client, index=index, embedding_service=embedding_service, retrieval_strategy=strategy, **how)

    async def add_texts(self, texts: list[str], **how: Any) -> list[str]:
        """Store texts as ``AsyncVectorStore`` does, if the index has this contract or does not exist yet."""
        refuse_unknown(super().add_texts, how)
        await self._check()
        return await super().add_texts(texts, **how)

    async def search(self, **how: Any) -> list[dict[str, Any]]:
        """Search as ``AsyncVectorStore`` does, if the index has this contract."""
        refuse_unknown(super().search, how)
        await self._check()
        return await super().search(**how)

    async def _check(self) -> None:
        client = self.client.options(ignore_status=404)
        _check_mappings(self.contract, (await client.indices.get_mapping(index=self.index)).body)


def _one_contract(ours: Contract | None, theirs: Contract | None) -> Contract:
    if ours is None:
        raise InvalidInput("the store needs a contract: give it an embedding_service, or the strategy contract=")
    if theirs is not None:
        ours.check(theirs, ours="the strategy", theirs="the embedding service")
    return ours


def _check_mappings(contract: Contract, answer: Mapping[str, Any]) -> None:
    """Compare with every index behind a name; one that does not exist has nothing to compare."""
    for index, found in answer.items() if "error" not in answer else ():
        kept = contract_of(found["mappings"])
        if kept is None:
            raise EngineError(
                f"the index {index} exists, but holds no contract, so the model of its vectors is unknown: use another"
                " index, or elasticsearch-py's own VectorStore"
            )
        kept.check(contract, ours=f"the index {index}", theirs="the store")
