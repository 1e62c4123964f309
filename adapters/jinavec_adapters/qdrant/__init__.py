"""Qdrant's own ways to ask for vectors: ``models.Document`` in qdrant-client, and the provider of mcp-server-qdrant."""

from jinavec_adapters.qdrant.provider import AsyncEmbeddingProvider
from jinavec_adapters.qdrant.registry import register, vector_params

__all__ = ["AsyncEmbeddingProvider", "register", "vector_params"]
