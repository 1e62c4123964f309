"""Qdrant collections: presets of quantization, ingest, search; on a server or in qdrant-client's local mode."""

from jinavec_integrations.qdrant.index import QdrantIndex
from jinavec_integrations.qdrant.options import QdrantOptions

__all__ = ["QdrantIndex", "QdrantOptions"]
