"""Elasticsearch: an index of vectors, texts and metadata; ingest, search, and inference endpoints."""

from jinavec_integrations.elasticsearch.index import ElasticsearchIndex
from jinavec_integrations.elasticsearch.options import ElasticsearchOptions

__all__ = ["ElasticsearchIndex", "ElasticsearchOptions"]
