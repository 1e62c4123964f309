"""Elasticsearch: an index of vectors, texts and metadata; ingest, search, and inference endpoints."""

from jinavec_integrations.elasticsearch.index import ElasticsearchIndex
from jinavec_integrations.elasticsearch.inference import InferenceSetup
from jinavec_integrations.elasticsearch.options import ElasticsearchOptions
from jinavec_integrations.elasticsearch.setup import set_up_inference

__all__ = ["ElasticsearchIndex", "ElasticsearchOptions", "InferenceSetup", "set_up_inference"]
