"""LanceDB: an entry of its registry of embedding functions."""

from jinavec import extras

extras.require("lancedb", "lancedb")

from jinavec_adapters.lancedb.function import JinaV5EmbeddingFunction  # noqa: E402

__all__ = ["JinaV5EmbeddingFunction"]
