"""Elastic: what elasticsearch-py's own ``VectorStore`` asks for, and one that compares contracts."""

from jinavec_adapters.elastic.embedding import AsyncJinaEmbeddingService, JinaEmbeddingService
from jinavec_adapters.elastic.store import AsyncJinaVectorStore, JinaVectorStore
from jinavec_adapters.elastic.strategy import AsyncJinaRetrievalStrategy, JinaRetrievalStrategy

__all__ = [
    "AsyncJinaEmbeddingService",
    "AsyncJinaRetrievalStrategy",
    "AsyncJinaVectorStore",
    "JinaEmbeddingService",
    "JinaRetrievalStrategy",
    "JinaVectorStore",
]
