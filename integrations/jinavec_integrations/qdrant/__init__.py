"""Qdrant collections: presets of quantisation, ingest, search; on a server or in qdrant-client's local mode."""

from jinavec_integrations.qdrant.index import QdrantIndex
from jinavec_integrations.qdrant.ingest import Ingested
from jinavec_integrations.qdrant.options import QdrantOptions

__all__ = ["Ingested", "QdrantIndex", "QdrantOptions"]
