"""The contract of what an Embeddings object makes."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings

from jinavec import Contract, Task
from jinavec_adapters.langchain.embeddings import JinaV5Embeddings


def find_ours(embedding: Embeddings) -> JinaV5Embeddings | None:
    """Return the JinaV5Embeddings that does the work, also behind a cache; None where another one does."""
    inner: object = embedding
    while inner is not None and not isinstance(inner, JinaV5Embeddings):
        inner = getattr(inner, "underlying_embeddings", None)  # CacheBackedEmbeddings
    return inner


def foreign_contract(embedding: Embeddings, width: int) -> Contract:
    """Return the contract of another class's vectors, of which nothing is known but the class and their width."""
    return Contract(
        model=type(embedding).__name__, task=Task.RETRIEVAL, query_prefix="", document_prefix="", dimension=width
    )
