"""BinaryVectorStore: LlamaIndex's vector store over the FAISS binary index."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from os import PathLike, fspath
from typing import Any, Self

import numpy as np
from fsspec import AbstractFileSystem  # pyright: ignore[reportMissingTypeStubs]
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr
from llama_index.core.schema import BaseNode, ImageNode, IndexNode
from llama_index.core.vector_stores.types import (
    DEFAULT_PERSIST_DIR,
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)

from jinavec import Contract, Engine, ModelProfile, Record, open_engine
from jinavec.errors import InvalidInput, InvalidType
from jinavec.filters import match, parse_filter
from jinavec_adapters.llama_index import pointer
from jinavec_adapters.llama_index.embedding import JinaV5Embedding
from jinavec_adapters.llama_index.filters import Condition, translate
from jinavec_adapters.llama_index.nodes import DOC_ID, NODE_ID, embedding_of, read_node, write_node

_BLOCK = 10_000
"""Nodes cleared at a time."""


class BinaryVectorStore(BasePydanticVectorStore):
    """Nodes with their texts in a FAISS binary index, which is a folder: what was added is on the disk.

    The folder carries the contract of its vectors. Opening it with an embedding model of another one is refused.
    """

    model_config = ConfigDict(extra="forbid")

    stores_text: bool = True
    path: str = Field(frozen=True)
    """The folder."""

    _index: Engine = PrivateAttr()

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        embed_model: BaseEmbedding | None = None,
        contract: Contract | None = None,
        **fields: Any,
    ) -> None:
        """Open the index at a path; make it, if there is none and the contract is known.

        Args:
            path: the folder.
            embed_model: the model that embeds the nodes. One that is no ``JinaV5Embedding`` is asked for one vector to
                learn its width, unless the contract is given; its contract is named after its class and model.
            contract: what the embeddings are made under, where no model is at hand.
            fields: those of ``BasePydanticVectorStore``.

        Raises:
            IndexNotFound: nothing is there, and neither model nor contract was given.
            ContractMismatch: the index has another contract; each difference is named.
        """
        fields["path"] = fspath(path)
        super().__init__(**fields)
        encoder = embed_model.encoder if isinstance(embed_model, JinaV5Embedding) else None
        if encoder is None and contract is None and embed_model is not None:
            contract = _foreign_contract(embed_model)
        self._index = open_engine(f"faiss:{self.path}", contract=contract, encoder=encoder)

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex serialises the class."""
        return "BinaryVectorStore"

    @property
    def client(self) -> Engine:
        """The ``BinaryIndex`` beneath."""
        return self._index

    @property
    def contract(self) -> Contract:
        """The contract of every vector inside."""
        return self._index.contract

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Store nodes with their embeddings, replacing those with the same id; all of them, or none on an error.

        Raises:
            InvalidVectors: a node without an embedding, or with one of another width.
            InvalidRecord: a node that cannot be stored as JSON.
        """
        self._index.add([write_node(node) for node in nodes], [embedding_of(node) for node in nodes])
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete all nodes of a document; an unknown one is passed over."""
        self._delete(self._find({DOC_ID: ref_doc_id}))

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Delete the nodes with these ids, or that pass the filters; with both, those for which both is true.

        Raises:
            InvalidInput: neither was given; ``clear`` deletes everything.
        """
        if node_ids is None and translate(filters) is None:
            raise InvalidInput("delete_nodes needs node_ids or filters; to delete everything, call clear()")
        self._delete(self._select(node_ids, filters))

    def clear(self) -> None:
        """Delete all nodes."""
        while found := self._find(None, _BLOCK):
            self._delete(found)

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Return the nodes with these ids, in their order, and that pass the filters; all nodes without either."""
        return [read_node(record) for record in self._select(node_ids, filters)]

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Return the nodes nearest to an embedding, best first.

        Similarities are cosines or the index's best estimates of them, in [-1, 1]. Empty ``node_ids`` and ``doc_ids``
        restrict nothing; nor do ``node_ids`` of index and image nodes alone, since the retrievers of an index that has
        such nodes always give them, and would hide all others.

        Raises:
            InvalidInput: a mode other than default, no embedding, or an option that does not exist.
            InvalidFilter: filters that jinavec's cannot express.
        """
        if query.mode != VectorStoreQueryMode.DEFAULT:
            raise InvalidInput(f"BinaryVectorStore has no query mode {query.mode.value!r}; it has 'default'")
        if query.query_embedding is None:
            raise InvalidInput("BinaryVectorStore searches by an embedding, and the query has none")
        if kwargs:
            raise InvalidInput(f"BinaryVectorStore's query has no option {next(iter(kwargs))!r}: it has none")
        hits = self._index.search(query.query_embedding, query.similarity_top_k, self._restriction(query))
        return VectorStoreQueryResult(
            nodes=[read_node(hit.record) for hit in hits],
            similarities=[hit.score for hit in hits],
            ids=[hit.record.id for hit in hits],
        )

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """``add`` without blocking the event loop."""
        return await asyncio.to_thread(self.add, nodes, **kwargs)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """``delete`` without blocking the event loop."""
        await asyncio.to_thread(self.delete, ref_doc_id, **delete_kwargs)

    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """``delete_nodes`` without blocking the event loop."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **delete_kwargs)

    async def aclear(self) -> None:
        """``clear`` without blocking the event loop."""
        await asyncio.to_thread(self.clear)

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """``get_nodes`` without blocking the event loop."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """``query`` without blocking the event loop."""
        return await asyncio.to_thread(self.query, query, **kwargs)

    def persist(self, persist_path: str, fs: AbstractFileSystem | None = None) -> None:
        """Write a small file that says where the index is, as a StorageContext asks; the index is on disk already.

        Raises:
            InvalidInput: a file system that is not this machine's.
        """
        pointer.write(persist_path, self.path, fs)

    @classmethod
    def from_persist_path(
        cls,
        persist_path: str,
        fs: AbstractFileSystem | None = None,
        *,
        embed_model: BaseEmbedding | None = None,
        contract: Contract | None = None,
    ) -> Self:
        """Open the index that the file written by ``persist`` names.

        Raises:
            IndexNotFound: no such file, or no index where it says.
            IndexDamaged: the file is another one's.
            ContractMismatch: the index has another contract.
        """
        path = pointer.read(persist_path, fs)
        open_engine(f"faiss:{path}").close()  # what was persisted must exist; it is not made anew
        return cls(path, embed_model=embed_model, contract=contract)

    @classmethod
    def from_persist_dir(
        cls,
        persist_dir: str = DEFAULT_PERSIST_DIR,
        namespace: str = "default",
        fs: AbstractFileSystem | None = None,
        *,
        embed_model: BaseEmbedding | None = None,
        contract: Contract | None = None,
    ) -> Self:
        """Open the index of a folder that ``StorageContext.persist`` wrote; raises as ``from_persist_path``."""
        return cls.from_persist_path(
            pointer.place(persist_dir, namespace), fs, embed_model=embed_model, contract=contract
        )

    def close(self) -> None:
        """Let go of the index's files, and of the right to write; closing twice is allowed."""
        self._index.close()

    def _restriction(self, query: VectorStoreQuery) -> Condition | None:
        given = [translate(query.filters)]
        given += [{DOC_ID: {"in": query.doc_ids}}] if query.doc_ids else []
        given += [{NODE_ID: {"in": query.node_ids}}] if query.node_ids and self._is_choice(query.node_ids) else []
        parts = [condition for condition in given if condition is not None]
        return {"and": parts} if parts else None

    def _is_choice(self, node_ids: list[str]) -> bool:
        named = [read_node(record) for record in self._index.get(node_ids)]
        return not named or not all(isinstance(node, (IndexNode, ImageNode)) for node in named)

    def _select(self, node_ids: list[str] | None, filters: MetadataFilters | None) -> list[Record]:
        condition = translate(filters)
        if node_ids is None:
            return self._find(condition)
        found = self._index.get(node_ids)
        if condition is None:
            return found
        passes = parse_filter(condition)
        return [record for record in found if match(passes, record.metadata)]

    def _find(self, condition: Condition | None, most: int | None = None) -> list[Record]:
        """Return the records that pass: a search for all there are finds each of them, whatever the query."""
        anything = np.eye(1, self.contract.dimension)[0]
        k = max(1, self._index.count() if most is None else most)
        return [hit.record for hit in self._index.search(anything, k, condition)]

    def _delete(self, records: list[Record]) -> None:
        self._index.delete([record.id for record in records])


def _foreign_contract(embed_model: BaseEmbedding) -> Contract:
    if not isinstance(embed_model, BaseEmbedding):
        raise InvalidType(f"embed_model must be a BaseEmbedding of LlamaIndex, not {type(embed_model).__name__}")
    name = f"{type(embed_model).__name__}/{embed_model.model_name}"
    return Contract.of(ModelProfile(name=name, width=len(embed_model.get_text_embedding("width"))))
