"""ElasticsearchIndex: the engine over one index of an Elasticsearch server."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from jinavec.contract import Contract
from jinavec.encoder import Encoder
from jinavec.engine import Engine, Precision
from jinavec.errors import EngineError, IndexNotFound, InvalidInput, Unsupported, brief
from jinavec.extras import require
from jinavec.filters import Filter, FilterDict, parse_filter
from jinavec.ingest import Vectors
from jinavec.options import read_options
from jinavec.records import Hit, Page, Record
from jinavec.vectors import Float32
from jinavec_integrations.elasticsearch import documents
from jinavec_integrations.elasticsearch.connect import NEWEST, Place, check_client, connect, server_version
from jinavec_integrations.elasticsearch.convert import (
    SOURCE,
    check_record,
    document_id,
    read_record,
    read_vectors,
    store_actions,
)
from jinavec_integrations.elasticsearch.errors import reported
from jinavec_integrations.elasticsearch.filters import translate
from jinavec_integrations.elasticsearch.fusion import Fusion
from jinavec_integrations.elasticsearch.hybrid import Blend, fuse_here, fuse_on_server
from jinavec_integrations.elasticsearch.mapping import Layout, Meta, Version
from jinavec_integrations.elasticsearch.options import ElasticsearchOptions
from jinavec_integrations.elasticsearch.pages import Cursor, read_pages
from jinavec_integrations.elasticsearch.queries import MOST
from jinavec_integrations.elasticsearch.schema import create_index, read_meta, write_meta
from jinavec_integrations.elasticsearch.search import Searcher

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

_THREADS = 2
"""Bulk requests of an ingest under way at a time: the server indexes one while the next one travels."""
_REFRESHED = 8000
"""Documents stored after which they are made searchable: the server builds its graphs while others are still being
embedded, and not all of them at the end."""


class ElasticsearchIndex(Engine):
    """An index of an Elasticsearch server, under the contract in its mapping; thread-safe.

    Elasticsearch has no transactions: a record that the server refuses is named in ``RecordsFailed``, and the others of
    the call are stored. Everything that can be checked is checked before the first record is sent.
    """

    name = "elasticsearch"
    options_type = ElasticsearchOptions
    capabilities = frozenset({"hybrid"})

    def __init__(
        self, client: Elasticsearch, place: Place, options: ElasticsearchOptions, version: Version, meta: Meta
    ) -> None:
        """Use an index that exists; ``open_target`` finds or creates it, and reads its mapping."""
        self._client: Elasticsearch | None = client
        self._place = place
        self._options = options
        self._version = version
        self._where = str(place)
        self.contract, self.layout, self.settings = meta.contract, meta.layout, meta.settings
        self._fuses_here = self.layout.storage == "bit"  # a retriever cannot rescore bits
        self._unrefreshed, self._lock = 0, Lock()

    @classmethod
    def open_target(cls, location: str, *, contract: Contract | None, encoder: Encoder | None, options: object) -> Self:
        """Open ``elasticsearch:URL/INDEX``; create it if there is a contract and no such index."""
        chosen = read_options(ElasticsearchOptions, options)
        place = Place.parse(location)
        client = connect(place.server) if chosen.client is None else check_client(chosen.client)
        try:
            version = server_version(client, str(place))
            try:
                meta, created = read_meta(client, place), False
            except IndexNotFound:
                if contract is None:
                    raise
                layout = Layout.choose(chosen, contract.dimension, version)
                meta = Meta(contract=contract, layout=layout, settings=encoder and encoder.settings)
                created = create_index(client, place, meta, chosen)
                meta = meta if created else read_meta(client, place)  # another client was faster
            meta.layout.check_options(chosen, str(place))
            if contract is not None:
                meta.contract.check(contract, theirs="the contract" if encoder is None else "the encoder")
        except BaseException:
            if chosen.client is None:
                client.close()
            raise
        index = cls(client, place, chosen, version, meta)
        index.encoder = encoder
        index._created = created
        return index

    @property
    def client(self) -> Elasticsearch:
        """The client, for what this class does not offer.

        Raises:
            EngineError: the index was closed.
        """
        if self._client is None:
            raise EngineError(f"the index {self._where} is closed; open it again")
        return self._client

    def count(self) -> int:
        """Return the number of records."""
        with reported(self._where):
            return int(self.client.count(index=self._place.index)["count"])

    @property
    def vector_precision(self) -> Precision:
        """float32 where the storage keeps floats; else int8 (byte) or bits (bit)."""
        if self.layout.float_field:
            return "float32"
        return "int8" if self.layout.storage == "byte" else "bits"

    def info(self) -> dict[str, Any]:
        """Return server, storage, counts, bytes, contract and encoder settings, as plain JSON values."""
        return {
            **super().info(),
            "server": self._place.server,
            "index": self._place.index,
            "version": ".".join(map(str, self._version)),
            "storage": self.layout.storage,
            "rescore": self.layout.rescore,
            "bytes": self._bytes(),
        }

    def close(self) -> None:
        """Close the connections, unless the client was given. Idempotent."""
        if self._client is not None and self._options.client is None:
            self._client.close()
        self._client = None

    def hybrid(
        self,
        text: str,
        k: int = 10,
        filter: FilterDict | None = None,
        *,
        fusion: Fusion = "rrf",
        weight: float = 0.5,
        window: int = 100,
        local: bool | None = None,
    ) -> list[Hit]:
        """Return the k best records by words (BM25) and by vectors together, best first.

        Args:
            text: the question; its vector comes from the engine's encoder.
            k: the number of hits.
            filter: a filter on the metadata.
            fusion: rrf (reciprocal rank) or linear (scores scaled to [0, 1]).
            weight: of the vectors in a linear fusion; the words have the rest.
            window: hits of each side that are fused; at least k.
            local: fuse here and not on the server; by default where the server's license or version demands it.

        Returns:
            Hits whose score is the fused one in [0, 1], 1 for what is first on both sides; it is no cosine.

        Raises:
            InvalidInput: a value that cannot be used, or an index opened without an encoder.
        """
        blend = Blend(k=k, fusion=fusion, weight=weight, window=window)
        condition = None if filter is None else parse_filter(filter)
        vector = self._need_encoder("a query vector to search()").encode_queries([text])[0]
        self._check_meta()
        searcher = self._searcher()
        if not (self._fuses_here if local is None else local):
            try:
                return fuse_on_server(searcher, text, vector, condition, blend)
            except Unsupported:
                if local is not None:
                    raise
                self._fuses_here = True
        return fuse_here(searcher, text, vector, condition, blend)

    # storing

    def _begin(self) -> None:
        meta = self._check_meta()
        used = None if self.encoder is None else self.encoder.settings
        if used is not None and (self.settings is None or used.to_json() != self.settings.to_json()):
            meta = meta.with_settings(used)
            write_meta(self.client, self._place, meta)
            self.settings = used
        if (joined := self._joined()) is not None:
            write_meta(self.client, self._place, replace(meta, contract=joined))
            self.contract = joined

    def _check(self, record: Record) -> None:
        check_record(record, self.contract.dimension)

    def _store(self, records: list[Record], vectors: Vectors) -> Mapping[str, str]:
        actions = store_actions(records, vectors, self.layout, self._version)
        answers = dict(documents.send(self.client, self._place.index, actions, self._where))
        self._refresh_now_and_then(len(records))
        reasons = {
            record.id: answers.get(document_id(record.id) or "", "the server did not answer for it")
            for record in records
        }
        return {id: why for id, why in reasons.items() if why}

    def _refresh_now_and_then(self, stored: int) -> None:
        with self._lock:
            self._unrefreshed += stored
            due = self._unrefreshed >= _REFRESHED
            if due:
                self._unrefreshed = 0
        if due:
            self._flush()

    def _flush(self) -> None:
        with reported(self._where):
            self.client.indices.refresh(index=self._place.index)

    def _batch_hint(self, *, embeds: bool) -> int:
        return documents.BATCH

    def _ingest_threads(self) -> int:
        return _THREADS

    # deleting

    def _delete(self, ids: list[str]) -> int:
        return self._delete_documents(id for id in map(document_id, ids) if id is not None)

    def _delete_where(self, condition: Filter) -> int:
        self._check_meta()
        self._flush()  # a filter finds only what is searchable
        with closing(self._find_pages(condition, source=False)) as pages:
            return self._delete_documents(hit["_id"] for hits in pages for hit in hits)

    def _delete_documents(self, ids: Iterable[str]) -> int:
        actions = ({"_op_type": "delete", "_id": id} for id in ids)
        deleted, failed, first = 0, 0, ""
        for _, why in documents.send(self.client, self._place.index, actions, self._where):
            if not why:
                deleted += 1
            elif why != "not found":
                failed, first = failed + 1, first or why
        self._flush()
        if failed:
            raise EngineError(f"{self._where}: {deleted} records were deleted, {failed} could not be: {first}")
        return deleted

    # reading

    def _get(self, ids: list[str]) -> list[Record]:
        wanted = [id for id in map(document_id, ids) if id is not None]
        records = documents.read_documents(self.client, self._place.index, wanted, self._where)
        return [records[id] for id in wanted if id in records]

    def _iterate(self, batch_size: int, vectors: bool, condition: Filter | None, after: str | None) -> Iterator[Page]:
        cursor = None if after is None else Cursor.parse(after)
        self._check_meta()
        fields = [*SOURCE, self.layout.stored_field] if vectors else SOURCE
        # from 9.2 on a server leaves vectors out of _source by default; 8.19 and later know exclude_vectors
        source = {"includes": fields, "exclude_vectors": not vectors}
        return _as_pages(
            self._find_pages(condition, batch_size, cursor, source=source), self.layout if vectors else None
        )

    def _find_pages(
        self, condition: Filter | None, size: int = MOST, after: Cursor | None = None, **search: Any
    ) -> Generator[list[dict[str, Any]]]:
        query = None if condition is None else translate(condition)
        size = min(size, MOST)
        return read_pages(self.client, self._place.index, size, where=self._where, after=after, query=query, **search)

    def _search(self, query: Float32, k: int, condition: Filter | None) -> list[Hit]:
        return self._search_batch(query[np.newaxis], k, condition)[0]

    def _search_batch(self, queries: Float32, k: int, condition: Filter | None) -> list[list[Hit]]:
        self._check_meta()
        searcher, reachable = self._searcher(), self._reachable(k)
        return [searcher.search(query, reachable, condition) for query in queries]

    def _searcher(self) -> Searcher:
        return Searcher(self.client, self._place.index, self._where, self.layout, self._options)

    def _reachable(self, k: int) -> int:
        """Return k, or the number of records where it asks for more than there are."""
        if k <= MOST:
            return k
        count = self.count()
        if count > MOST:
            raise InvalidInput(
                f"k={brief(k)}: Elasticsearch returns at most {MOST} hits, and the index holds {count} records"
            )
        return max(count, 1)

    def _bytes(self) -> int | None:
        """Return the size on disk; None on a serverless project, or without the privilege ``monitor``."""
        if self._version == NEWEST:
            return None
        library = require("elasticsearch", "elasticsearch")
        with reported(self._where):
            try:
                stats = self.client.indices.stats(index=self._place.index, metric="store")
            except library.AuthorizationException:
                return None
        return int(stats["_all"]["primaries"]["store"]["size_in_bytes"])

    def _check_meta(self) -> Meta:
        """Compare the contract with the one in the mapping now: another client may have recreated the index."""
        meta = read_meta(self.client, self._place)
        meta.contract.check(self.contract, ours="the index", theirs="what was opened")
        if meta.layout != self.layout:
            raise EngineError(f"{self._where}: the index was recreated with another storage; open it again")
        return meta

    def __repr__(self) -> str:
        return f"ElasticsearchIndex({self._where!r}, storage={self.layout.storage!r})"


def _as_pages(found: Generator[list[dict[str, Any]]], layout: Layout | None) -> Iterator[Page]:
    """Yield pages of hits as pages of records; with vectors, if there is a layout."""
    with closing(found):
        for hits in found:
            vectors = None if layout is None else read_vectors(hits, layout)
            yield Page([read_record(hit) for hit in hits], str(Cursor.of(hits[-1])), vectors)
