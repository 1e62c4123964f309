"""The contract of what an Embeddings object makes."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings

from jinavec import Contract
from jinavec_adapters.shared.foreign import foreign_contract


def behind_caches(embedding: Embeddings) -> Embeddings:
    """Return what makes the vectors: CacheBackedEmbeddings only keep those of another object."""
    inner = getattr(embedding, "underlying_embeddings", None)
    return behind_caches(inner) if isinstance(inner, Embeddings) else embedding


def check_foreign(stored: Contract, embedding: Embeddings) -> None:
    """Refuse an index that another class or model filled.

    jinavec 0.1 recorded only the class of what it was given, so the class alone is compared with its indexes.

    Raises:
        ContractMismatch: the index holds the vectors of another class or model.
    """
    if stored.model not in (type(embedding).__name__, type(behind_caches(embedding)).__name__):
        stored.check(foreign_contract(behind_caches(embedding), stored.dimension), theirs="the embedding")
