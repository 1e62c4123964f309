"""QdrantIndex: the engine over one collection."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from threading import Lock
from typing import Any, Self

import numpy as np

from jinavec.contract import Contract
from jinavec.encoder import Encoder
from jinavec.engine import Engine
from jinavec.errors import EngineError, IndexNotFound
from jinavec.extras import require
from jinavec.filters import Filter
from jinavec.options import read_options
from jinavec.records import Hit, Page, Record, same_content
from jinavec.vectors import Float32
from jinavec_integrations.qdrant.collection import open_collection
from jinavec_integrations.qdrant.connection import Connection, local_collection_exists
from jinavec_integrations.qdrant.convert import read_cursor, to_payload, to_record
from jinavec_integrations.qdrant.location import Location, parse_location
from jinavec_integrations.qdrant.manifest import Manifest, read_manifest, write_manifest
from jinavec_integrations.qdrant.options import QdrantOptions
from jinavec_integrations.qdrant.points import Points
from jinavec_integrations.qdrant.queries import passing, query_request, too_deep

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

    Local mode is qdrant-client's own: exact, for small collections, one process at a time.

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
        self._points = Points(connection, manifest)
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
            raise IndexNotFound(f"there is no collection {place}; create it with a contract or an encoder")
        connection = Connection(place, chosen)
        try:
            manifest, created = open_collection(connection, contract, encoder, chosen)
        except BaseException:
            connection.close()
            raise
        return cls(connection, manifest, encoder, chosen, created=created)

    @property
    def location(self) -> Location:
        """Where the collection is."""
        return self._connection.location

    def count(self) -> int:
        """Return the number of records."""
        return int(self._connection.call("count", exact=True).count)

    def info(self) -> dict[str, Any]:
        """Return place, collection, counts, status, preset, contract and encoder settings, as plain JSON values."""
        found = self._connection.call("get_collection")
        return {
            **super().info(),
            "place": self.location.place,
            "collection": self.location.collection,
            "indexed_vectors": found.indexed_vectors_count or 0,
            "status": found.status.value,
            "preset": self._manifest.preset,
            "matryoshka": self._manifest.matryoshka,
        }

    def close(self) -> None:
        """Release the connection. Idempotent."""
        self._connection.close()

    def __repr__(self) -> str:
        return f"QdrantIndex({str(self.location)!r}, dimension={self.contract.dimension})"

    def _batch_hint(self, *, embeds: bool) -> int:
        return max(_BATCH, self.options.batch_size)

    def _ingest_threads(self) -> int:
        return 1 if self._connection.local else self.options.parallel

    def _begin(self) -> None:
        self._check_contract()
        self._looked_up.clear()
        used = None if self.encoder is None else self.encoder.settings
        if used is not None and (self.settings is None or used.to_json() != self.settings.to_json()):
            self._manifest = dataclasses.replace(self._manifest, settings=used)
            write_manifest(self._connection, self._manifest)
            self.settings = used
        if (joined := self._joined()) is not None:
            self._manifest = dataclasses.replace(self._manifest, contract=joined)
            write_manifest(self._connection, self._manifest)
            self.contract = joined

    def _check(self, record: Record) -> None:
        to_payload(record)

    def _unchanged(self, records: list[Record]) -> Mapping[str, bool]:
        stored = self._points.read([record.id for record in records])
        same = {record.id: same_content(record, stored[record.id]) for record in records if record.id in stored}
        with self._lock:
            self._looked_up.update(record.id for record in records if not same.get(record.id))
        return same

    def _store(self, records: list[Record], vectors: Float32) -> Mapping[str, str]:
        ids = [record.id for record in records]
        self._before_storing(ids)
        size = self.options.batch_size
        try:
            for start in range(0, len(records), size):
                part = slice(start, start + size)
                self._points.upsert(records[part], vectors[part])
        except EngineError:
            with self._lock:
                self._acknowledged.clear()  # the ingest ends with this error: a server in trouble is not asked more
            raise
        self._after_storing(ids)
        return {}

    def _before_storing(self, ids: list[str]) -> None:
        """Refuse to write under an outdated contract, or over the points of another tool."""
        with self._lock:
            outdated = self._stored >= _TRUSTED_RECORDS
            unknown = [] if self._created else [id for id in ids if id not in self._looked_up]
            self._looked_up.difference_update(ids)
        if outdated:
            self._check_contract()
        if unknown:
            self._points.owned(unknown)

    def _after_storing(self, ids: list[str]) -> None:
        with self._lock:
            self._stored += len(ids)
            self._acknowledged += ids
            enough = len(self._acknowledged) >= _READ_BACK
        if enough:
            self._flush()

    def _flush(self) -> None:
        """Look up whether the server has what it acknowledged; that is searchable already."""
        with self._lock:
            ids, self._acknowledged = self._acknowledged, []
        if ids and not self._connection.local:
            self._points.check_stored(ids)

    def _delete(self, ids: list[str]) -> int:
        return self._points.delete(ids)

    def _get(self, ids: list[str]) -> list[Record]:
        found = self._points.read(ids)
        return [found[id] for id in ids if id in found]

    def _iterate(self, batch_size: int, vectors: bool, condition: Filter | None, after: str | None) -> Iterator[Page]:
        self._check_contract(_TRUSTED_SECONDS)
        start = None if after is None else read_cursor(after)
        return self._points.scroll(batch_size, vectors, passing(condition), start)

    def _search(self, query: Float32, k: int, condition: Filter | None) -> list[Hit]:
        return self._search_batch(query[None], k, condition)[0]

    def _search_batch(self, queries: Float32, k: int, condition: Filter | None) -> list[list[Hit]]:
        limit = min(k, max(1, self.count())) if k > _MANY else k
        self._check_contract(_TRUSTED_SECONDS)
        models, match = require("qdrant_client.models", "qdrant"), passing(condition)
        requests = [
            models.QueryRequest(**query_request(query, limit, match, self._manifest, self.options)) for query in queries
        ]
        hits: list[list[Hit]] = []
        for start in range(0, len(requests), _QUERIES):
            with too_deep():
                answers = self._connection.call("query_batch_points", requests=requests[start : start + _QUERIES])
            hits += [[_hit(point) for point in answer.points] for answer in answers]
        return hits

    def _check_contract(self, max_age: float = 0.0) -> None:
        """Refuse to go on if the collection is no longer the one that was opened; read at most ``max_age`` seconds ago.

        Raises:
            ContractMismatch: it has another contract.
            EngineError: it has other vectors or ids.
            IndexNotFound, IndexDamaged: it was deleted, or recreated by another tool.
        """
        if time.monotonic() - self._read_at < max_age:
            return
        found = read_manifest(self._connection)
        self.contract.check(found.contract, ours="the index that was opened", theirs="the collection now")
        if dataclasses.replace(found, settings=None) != dataclasses.replace(self._manifest, settings=None):
            raise EngineError(f"{self.location} was recreated by another client with other options; reopen the index")
        with self._lock:
            self._read_at, self._stored = time.monotonic(), 0


def _hit(point: Any) -> Hit:
    score = float(np.float32(point.score))  # as a server scores; local mode has more digits, and the last ones vary
    return Hit(to_record(point.id, point.payload), max(-1.0, min(1.0, score)))
