"""ElasticsearchIndex: the engine over one index of an Elasticsearch server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from copy import copy
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from jinavec.contract import Contract
from jinavec.encoder import Encoder
from jinavec.engine import Engine, Precision
from jinavec.errors import EngineError, InvalidInput, Unsupported, brief, warn
from jinavec.extras import require
from jinavec.filters import Filter, FilterDict, parse_filter
from jinavec.ingest import Ingested, Vectors
from jinavec.options import read_options
from jinavec.records import Hit, Page, Record
from jinavec.settings import EncoderSettings
from jinavec.vectors import Float32
from jinavec_integrations.elasticsearch import convert
from jinavec_integrations.elasticsearch.calls import Call, Steps, adrive, bridge, call, drive, patient, sender
from jinavec_integrations.elasticsearch.connect import (
    NEWEST,
    Access,
    AsyncClients,
    Place,
    check_async_client,
    check_client,
    server_version,
)
from jinavec_integrations.elasticsearch.convert import check_record, document_id, read_record, read_vectors
from jinavec_integrations.elasticsearch.documents import (
    BATCH,
    MISSING,
    Room,
    read_documents,
    send,
    to_delete,
    to_store,
)
from jinavec_integrations.elasticsearch.errors import are_of_index, reason, translate
from jinavec_integrations.elasticsearch.filters import Query
from jinavec_integrations.elasticsearch.filters import translate as query_of
from jinavec_integrations.elasticsearch.fusion import Fusion
from jinavec_integrations.elasticsearch.hybrid import Blend, fuse_here, fuse_on_server
from jinavec_integrations.elasticsearch.mapping import Layout, Meta, Version
from jinavec_integrations.elasticsearch.options import ElasticsearchOptions
from jinavec_integrations.elasticsearch.pages import Cursor, Snapshot
from jinavec_integrations.elasticsearch.queries import MOST
from jinavec_integrations.elasticsearch.schema import add_fields, adopt_index, create_index, read_meta, write_meta
from jinavec_integrations.elasticsearch.search import Searcher

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

T = TypeVar("T")
_THREADS = 2
"""Bulk requests of an ingest under way at a time: the server indexes one while the next one travels."""
_REFRESHED = 8000
"""Documents stored after which they are made searchable: the server builds its graphs while others are still being
embedded, and not all of them at the end."""


_ASYNC_BYTES = 2**19
"""Bytes of a bulk request that goes out on an event loop, which stands still while its socket takes them."""


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
        self._fields, self._fields_grow = meta.fields, self.layout.typed
        self._async_clients = AsyncClients(place.server, options)
        self._send: Callable[[Call], Any] | None = None
        """Sends what is asked in place of the client."""
        self._room = Room()
        self._growing = Lock()
        self._unrefreshed, self._lock = 0, Lock()

    @classmethod
    def open_target(cls, location: str, *, contract: Contract | None, encoder: Encoder | None, options: object) -> Self:
        """Open ``elasticsearch:URL/INDEX``; create it if there is a contract and no such index."""
        chosen = read_options(ElasticsearchOptions, options)
        place = Place.parse(location)
        if chosen.async_client is not None:
            check_async_client(chosen.async_client)
        if chosen.client is None:
            client = Access.read(place.server, chosen).open()
        else:
            client = check_client(chosen.client)
        settings = None if encoder is None else encoder.settings
        try:
            version, meta, created = drive(sender(client), _open(place, chosen, contract, settings), str(place))
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
        return int(self._run(call("count", index=self._place.index))["count"])

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
        self._async_clients.close()
        self._client = None

    async def aclose(self) -> None:
        """``close`` without blocking the event loop."""
        await self._async_clients.aclose()
        await super().aclose()

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
        searcher = self._run(self._searcher())
        if not (self._fuses_here if local is None else local):
            try:
                return self._run(fuse_on_server(searcher, text, vector, condition, blend))
            except Unsupported:
                if local is not None:
                    raise
                self._fuses_here = True
        return self._run(fuse_here(searcher, text, vector, condition, blend))

    # storing

    async def aingest(
        self, records: Iterable[Record], vectors: ArrayLike | Iterable[ArrayLike] | None = None, **wishes: Any
    ) -> Ingested:
        """``ingest`` without blocking the event loop.

        Requests go out on the loop, over the asynchronous client. Records are read, texts embedded, and callbacks
        called, in worker threads.
        """
        if (client := self._async_clients.of_this_loop()) is None:
            return await super().aingest(records, vectors, **wishes)
        twin = copy(self)
        twin._send = bridge(client, asyncio.get_running_loop())
        twin._room = Room(_ASYNC_BYTES)
        try:
            return await asyncio.to_thread(twin.ingest, records, vectors, **wishes)
        finally:
            self._created = self._created and twin._created
            self._fields, self.settings, self.contract = twin._fields, twin.settings, twin.contract

    def _begin(self) -> None:
        self._run(self._beginning())

    def _beginning(self) -> Steps[None]:
        meta = yield from self._checked_meta()
        used = None if self.encoder is None else self.encoder.settings
        changed = meta
        if used is not None and (self.settings is None or used.to_json() != self.settings.to_json()):
            changed = changed.with_settings(used)
        if (joined := self._joined()) is not None:
            changed = replace(changed, contract=joined)
        if changed is meta:
            return
        library = require("elasticsearch", "elasticsearch")
        try:
            yield from write_meta(self._place, changed)
        except library.AuthorizationException:  # of a key that may only write documents
            warn(f"{self._where}: the credentials do not allow to remember how texts were encoded; records are stored")
        self.settings, self.contract = changed.settings, changed.contract

    def _check(self, record: Record) -> None:
        check_record(record, self.contract.dimension)

    def _store(self, records: list[Record], vectors: Vectors) -> Mapping[str, str]:
        return self._run(self._storing(records, vectors))

    def _storing(self, records: list[Record], vectors: Vectors) -> Steps[Mapping[str, str]]:
        fields = self._fields
        if self._fields_grow:
            with self._growing:  # these steps are taken in one thread each: a batch waits for the fields of another
                grown = yield from add_fields(self._place, self.layout, self._fields, records)
                fields, self._fields_grow = grown
                self._fields = fields
        sources = convert.sources(records, vectors, self.layout, fields, self._version)
        ids = [document_id(record.id) or "" for record in records]
        to_send = (to_store(id, source) for id, source in zip(ids, sources, strict=True))
        outcomes = yield from send(self._place.index, to_send, self._room, self._options.deadline)
        faults = {record.id: outcomes[id] for record, id in zip(records, ids, strict=True)}
        refused = {id: fault for id, fault in faults.items() if fault is not None}
        if refused and len(refused) == len(faults) and are_of_index(list(refused.values())):
            raise translate(next(iter(refused.values())), self._where)
        if self._is_refresh_due(len(records)):
            yield from self._refreshing()
        return {id: reason(fault) for id, fault in refused.items()}

    def _is_refresh_due(self, stored: int) -> bool:
        with self._lock:
            self._unrefreshed += stored
            due = self._unrefreshed >= _REFRESHED
            if due:
                self._unrefreshed = 0
        return due

    def _refreshing(self) -> Steps[None]:
        yield from call("indices.refresh", index=self._place.index)

    def _flush(self) -> None:
        self._run(self._refreshing())

    def _batch_hint(self, *, embeds: bool) -> int:
        return BATCH

    def _ingest_threads(self) -> int:
        return _THREADS

    # deleting

    def _delete(self, ids: list[str]) -> int:
        return self._delete_documents([id for id in map(document_id, ids) if id is not None])

    def _delete_where(self, condition: Filter) -> int:
        meta = self._check_meta()
        self._flush()  # a filter finds only what is searchable
        with closing(self._find_pages(query_of(condition, meta.places), source=False)) as pages:
            return sum(self._delete_documents([hit["_id"] for hit in hits]) for hits in pages)

    def _delete_documents(self, ids: Sequence[str]) -> int:
        outcomes = self._run(send(self._place.index, map(to_delete, ids), self._room, self._options.deadline))
        self._flush()
        failed = [fault for fault in outcomes.values() if fault is not None and fault != MISSING]
        deleted = sum(fault is None for fault in outcomes.values())
        if failed and not deleted and are_of_index(failed):
            raise translate(failed[0], self._where)
        if failed:
            raise EngineError(
                f"{self._where}: {deleted} records were deleted, {len(failed)} could not be: {reason(failed[0])}"
            )
        return deleted

    # reading

    def _get(self, ids: list[str]) -> list[Record]:
        return self._run(self._getting(ids))

    async def _aget(self, ids: list[str]) -> list[Record]:
        return await self._arun(self._getting(ids))

    def _getting(self, ids: list[str]) -> Steps[list[Record]]:
        wanted = [id for id in map(document_id, ids) if id is not None]
        records = yield from read_documents(self._place.index, wanted, self.layout, self._where)
        return [records[id] for id in wanted if id in records]

    def _iterate(self, batch_size: int, vectors: bool, condition: Filter | None, after: str | None) -> Iterator[Page]:
        cursor = None if after is None else Cursor.parse(after)
        meta = self._check_meta()
        query = None if condition is None else query_of(condition, meta.places)
        fields = self.layout.names.source
        # from 9.2 on a server leaves vectors out of _source by default; 8.19 and later know exclude_vectors
        source = {
            "includes": [*fields, self.layout.stored_field] if vectors else fields,
            "exclude_vectors": not vectors,
        }
        return _as_pages(self._find_pages(query, batch_size, cursor, source=source), self.layout, vectors=vectors)

    def _find_pages(
        self, query: Query | None, size: int = MOST, after: Cursor | None = None, **search: Any
    ) -> Generator[list[dict[str, Any]]]:
        snapshot = Snapshot(self._place.index, min(size, MOST), after=after, query=query, **search)
        try:
            while hits := self._run(snapshot.next_page()):
                yield hits
        finally:
            if self._client is not None:
                self._run(snapshot.release())

    def _search(self, query: Float32, k: int, condition: Filter | None) -> list[Hit]:
        return self._search_batch(query[np.newaxis], k, condition)[0]

    def _search_batch(self, queries: Float32, k: int, condition: Filter | None) -> list[list[Hit]]:
        return self._run(self._searching(queries, k, condition))

    async def _asearch(self, query: Float32, k: int, condition: Filter | None) -> list[Hit]:
        return (await self._asearch_batch(query[np.newaxis], k, condition))[0]

    async def _asearch_batch(self, queries: Float32, k: int, condition: Filter | None) -> list[list[Hit]]:
        return await self._arun(self._searching(queries, k, condition))

    def _searching(self, queries: Float32, k: int, condition: Filter | None) -> Steps[list[list[Hit]]]:
        searcher = yield from self._searcher()
        reachable = yield from self._reachable(k)
        found: list[list[Hit]] = []
        for query in queries:
            found.append((yield from searcher.search(query, reachable, condition)))
        return found

    def _searcher(self) -> Steps[Searcher]:
        meta = yield from self._checked_meta()
        return Searcher(self._place.index, self._where, self.layout, meta.places, self._options)

    def _reachable(self, k: int) -> Steps[int]:
        """Return k, or the number of records where it asks for more than there are."""
        if k <= MOST:
            return k
        count = int((yield from call("count", index=self._place.index))["count"])
        if count > MOST:
            raise InvalidInput(
                f"k={brief(k)}: Elasticsearch returns at most {MOST} hits, and the index holds {count} records"
            )
        return max(count, 1)

    def _bytes(self) -> int | None:
        """Return the size on disk; None on a serverless project, or without the privilege ``monitor``."""
        return None if self._version == NEWEST else self._run(self._measuring())

    def _measuring(self) -> Steps[int | None]:
        library = require("elasticsearch", "elasticsearch")
        try:
            stats = yield from call("indices.stats", index=self._place.index, metric="store")
        except library.AuthorizationException:
            return None
        return int(stats["_all"]["primaries"]["store"]["size_in_bytes"])

    def _check_meta(self) -> Meta:
        return self._run(self._checked_meta())

    def _checked_meta(self) -> Steps[Meta]:
        """Compare the contract with the one in the mapping now: another client may have recreated the index."""
        meta = yield from read_meta(self._place)
        meta.contract.check(self.contract, ours="the index", theirs="what was opened")
        if meta.layout != self.layout:
            raise EngineError(f"{self._where}: the index was recreated with another storage; open it again")
        self._fields = meta.fields
        return meta

    def _run(self, steps: Steps[T]) -> T:
        send = sender(self.client) if self._send is None else self._send
        return drive(send, patient(steps, self._options.deadline), self._where)

    async def _arun(self, steps: Steps[T]) -> T:
        """Do what ``_run`` does, over an asynchronous client; in a worker thread where there is none."""
        _ = self.client  # which a closed index has not
        if (client := self._async_clients.of_this_loop()) is None:
            return await asyncio.to_thread(self._run, steps)
        return await adrive(client, patient(steps, self._options.deadline), self._where)

    def __repr__(self) -> str:
        return f"ElasticsearchIndex({self._where!r}, storage={self.layout.storage!r})"


def _open(
    place: Place, options: ElasticsearchOptions, contract: Contract | None, settings: EncoderSettings | None
) -> Steps[tuple[Version, Meta, bool]]:
    """Find an index, adopt it, or create it; return the server's version, what is true of the index, and if it is new.

    Raises:
        IndexNotFound: it is not there, and there is no contract to create it under.
    """
    library = require("elasticsearch", "elasticsearch")
    version = yield from server_version(str(place))
    created = False
    try:
        if options.adopt:
            meta = yield from adopt_index(place, contract, options)
        else:
            meta = yield from read_meta(place)
    except library.NotFoundError:
        if contract is None or options.adopt:
            raise
        layout = Layout.choose(options, contract.dimension, version)
        meta = Meta(contract=contract, layout=layout, settings=settings)
        created = yield from create_index(place, meta, options)
        meta = meta if created else (yield from read_meta(place))  # another client was faster
    meta.layout.check_options(options, str(place))
    return version, meta, created


def _as_pages(found: Generator[list[dict[str, Any]]], layout: Layout, *, vectors: bool) -> Iterator[Page]:
    """Yield pages of hits as pages of records."""
    with closing(found):
        for hits in found:
            rows = read_vectors(hits, layout) if vectors else None
            yield Page([read_record(hit, layout) for hit in hits], str(Cursor.of(hits[-1])), rows)
