"""Elastic: what elasticsearch-py's own ``VectorStore`` asks for, embeddings and a retrieval strategy."""

from jinavec_adapters.elastic.embedding import AsyncJinaEmbeddingService, JinaEmbeddingService
from jinavec_adapters.elastic.strategy import AsyncJinaRetrievalStrategy, JinaRetrievalStrategy

__all__ = [
    "AsyncJinaEmbeddingService",
    "AsyncJinaRetrievalStrategy",
    "JinaEmbeddingService",
    "JinaRetrievalStrategy",
]
