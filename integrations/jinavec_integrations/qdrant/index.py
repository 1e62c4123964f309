"""QdrantIndex: the engine over one collection."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from math import inf
from threading import Lock
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from jinavec.contract import Contract
from jinavec.encoder import Encoder
from jinavec.engine import Engine
from jinavec.errors import HOW_TO_CREATE, EngineError, IndexNotFound, warn
from jinavec.extras import require
from jinavec.filters import Filter
from jinavec.ingest import Ingested
from jinavec.options import read_options
from jinavec.records import Hit, Page, Record, same_content
from jinavec.vectors import Float32
from jinavec_integrations.qdrant import presets
from jinavec_integrations.qdrant.calls import Talk, ask
from jinavec_integrations.qdrant.collection import open_collection, shard_keys
from jinavec_integrations.qdrant.connection import Connection, local_collection_exists
from jinavec_integrations.qdrant.convert import read_cursor, to_payload
from jinavec_integrations.qdrant.errors import NoSuchVector, NotAllowed
from jinavec_integrations.qdrant.location import Location, parse_location
from jinavec_integrations.qdrant.manifest import Manifest, read_manifest, write_manifest
from jinavec_integrations.qdrant.options import QdrantOptions
from jinavec_integrations.qdrant.points import Points
from jinavec_integrations.qdrant.queries import passing, query_request, too_deep

T = TypeVar("T")
_BATCH = 1024  # records a batch of an ingest
_QUERIES = 64  # queries in a request
_MANY = 10_000  # hits after which the number of points is looked up: the server plans for as many as are asked for
_TRUSTED_SECONDS = 5.0
"""How long searches trust the contract that was read."""
_TRUSTED_RECORDS = 2048
"""How many records are stored under the contract that was read, before it is read again."""
_READ_BACK = 10_000
"""How many records are stored before it is looked up whether the server has them."""


class QdrantIndex(Engine):
    """Records as points of one Qdrant collection, on a server or in a local folder.

    Local mode is qdrant-client's own: exact, for small collections, one process at a time. With a server, ``asearch``,
    ``asearch_batch``, ``aget`` and ``aingest`` use qdrant-client's async client; other async methods run in a worker
    thread.

    Another client may delete the collection and create another one under its name. So the contract is read again when
    an ``add`` or ``ingest`` begins, every 2,048 records of it, and by searches every five seconds.
    """

    name = "qdrant"
    options_type = QdrantOptions

    def __init__(
        self,
        connection: Connection,
        manifest: Manifest,
        encoder: Encoder | None,
        options: QdrantOptions,
        *,
        created: bool = False,
    ):
        self.contract = manifest.contract
        self.settings = manifest.settings
        self.encoder = encoder
        self.options = options
        self._connection = connection
        self._manifest = manifest
        self._created = created
        self._points = Points(connection, manifest, shard_keys(connection, manifest, options))
        self._lock = Lock()  # of what follows
        self._read_at = time.monotonic()
        self._stored = 0  # records, since the contract was read
        self._acknowledged: list[str] = []  # ids, since records were read back
        self._looked_up: set[str] = set()  # ids whose points _unchanged saw, and _store is to write

    @classmethod
    def open_target(cls, location: str, *, contract: Contract | None, encoder: Encoder | None, options: object) -> Self:
        """Open what a target names after ``qdrant:``; create it if there is a contract and no collection.

        Raises:
            IndexNotFound: there is no collection, and no contract to create it with.
            ContractMismatch: the collection has another contract.
            IndexDamaged: it was not created by jinavec, or does not fit its contract.
            IndexLocked: another process has the local folder open.
            EngineError: the server cannot be reached, or refuses the key.
        """
        chosen, place = read_options(QdrantOptions, options), parse_location(location)
        if contract is None and place.folder and not local_collection_exists(place):
            raise IndexNotFound(f"there is no collection {place}; {HOW_TO_CREATE}")
        connection = Connection(place, chosen)
        try:
            manifest, created = open_collection(connection, contract, encoder, chosen)
        except BaseException:
            connection.close()
            raise
        _warn_of_recall(connection, manifest, chosen)
        return cls(connection, manifest, encoder, chosen, created=created)

    @property
    def location(self) -> Location:
        """Where the collection is."""
        return self._connection.location

    def count(self) -> int:
        """Return the number of records."""
        return self._connection.run(self._points.count())

    def info(self) -> dict[str, Any]:
        """Return place, collection, counts, status, preset, contract and encoder settings, as plain JSON values."""
        found = self._connection.call("get_collection")
        layout = self._manifest.layout
        return {
            **super().info(),
            "place": self.location.place,
            "collection": self.location.collection,
            "indexed_vectors": found.indexed_vectors_count or 0,
            "status": found.status.value,
            "problem": _problem(found),
            "preset": self._manifest.preset,
            "matryoshka": self._manifest.matryoshka,
            "vector": self._manifest.vector,
            "payload_indexes": dict(layout.fields),
            "tenant_field": layout.tenant or None,
        }

    def close(self) -> None:
        """Release the connection. Idempotent."""
        self._connection.close()

    async def aclose(self) -> None:
        """``close`` without blocking the event loop; releases what the running loop holds, too."""
        await self._connection.aclose()

    def __repr__(self) -> str:
        return f"QdrantIndex({str(self.location)!r}, dimension={self.contract.dimension})"

    async def aingest(
        self, records: Iterable[Record], vectors: ArrayLike | Iterable[ArrayLike] | None = None, **wishes: Any
    ) -> Ingested:
        """``ingest`` without blocking the event loop.

        With a server, requests go out on the loop, by the async client. Records are read, texts embedded, and callbacks
        called, in worker threads.
        """
        if not self._connection.awaits:
            return await super().aingest(records, vectors, **wishes)
        twin = copy(self)
        twin._connection = self._connection.on_loop(asyncio.get_running_loop())
        twin._points = self._points.over(twin._connection)
        try:
            return await asyncio.to_thread(twin.ingest, records, vectors, **wishes)
        finally:
            self._created = self._created and twin._created
            self._manifest, self.settings, self.contract = twin._manifest, twin.settings, twin.contract

    def _batch_hint(self, *, embeds: bool) -> int:
        return max(_BATCH, self.options.batch_size)

    def _ingest_threads(self) -> int:
        return 1 if self._connection.local else self.options.parallel

    def _begin(self) -> None:
        self._connection.run(self._check_contract())
        self._looked_up.clear()
        used = None if self.encoder is None else self.encoder.settings
        if used is not None and (self.settings is None or used.to_json() != self.settings.to_json()):
            manifest = dataclasses.replace(self._manifest, settings=used)
            try:
                write_manifest(self._connection, manifest)
            except NotAllowed as error:
                warn(f"the encoder's settings cannot be remembered: {error}")
            else:
                self._manifest = manifest
            self.settings = used
        if (joined := self._joined()) is not None:
            self._manifest = dataclasses.replace(self._manifest, contract=joined)
            write_manifest(self._connection, self._manifest)
            self.contract = joined

    def _check(self, record: Record) -> None:
        to_payload(record, self._manifest.layout)

    def _unchanged(self, records: list[Record]) -> Mapping[str, bool]:
        stored = self._connection.run(self._points.read([record.id for record in records]))
        same = {record.id: same_content(record, stored[record.id]) for record in records if record.id in stored}
        with self._lock:
            self._looked_up.update(record.id for record in records if not same.get(record.id))
        return same

    def _store(self, records: list[Record], vectors: Float32) -> Mapping[str, str]:
        try:
            return self._connection.run(self._storing(records, vectors))
        except EngineError:
            with self._lock:
                self._acknowledged.clear()  # the ingest ends with this error: a server in trouble is not asked more
            raise

    def _storing(self, records: list[Record], vectors: Float32) -> Talk[Mapping[str, str]]:
        """Store a batch, unless that would be under an outdated contract, or over the points of another tool."""
        ids = [record.id for record in records]
        with self._lock:
            outdated = self._stored >= _TRUSTED_RECORDS
            unknown = [] if self._created else [id for id in ids if id not in self._looked_up]
            self._looked_up.difference_update(ids)
        if outdated:
            yield from self._check_contract()
        if unknown:
            yield from self._points.owned(unknown)
        refused = yield from self._named(self._points.upsert(records, vectors, self.options.batch_size))
        with self._lock:
            self._stored += len(ids)
            self._acknowledged += [id for id in ids if id not in refused]
            enough = len(self._acknowledged) >= _READ_BACK
        if enough:
            self._read_back()
        return refused

    def _flush(self) -> None:
        """Look up whether the server has what it acknowledged, which is searchable already, and is well."""
        if (
            self._read_back()
            and not self._connection.local
            and (problem := _problem(self._connection.call("get_collection")))
        ):
            warn(f"{self.location}: what was stored is not indexed: {problem}")

    def _read_back(self) -> bool:
        """Return whether there was something to look up."""
        with self._lock:
            ids, self._acknowledged = self._acknowledged, []
        if ids and not self._connection.local:
            self._points.check_stored(ids)
        return bool(ids)

    def _delete(self, ids: list[str]) -> int:
        return self._connection.run(self._points.delete(ids))

    def _get(self, ids: list[str]) -> list[Record]:
        return self._connection.run(self._getting(ids))

    async def _aget(self, ids: list[str]) -> list[Record]:
        if not self._connection.awaits:
            return await super()._aget(ids)
        return await self._connection.arun(self._getting(ids))

    def _getting(self, ids: list[str]) -> Talk[list[Record]]:
        found = yield from self._points.read(ids)
        return [found[id] for id in ids if id in found]

    def _iterate(self, batch_size: int, vectors: bool, condition: Filter | None, after: str | None) -> Iterator[Page]:
        self._connection.run(self._check_contract(_TRUSTED_SECONDS))
        start = None if after is None else read_cursor(after)
        return self._points.scroll(batch_size, vectors, passing(condition, self._manifest.layout), start)

    def _search(self, query: Float32, k: int, condition: Filter | None) -> list[Hit]:
        return self._search_batch(query[None], k, condition)[0]

    def _search_batch(self, queries: Float32, k: int, condition: Filter | None) -> list[list[Hit]]:
        return self._connection.run(self._searching(queries, k, condition))

    async def _asearch(self, query: Float32, k: int, condition: Filter | None) -> list[Hit]:
        return (await self._asearch_batch(query[None], k, condition))[0]

    async def _asearch_batch(self, queries: Float32, k: int, condition: Filter | None) -> list[list[Hit]]:
        if not self._connection.awaits:
            return await super()._asearch_batch(queries, k, condition)
        return await self._connection.arun(self._searching(queries, k, condition))

    def _searching(self, queries: Float32, k: int, condition: Filter | None) -> Talk[list[list[Hit]]]:
        limits = self._connection.limits
        limit = k
        if k > limits.page(_MANY):
            limit = min(k, max(1, (yield from self._points.count())))
        yield from self._check_contract(_TRUSTED_SECONDS)
        models, match = require("qdrant_client.models", "qdrant"), passing(condition, self._manifest.layout)
        limit, size = limits.hits(limit), limits.queries(_QUERIES)
        requests = [
            models.QueryRequest(**query_request(query, limit, match, self._manifest, self.options, limits))
            for query in queries
        ]
        hits: list[list[Hit]] = []
        for start in range(0, len(requests), size):
            with too_deep():
                answers = yield from self._named(ask("query_batch_points", requests=requests[start : start + size]))
            hits += [[self._hit(point) for point in answer.points] for answer in answers]
        return hits

    def _hit(self, point: Any) -> Hit:
        score = float(np.float32(point.score))  # as a server scores; local mode has more digits, and the last ones vary
        return Hit(self._points.to_record(point), max(-1.0, min(1.0, score)))

    def _named(self, talk: Talk[T]) -> Talk[T]:
        """Tell what it means that the collection does not know the vector by its name.

        Raises:
            ContractMismatch: it is of another contract by now; the name has a digest of it.
        """
        try:
            return (yield from talk)
        except NoSuchVector:
            yield from self._check_contract()
            raise

    def _check_contract(self, max_age: float = 0.0) -> Talk[None]:
        """Refuse to go on if the collection is no longer the one that was opened; read at most ``max_age`` seconds ago.

        Raises:
            ContractMismatch: it has another contract.
            EngineError: it has other vectors or ids.
            IndexNotFound, IndexDamaged: it was deleted, or recreated by another tool.
        """
        if time.monotonic() - self._read_at < max_age:
            return
        found = yield from read_manifest(self._connection)
        self.contract.check(found.contract, ours="the index that was opened", theirs="the collection now")
        if dataclasses.replace(found, settings=None) != dataclasses.replace(self._manifest, settings=None):
            raise EngineError(f"{self.location} was recreated by another client with other options; reopen the index")
        with self._lock:
            self._read_at, self._stored = time.monotonic(), 0


def _warn_of_recall(connection: Connection, manifest: Manifest, options: QdrantOptions) -> None:
    """Warn that searches will not reach the recall that they aim at; local mode is exact."""
    if connection.local:
        return
    dimension, most = manifest.matryoshka or manifest.contract.dimension, connection.limits.search_max_oversampling
    reached = presets.reach(manifest.preset, dimension, inf if most is None else most)
    if reached < options.recall:
        limited = "" if most is None else f" and oversampling limited to {most:g} (search_max_oversampling)"
        measured = f"on real text, {reached:g} was measured; " if reached else ""
        warn(
            f"{connection.location}: recall={options.recall:g} may be out of reach of the preset {manifest.preset!r} at"
            f" {dimension} dimensions{limited}: {measured}'scalar' and 'turbo' reach more"
        )


def _problem(info: Any) -> str | None:
    """Return why a server cannot index what it stores; None where it can."""
    if info.status.value != "red":
        return None
    return str(getattr(info.optimizer_status, "error", "") or "the collection's status is red")
