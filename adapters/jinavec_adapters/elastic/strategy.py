"""The retrieval strategies of ``elasticsearch.helpers.vectorstore``: this project's mapping and queries."""

from __future__ import annotations

from typing import Any, Literal, get_args

from jinavec import Contract
from jinavec.errors import InvalidDimension, InvalidInput, brief
from jinavec.extras import require
from jinavec_integrations.elasticsearch import queries
from jinavec_integrations.elasticsearch.connect import NEWEST
from jinavec_integrations.elasticsearch.fusion import RANK_CONSTANT
from jinavec_integrations.elasticsearch.mapping import CONTRACT, VECTOR, Layout
from jinavec_integrations.elasticsearch.options import ElasticsearchOptions, Storage

require("elasticsearch.helpers.vectorstore", "elasticsearch")
import elasticsearch  # noqa: E402
from elasticsearch.helpers.vectorstore import AsyncRetrievalStrategy, RetrievalStrategy  # noqa: E402

Hybrid = Literal["rrf", "linear"]
_HIDES_VECTORS = (9, 2)
"""From this version on an index leaves vectors out of ``_source``."""


class _Strategy:
    """The mapping and the queries; the same for both."""

    def __init__(
        self,
        *,
        contract: Contract | None = None,
        storage: Storage | None = None,
        hybrid: Hybrid | None = None,
        oversample: float | None = None,
        source_vectors: bool | None = None,
    ) -> None:
        """Choose how vectors are stored and searched.

        Args:
            contract: that of the vectors, such as the embedding service's; kept in the mapping's ``_meta``, where
                ``JinaVectorStore`` checks it (``VectorStore`` does not check existing indexes).
            storage: one of the float storages of ``ElasticsearchOptions``; by default bbq_hnsw, or int8_hnsw below 384
                dimensions.
            hybrid: also full-text search, fused by a retriever; the server's license must cover it.
            oversample: of quantized storage, how many times k are rescored with the raw vectors.
            source_vectors: ask for vectors that the server leaves out of ``_source``, which MMR reads; by default where
                the client is of version 9.2 or later. For a server older than that, say False.

        Raises:
            InvalidInput: a value that cannot be used.
        """
        if storage in ("byte", "bit"):
            raise InvalidInput(
                f"VectorStore sends floats, which storage {storage} does not take; the engine 'elasticsearch' does"
            )
        if hybrid is not None and hybrid not in get_args(Hybrid):
            raise InvalidInput(f"hybrid is 'rrf' or 'linear', not {brief(hybrid)}")
        ElasticsearchOptions(storage=storage, oversample=oversample)  # checks both
        self.contract = contract
        self.storage: Storage | None = storage
        self.hybrid: Hybrid | None = hybrid
        self.oversample = oversample
        self.source_vectors = elasticsearch.VERSION[:2] >= _HIDES_VECTORS if source_vectors is None else source_vectors

    def needs_inference(self) -> bool:
        """Return True: vectors come from an embedding service."""
        return True

    def es_mappings_settings(
        self, *, text_field: str, vector_field: str, num_dimensions: int | None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return mapping and settings of a new index.

        Raises:
            InvalidDimension: it is unknown, or not the contract's.
            InvalidInput: the storage does not support it.
        """
        dimension = num_dimensions or (self.contract.dimension if self.contract else None)
        if dimension is None:
            raise InvalidDimension(
                "the dimension is not known: give the store num_dimensions= or the strategy contract="
            )
        if self.contract is not None and dimension != self.contract.dimension:
            raise InvalidDimension(f"the store has {dimension} dimensions, the contract {self.contract.dimension}")
        layout = self._layout(dimension)
        mapping: dict[str, Any] = {
            "properties": {vector_field: layout.fields(dimension)[VECTOR], text_field: {"type": "text"}}
        }
        if self.contract is not None:
            mapping["_meta"] = {CONTRACT: self.contract.sealed()}
        return mapping, {}

    def es_query(
        self,
        *,
        query: str | None,
        query_vector: list[float] | None,
        text_field: str,
        vector_field: str,
        k: int,
        num_candidates: int,
        filter: list[dict[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """Return the arguments of ``client.search``.

        Raises:
            InvalidInput: no vector, or, for a hybrid search, no text.
            InvalidDimension: the vector has not the contract's dimension.
        """
        if query_vector is None:
            raise InvalidInput(
                "a query vector is needed: give the store an embedding_service, or search a query_vector"
            )
        if self.contract is not None and len(query_vector) != self.contract.dimension:
            raise InvalidDimension(
                f"the query has {len(query_vector)} dimensions, the contract {self.contract.dimension}"
            )
        knn = self._knn(query_vector, vector_field, k, num_candidates) | ({"filter": filter} if filter else {})
        shown = {"source_exclude_vectors": False} if self.source_vectors else {}
        if self.hybrid is None:
            return {"knn": knn, **shown}
        if query is None:
            raise InvalidInput("a hybrid search needs the query's text as well as its vector")
        words: dict[str, Any] = {"bool": {"must": [{"match": {text_field: query}}], "filter": filter or []}}
        window = max(k, num_candidates)
        if self.hybrid == "rrf":
            return {"retriever": queries.rrf(knn, words, window, RANK_CONSTANT), **shown}
        return {"retriever": queries.linear(knn, words, window, 0.5), **shown}

    def _knn(self, vector: list[float], field: str, k: int, candidates: int) -> dict[str, Any]:
        layout = self._layout(len(vector))
        section = queries.nearest(layout, vector, k, candidates=candidates, oversample=self.oversample)
        return section | {"field": field}

    def _layout(self, dimension: int) -> Layout:
        return Layout.choose(ElasticsearchOptions(storage=self.storage), dimension, NEWEST)


class JinaRetrievalStrategy(_Strategy, RetrievalStrategy):
    """Explicit index options, rescoring with raw vectors, and hybrid search, for ``VectorStore``."""


class AsyncJinaRetrievalStrategy(_Strategy, AsyncRetrievalStrategy):
    """Explicit index options, rescoring with raw vectors, and hybrid search, for ``AsyncVectorStore``."""
