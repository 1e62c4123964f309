"""Qdrant's own ways to ask for vectors: ``models.Document`` in qdrant-client, and the provider of mcp-server-qdrant."""

from jinavec_adapters.qdrant.document import vector_params
from jinavec_adapters.qdrant.provider import AsyncEmbeddingProvider
from jinavec_adapters.qdrant.registry import register

__all__ = ["AsyncEmbeddingProvider", "register", "vector_params"]
