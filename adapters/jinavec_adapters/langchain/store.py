"""BinaryVectorStore: LangChain's vector store interface over the FAISS binary index."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Lock
from typing import Any, Self, TypeVar
from uuid import uuid4

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from jinavec import Hit, Record
from jinavec.engine import check_ids, check_k
from jinavec.errors import IndexNotFound, InvalidFilter, InvalidInput, InvalidType, brief
from jinavec.retrieval import mmr, search_post_filtered
from jinavec_adapters.langchain.contract import behind_caches, check_foreign
from jinavec_adapters.langchain.embeddings import JinaV5Embeddings
from jinavec_adapters.langchain.retriever import BinaryRetriever
from jinavec_adapters.shared.foreign import foreign_contract
from jinavec_adapters.shared.keywords import refuse_unknown
from jinavec_integrations.faiss import BinaryIndex

T = TypeVar("T")
Filter = Mapping[str, Any] | Callable[[Document], bool]
"""A filter on the metadata (see ``jinavec.filters``), or a function of the document."""
_NONE: Any = object()
"""No filter at all, as against an empty one."""


class BinaryVectorStore(VectorStore):
    """Documents in a FAISS binary index, which is a folder; what was added is on disk when the call returns.

    ```python
    with BinaryVectorStore("notes", embedding=JinaV5Embeddings(model="lexical")) as store:
        store.add_texts(["The cat sleeps."], [{"topic": "cats"}], ids=["a"])
        store.similarity_search("where is the cat?", k=4, filter={"topic": {"in": ["cats", "dogs"]}})
    ```

    Every search takes ``filter``: a dict, applied before the search through the metadata index, or a function of the
    Document, which is a post-filter: it sees the nearest documents until enough pass. Scores are cosine similarities in
    [-1, 1], higher is better; relevance scores are in [0, 1]. Metadata must be JSON.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, embedding: Embeddings) -> None:
        """Open the index at a path, or create it.

        Args:
            path: the folder; without one, a temporary folder that is removed with the store.
            embedding: makes the vectors. One that is not ours gets a contract named after its class and model, and
                the index is created when the width of its first vector is known.

        Raises:
            ContractMismatch: the index holds vectors of another contract.
            EngineError: it cannot be opened or created.
        """
        self._embedding = embedding
        self._maker = behind_caches(embedding)
        self._index: BinaryIndex | None = None
        self._opening = Lock()
        self._path = os.fspath(path) if path is not None else tempfile.mkdtemp(prefix="jinavec-")
        self._finalizer = (
            weakref.finalize(self, shutil.rmtree, self._path, ignore_errors=True) if path is None else None
        )
        if isinstance(self._maker, JinaV5Embeddings):
            self._open(self._maker.encoder.dimension)
        else:
            self._index = self._open_foreign()

    @property
    def embeddings(self) -> Embeddings:
        """What makes the vectors."""
        return self._embedding

    @property
    def index(self) -> BinaryIndex | None:
        """The index beneath; None until the first vector of an embedding that is not ours."""
        return self._index

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Iterable[dict[str, Any]] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add texts, replacing those with the same id; all of them, or none on an error.

        Args:
            texts: any iterable of strings.
            metadatas: one for each text.
            ids: one for each text; None generates one.
            batch_size: changes nothing, since the encoder plans its batches; LangChain's indexing passes it.
            kwargs: refused.

        Returns:
            The ids, in the order of the texts.

        Raises:
            InvalidInput: not one of metadatas or ids for each text, or something that cannot be stored.
        """
        refuse_unknown(self.add_texts, kwargs)
        records = _make_records(texts, metadatas, ids)
        if records:
            self._add(records, self._embedding.embed_documents([record.text for record in records]))
        return [record.id for record in records]

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: Iterable[dict[str, Any]] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """``add_texts`` without blocking the event loop."""
        refuse_unknown(self.aadd_texts, kwargs)
        records = _make_records(texts, metadatas, ids)
        if records:
            vectors = await self._embedding.aembed_documents([record.text for record in records])
            await asyncio.to_thread(self._add, records, vectors)
        return [record.id for record in records]

    def add_documents(
        self, documents: Iterable[Document], *, ids: Iterable[str | None] | None = None, **kwargs: Any
    ) -> list[str]:
        """Add documents as ``add_texts`` does; ``ids`` beats the ids of the documents."""
        return self.add_texts(**_split(documents, ids), **kwargs)

    async def aadd_documents(
        self, documents: Iterable[Document], *, ids: Iterable[str | None] | None = None, **kwargs: Any
    ) -> list[str]:
        """``add_documents`` without blocking the event loop."""
        return await self.aadd_texts(**_split(documents, ids), **kwargs)

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        embedding: Embeddings,
        metadatas: Iterable[dict[str, Any]] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        path: str | os.PathLike[str] | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> Self:
        """Open or create a store and add texts to it."""
        refuse_unknown(cls.from_texts, kwargs)
        store = cls(path, embedding=embedding)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    @classmethod
    async def afrom_texts(
        cls,
        texts: Iterable[str],
        embedding: Embeddings,
        metadatas: Iterable[dict[str, Any]] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        path: str | os.PathLike[str] | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> Self:
        """``from_texts`` without blocking the event loop."""
        refuse_unknown(cls.afrom_texts, kwargs)
        store = await asyncio.to_thread(cls, path, embedding=embedding)
        await store.aadd_texts(texts, metadatas, ids=ids)
        return store

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents of those ids that exist, in the order asked."""
        return [] if self._index is None else [_to_document(record) for record in self._index.get(check_ids(ids))]

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """``get_by_ids`` without blocking the event loop."""
        return await asyncio.to_thread(self.get_by_ids, ids)

    def delete(self, ids: Iterable[str] | None = None, *, filter: Filter = _NONE, **kwargs: Any) -> bool:
        """Delete documents by id, or those that match a filter, or all of them without either; return True.

        Unknown ids are skipped.

        Raises:
            InvalidInput: both ids and a filter.
            InvalidFilter: no filter; or an empty one, which every document matches.
        """
        refuse_unknown(self.delete, kwargs)
        if filter is _NONE:
            self._delete({"and": []}) if ids is None else self._delete_ids(ids)
        elif ids is not None:
            raise InvalidInput("delete takes ids or filter=, not both")
        else:
            self._delete(filter)
        return True

    async def adelete(self, ids: Iterable[str] | None = None, *, filter: Filter = _NONE, **kwargs: Any) -> bool:
        """``delete`` without blocking the event loop."""
        return await asyncio.to_thread(self.delete, ids, filter=filter, **kwargs)

    def similarity_search(
        self, query: str, k: int = 4, *, filter: Filter | None = None, **kwargs: Any
    ) -> list[Document]:
        """Return the k documents nearest to a query, best first; ``filter`` as in the class."""
        return _documents(self.similarity_search_with_score(query, k, filter=filter, **kwargs))

    async def asimilarity_search(
        self, query: str, k: int = 4, *, filter: Filter | None = None, **kwargs: Any
    ) -> list[Document]:
        """``similarity_search`` without blocking the event loop."""
        return _documents(await self.asimilarity_search_with_score(query, k, filter=filter, **kwargs))

    def similarity_search_with_score(
        self, query: str, k: int = 4, *, filter: Filter | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return the nearest documents with their cosine similarity in [-1, 1]."""
        refuse_unknown(self.similarity_search_with_score, kwargs)
        return self._search(self._embedding.embed_query(query), k, filter)

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, *, filter: Filter | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """``similarity_search_with_score`` without blocking the event loop."""
        refuse_unknown(self.asimilarity_search_with_score, kwargs)
        return await asyncio.to_thread(self._search, await self._embedding.aembed_query(query), k, filter)

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: Filter | None = None, **kwargs: Any
    ) -> list[Document]:
        """Return the documents nearest to the vector of a query."""
        refuse_unknown(self.similarity_search_by_vector, kwargs)
        return _documents(self._search(embedding, k, filter))

    async def asimilarity_search_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: Filter | None = None, **kwargs: Any
    ) -> list[Document]:
        """``similarity_search_by_vector`` without blocking the event loop."""
        return await asyncio.to_thread(self.similarity_search_by_vector, embedding, k, filter=filter, **kwargs)

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Filter | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Return k of the ``fetch_k`` nearest documents, re-ranked by MMR (see ``jinavec.retrieval.mmr``).

        ``lambda_mult`` goes from 0, most diverse, to 1, most relevant.
        """
        refuse_unknown(self.max_marginal_relevance_search, kwargs)
        return self._mmr(self._embedding.embed_query(query), k, fetch_k, lambda_mult, filter)

    async def amax_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Filter | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """``max_marginal_relevance_search`` without blocking the event loop."""
        refuse_unknown(self.amax_marginal_relevance_search, kwargs)
        vector = await self._embedding.aembed_query(query)
        return await asyncio.to_thread(self._mmr, vector, k, fetch_k, lambda_mult, filter)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Filter | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """``max_marginal_relevance_search`` for the vector of a query."""
        refuse_unknown(self.max_marginal_relevance_search_by_vector, kwargs)
        return self._mmr(embedding, k, fetch_k, lambda_mult, filter)

    async def amax_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Filter | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """``max_marginal_relevance_search_by_vector`` without blocking the event loop."""
        refuse_unknown(self.amax_marginal_relevance_search_by_vector, kwargs)
        return await asyncio.to_thread(self._mmr, embedding, k, fetch_k, lambda_mult, filter)

    def as_retriever(self, **kwargs: Any) -> BinaryRetriever:
        """Return a retriever: ``as_retriever(k=3)``, or LangChain's ``search_type`` and ``search_kwargs``."""
        tags = kwargs.pop("tags", None) or self._get_retriever_tags()
        return BinaryRetriever(vectorstore=self, tags=tags, **kwargs)

    def close(self) -> None:
        """Release resources; a temporary index is removed. Idempotent."""
        if self._index is not None:
            self._index.close()
        if self._finalizer is not None:
            self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return lambda score: (1 + score) / 2

    def _add(self, records: list[Record], vectors: list[list[float]]) -> None:
        self._open(len(vectors[0])).add(records, vectors)

    def _delete_ids(self, ids: Iterable[str]) -> None:
        if self._index is not None:
            self._index.delete(ids)

    def _delete(self, filter: Filter) -> None:
        if not callable(filter) and not filter:
            raise InvalidFilter("an empty filter would delete every document; to do that, call delete() alone")
        if self._index is None:
            return
        if callable(filter):
            pages = self._index.iterate()
            self._index.delete([record.id for page in pages for record in page if filter(_to_document(record))])
        else:
            self._index.delete(filter=filter)

    def _search(self, vector: list[float], k: int, filter: Filter | None) -> list[tuple[Document, float]]:
        return [(_to_document(hit.record), hit.score) for hit in self._nearest(vector, k, filter)]

    def _mmr(
        self, vector: list[float], k: int, fetch_k: int, lambda_mult: float, filter: Filter | None
    ) -> list[Document]:
        hits = self._nearest(vector, max(check_k(k), fetch_k), filter)
        stored = self._open(len(vector)).vectors(hit.record.id for hit in hits)
        return [_to_document(hit.record) for hit in mmr(hits, stored, vector, k, lambda_mult)]

    def _nearest(self, vector: list[float], k: int, filter: Filter | None) -> list[Hit]:
        index = self._open(len(vector))
        if callable(filter):
            return search_post_filtered(index, vector, k, post_filter=lambda record: filter(_to_document(record)))
        return index.search(vector, k, filter)

    def _open(self, width: int) -> BinaryIndex:
        """Return the index; created now, for vectors of a width, if it does not exist."""
        with self._opening:
            if self._index is None:
                encoder = self._maker.encoder if isinstance(self._maker, JinaV5Embeddings) else None
                contract = foreign_contract(self._maker, width) if encoder is None else encoder.contract
                self._index = BinaryIndex.open_target(self._path, contract=contract, encoder=encoder, options=None)
            return self._index

    def _open_foreign(self) -> BinaryIndex | None:
        """Return the index if it exists: only an embedding of the same class and model may use it."""
        try:
            index = BinaryIndex.open(self._path)
        except IndexNotFound:
            return None
        try:
            check_foreign(index.contract, self._embedding)
        except BaseException:
            index.close()
            raise
        return index


def _make_records(
    texts: Iterable[str], metadatas: Iterable[Mapping[str, Any]] | None, ids: Iterable[str | None] | None
) -> list[Record]:
    given = _listed("texts", texts)
    described = _one_each("metadatas", metadatas, given, dict[str, Any]())
    named = _one_each("ids", ids, given, None)
    return [
        Record(str(uuid4()) if id is None else id, text, dict(metadata))
        for text, metadata, id in zip(given, described, named, strict=True)
    ]


def _one_each(what: str, values: Iterable[T] | None, texts: list[str], default: T) -> list[T]:
    if values is None:
        return [default] * len(texts)
    given = _listed(what, values)
    if len(given) != len(texts):
        raise InvalidInput(f"{len(texts)} texts need as many {what}, not {len(given)}")
    return given


def _listed(what: str, values: Iterable[T]) -> list[T]:
    if issubclass(type(values), (str, bytes, Mapping)):
        raise InvalidType(f"{what} must be a list, not {brief(values)}")
    return list(values)


def _split(documents: Iterable[Document], ids: Iterable[str | None] | None) -> dict[str, Any]:
    """Return the arguments of ``add_texts`` for documents."""
    given = list(documents)
    return {
        "texts": [document.page_content for document in given],
        "metadatas": [document.metadata for document in given],
        "ids": [document.id for document in given] if ids is None else ids,
    }


def _to_document(record: Record) -> Document:
    return Document(id=record.id, page_content=record.text, metadata=dict(record.metadata))


def _documents(scored: Sequence[tuple[Document, float]]) -> list[Document]:
    return [document for document, _ in scored]
