"""Chroma: an embedding function that knows queries from documents."""

from jinavec import extras

extras.require("chromadb", "chroma")

from jinavec_adapters.chroma.function import JinaV5EmbeddingFunction  # noqa: E402

__all__ = ["JinaV5EmbeddingFunction"]
