"""Haystack: a text embedder for queries, a document embedder for documents."""

from jinavec import extras

extras.require("haystack", "haystack")

from jinavec_adapters.haystack.embedders import JinaV5DocumentEmbedder, JinaV5TextEmbedder  # noqa: E402

__all__ = ["JinaV5DocumentEmbedder", "JinaV5TextEmbedder"]
