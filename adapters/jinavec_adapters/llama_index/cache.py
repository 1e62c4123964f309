"""RoleCache: LlamaIndex looks up every vector by its text alone; here contract and role belong to the key."""

from __future__ import annotations

from typing import Any

from llama_index.core.storage.kvstore.types import DEFAULT_COLLECTION, BaseKVStore

from jinavec import Contract, Role
from jinavec.errors import InvalidType


class Query(str):
    """A text in the role of a query; every other text is a document."""


class RoleCache(BaseKVStore):
    """A key-value store of embeddings that several models, and both roles of a text, may share."""

    def __init__(self, store: BaseKVStore, contract: Contract) -> None:
        self._store: Any = store  # its tables are untyped
        self._digest = contract.digest

    @classmethod
    def over(cls, store: Any, contract: Contract) -> RoleCache | None:
        """Wrap the store a user gave, if any.

        Raises:
            InvalidType: it is no ``BaseKVStore``.
        """
        if store is None:
            return None
        if not isinstance(store, BaseKVStore):
            raise InvalidType(f"embeddings_cache must be a BaseKVStore of LlamaIndex, not {type(store).__name__}")
        return cls(store, contract)

    def _key(self, text: str) -> str:
        role = Role.QUERY if isinstance(text, Query) else Role.DOCUMENT
        return f"{self._digest}/{role}/{text}"

    def put(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """Store the vector of a text."""
        self._store.put(self._key(key), val, collection)

    async def aput(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """Store the vector of a text."""
        await self._store.aput(self._key(key), val, collection)

    def get(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """Look up the vector of a text."""
        return self._store.get(self._key(key), collection)

    async def aget(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """Look up the vector of a text."""
        return await self._store.aget(self._key(key), collection)

    def delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Forget the vector of a text."""
        return self._store.delete(self._key(key), collection)

    async def adelete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Forget the vector of a text."""
        return await self._store.adelete(self._key(key), collection)

    def get_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """Return everything in the store, under its full keys."""
        return self._store.get_all(collection)

    async def aget_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """Return everything in the store, under its full keys."""
        return await self._store.aget_all(collection)
