"""BinaryVectorStore: LlamaIndex's vector store over the FAISS binary index."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike, fspath
from typing import Any, Self, cast

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
from numpy.typing import ArrayLike

from jinavec import Contract, Hit, Record, open_engine
from jinavec.engine import check_ids, check_k
from jinavec.errors import InvalidFilter, InvalidInput, InvalidType, brief
from jinavec.filters import FilterDict
from jinavec.retrieval import mmr, search_post_filtered
from jinavec_adapters.llama_index import persist
from jinavec_adapters.llama_index.embedded import check_embedded
from jinavec_adapters.llama_index.embedding import JinaV5Embedding
from jinavec_adapters.llama_index.filters import SplitFilter, all_of, translate
from jinavec_adapters.llama_index.nodes import DOC_ID, NODE_ID, embedding_of, read_node, write_node
from jinavec_adapters.shared.foreign import foreign_contract
from jinavec_adapters.shared.keywords import refuse_unknown
from jinavec_integrations.faiss import BinaryIndex

_OPTIONS = {
    VectorStoreQueryMode.DEFAULT: (),
    VectorStoreQueryMode.MMR: ("mmr_threshold", "mmr_prefetch_factor", "mmr_prefetch_k"),
}
"""The supported query modes, and the keyword arguments of each: LlamaIndex's ``vector_store_kwargs``."""
_PREFETCH = 4.0
_NONE: Any = object()
"""No filter at all, as against an empty one."""


class BinaryVectorStore(BasePydanticVectorStore):
    """Nodes with their texts in a FAISS binary index, which is a folder; data is always on disk.

    The folder holds the contract of its vectors. Opening it with an embedding model of another contract is refused.
    """

    model_config = ConfigDict(extra="forbid")

    stores_text: bool = True
    path: str = Field(frozen=True)
    """The folder."""

    _index: BinaryIndex = PrivateAttr()
    _embed_model: BaseEmbedding | None = PrivateAttr(default=None)

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        embed_model: BaseEmbedding | None = None,
        contract: Contract | None = None,
        **fields: Any,
    ) -> None:
        """Open the index at a path; create it, if there is none and the contract is known.

        Args:
            path: the folder.
            embed_model: the model that embeds the nodes. One that is no ``JinaV5Embedding`` is asked for one vector to
                learn its width, unless the contract is given; its contract is named after its class and model. The
                first text of each ``add`` is embedded by it again, since the index that embeds may have another one.
            contract: that of the embeddings, where no model is at hand.
            fields: those of ``BasePydanticVectorStore``.

        Raises:
            IndexNotFound: no index, and neither model nor contract to create it.
            ContractMismatch: the index has another contract; each difference is named.
        """
        fields["path"] = fspath(path)
        super().__init__(**fields)
        self._embed_model = embed_model
        encoder = embed_model.encoder if isinstance(embed_model, JinaV5Embedding) else None
        if encoder is None and contract is None and embed_model is not None:
            contract = _foreign_contract(embed_model)
        self._index = cast("BinaryIndex", open_engine(f"faiss:{self.path}", contract=contract, encoder=encoder))

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex serializes the class."""
        return "BinaryVectorStore"

    @property
    def client(self) -> BinaryIndex:
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
            ContractMismatch: another model than the store's embedded them.
        """
        refuse_unknown(self.add, kwargs)
        records, embeddings = [write_node(node) for node in nodes], [embedding_of(node) for node in nodes]
        if self._embed_model is not None:
            check_embedded(nodes, embeddings, self._embed_model)
        self._index.add(records, embeddings)
        return [node.node_id for node in nodes]

    def delete(
        self, ref_doc_id: str | None = None, *, filter: FilterDict | MetadataFilters = _NONE, **delete_kwargs: Any
    ) -> None:
        """Delete all nodes of a document, or those whose metadata match a filter; an unknown id is skipped.

        Args:
            ref_doc_id: the document.
            filter: in its place, a filter of jinavec or of LlamaIndex.
            delete_kwargs: refused.

        Raises:
            InvalidInput: both, or neither.
            InvalidFilter: no filter; or an empty one, which every node matches.
        """
        refuse_unknown(self.delete, delete_kwargs)
        if (ref_doc_id is None) == (filter is _NONE):
            raise InvalidInput("delete takes ref_doc_id, or filter=; to delete everything, call clear()")
        if filter is _NONE:
            self._index.delete(filter={DOC_ID: cast("str", ref_doc_id)})
        elif not (filter.filters if isinstance(filter, MetadataFilters) else filter):
            raise InvalidFilter("an empty filter would delete every node; to do that, call clear()")
        elif isinstance(filter, MetadataFilters):
            self.delete_nodes(filters=filter)
        else:
            self._index.delete(filter=filter)

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Delete the nodes with these ids, or that match the filters; with both, those that match both.

        Raises:
            InvalidInput: neither was given; ``clear`` deletes everything.
        """
        refuse_unknown(self.delete_nodes, delete_kwargs)
        wanted = translate(filters)
        if node_ids is None and wanted is None:
            raise InvalidInput("delete_nodes needs node_ids or filters; to delete everything, call clear()")
        self._index.delete([record.id for record in self._select(node_ids, wanted)])

    def clear(self) -> None:
        """Delete all nodes."""
        self._index.delete(filter={"and": []})

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Return the nodes with these ids, in their order, that match the filters; all nodes without either."""
        return [read_node(record) for record in self._select(node_ids, translate(filters))]

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Return the nodes nearest to an embedding, best first.

        Similarities are cosines or the index's best estimates of them, in [-1, 1]. Empty ``node_ids`` and ``doc_ids``
        are no filters; nor are ``node_ids`` of index and image nodes alone: the retrievers of an index with such nodes
        always pass them, which would hide all others.

        The mode ``mmr`` re-ranks them by maximal marginal relevance (see ``jinavec.retrieval.mmr``).

        Args:
            query: the embedding and its filters.
            kwargs: in the mode ``mmr``: mmr_threshold, which is MMR's lambda_mult, from 0, most diverse, to 1, most
                relevant (0.5; or the query's own ``mmr_threshold``); and the number of candidates: mmr_prefetch_factor
                times ``similarity_top_k`` (4), or mmr_prefetch_k.

        Raises:
            InvalidInput: another mode, or no embedding.
            InvalidType: an unknown option.
            InvalidFilter: filters that are not supported.
        """
        if query.mode not in _OPTIONS:
            modes = " and ".join(repr(mode.value) for mode in _OPTIONS)
            raise InvalidInput(f"BinaryVectorStore has no query mode {query.mode.value!r}; it has {modes}")
        if query.query_embedding is None:
            raise InvalidInput("BinaryVectorStore searches by an embedding, and the query has none")
        for name in kwargs:
            if name not in (options := _OPTIONS[query.mode]):
                has = ", ".join(options) or "none"
                raise InvalidType(f"the query mode {query.mode.value!r} has no option {name!r}; it has {has}")
        if query.mode == VectorStoreQueryMode.MMR:
            hits = self._mmr(query, **kwargs)
        else:
            hits = self._search(query, query.similarity_top_k)
        return VectorStoreQueryResult(
            nodes=[read_node(hit.record) for hit in hits],
            similarities=[hit.score for hit in hits],
            ids=[hit.record.id for hit in hits],
        )

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """``add`` without blocking the event loop."""
        return await asyncio.to_thread(self.add, nodes, **kwargs)

    async def adelete(
        self, ref_doc_id: str | None = None, *, filter: FilterDict | MetadataFilters = _NONE, **delete_kwargs: Any
    ) -> None:
        """``delete`` without blocking the event loop."""
        await asyncio.to_thread(self.delete, ref_doc_id, filter=filter, **delete_kwargs)

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
        """Write a small file with the path of the index, for ``StorageContext.persist``; its data is always on disk.

        Raises:
            InvalidInput: a remote file system.
        """
        persist.write(persist_path, self.path, fs)

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
            IndexNotFound: no such file, or no index at its path.
            IndexDamaged: the file was not written by ``persist``.
            ContractMismatch: the index has another contract.
        """
        path = persist.read(persist_path, fs)
        open_engine(f"faiss:{path}").close()  # a missing index is an error; it is not created again
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
            persist.path_in(persist_dir, namespace), fs, embed_model=embed_model, contract=contract
        )

    def close(self) -> None:
        """Release the files and the writer lock of the index. Idempotent."""
        self._index.close()

    def _search(self, query: VectorStoreQuery, k: int) -> list[Hit]:
        return self._find(self._restriction(query), k, cast("list[float]", query.query_embedding))

    def _mmr(
        self,
        query: VectorStoreQuery,
        mmr_threshold: float | None = None,
        mmr_prefetch_factor: float | None = None,
        mmr_prefetch_k: int | None = None,
    ) -> list[Hit]:
        k = check_k(query.similarity_top_k)
        hits = self._search(query, max(k, _prefetch(k, mmr_prefetch_factor, mmr_prefetch_k)))
        stored = self._index.vectors(hit.record.id for hit in hits)
        weights = (mmr_threshold, query.mmr_threshold, 0.5)
        lambda_mult = next(weight for weight in weights if weight is not None)
        return mmr(hits, stored, cast("list[float]", query.query_embedding), k, lambda_mult)

    def _restriction(self, query: VectorStoreQuery) -> SplitFilter | None:
        given = [translate(query.filters)]
        if query.doc_ids:
            given.append(SplitFilter({DOC_ID: {"in": query.doc_ids}}))
        if query.node_ids and self._is_choice(query.node_ids):
            given.append(SplitFilter({NODE_ID: {"in": query.node_ids}}))
        parts = [wanted for wanted in given if wanted is not None]
        return all_of(parts) if parts else None

    def _is_choice(self, node_ids: list[str]) -> bool:
        named = [read_node(record) for record in self._index.get(node_ids)]
        return not named or not all(isinstance(node, (IndexNode, ImageNode)) for node in named)

    def _select(self, node_ids: list[str] | None, wanted: SplitFilter | None) -> Iterable[Record]:
        if node_ids is None:
            return self._scan(wanted)
        found = self._index.get(check_ids(node_ids))
        return found if wanted is None else filter(wanted.predicate(), found)

    def _scan(self, wanted: SplitFilter | None) -> Iterator[Record]:
        """Yield every record that matches, the oldest first."""
        indexed, post_filter = (None, None) if wanted is None else (wanted.indexed, wanted.post_filter)
        for page in self._index.iterate(filter=indexed):
            yield from page if post_filter is None else filter(post_filter, page)

    def _find(self, wanted: SplitFilter | None, k: int, query: ArrayLike) -> list[Hit]:
        if wanted is None:
            return self._index.search(query, k)
        return search_post_filtered(self._index, query, k, wanted.indexed, wanted.post_filter)


def _prefetch(k: int, factor: float | None, count: int | None) -> int:
    """Return the number of candidates from which MMR picks k."""
    if count is not None:
        if factor is not None:
            raise InvalidInput("mmr_prefetch_factor and mmr_prefetch_k are mutually exclusive")
        return check_k(count)
    factor = _PREFETCH if factor is None else factor
    if not isinstance(factor, (int, float)) or not 0 < factor < math.inf:
        raise InvalidInput(f"mmr_prefetch_factor must be a number above 0, not {brief(factor)}")
    return math.ceil(k * factor)


def _foreign_contract(embed_model: BaseEmbedding) -> Contract:
    if not isinstance(embed_model, BaseEmbedding):
        raise InvalidType(f"embed_model must be a BaseEmbedding of LlamaIndex, not {type(embed_model).__name__}")
    return foreign_contract(embed_model, len(embed_model.get_text_embedding("width")))
