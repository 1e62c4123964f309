"""QdrantIndex: the engine over one collection."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Self, cast

import numpy as np
from numpy.typing import ArrayLike

from jinavec.contract import Contract
from jinavec.encoder import Encoder, Progress
from jinavec.engine import Engine
from jinavec.errors import EngineError, IndexDamaged, IndexNotFound, InvalidFilter, InvalidInput, InvalidType, brief
from jinavec.extras import require
from jinavec.filters import Filter, FilterDict, parse_filter
from jinavec.options import read_options
from jinavec.records import Hit, Record
from jinavec.sender import Sender
from jinavec.vectors import Float32, narrow
from jinavec_integrations.qdrant import presets
from jinavec_integrations.qdrant.collection import Manifest, open_collection, read_manifest, write_manifest
from jinavec_integrations.qdrant.connection import Connection, local_collection_exists
from jinavec_integrations.qdrant.convert import INNER, PointId, owner, point_id, to_payload, to_record
from jinavec_integrations.qdrant.filters import translate
from jinavec_integrations.qdrant.ingest import Ingested, ingest
from jinavec_integrations.qdrant.location import Location, parse_location
from jinavec_integrations.qdrant.options import QdrantOptions

_PAGE = 1000  # points asked for by id at a time
_QUERIES = 64  # queries in a request
_TRUSTED = 5.0
"""Seconds that a contract which was read is taken for the collection's."""
_MANY = 10_000  # hits after which the number of points is looked up: the server plans for as many as are asked for


class QdrantIndex(Engine):
    """Records as points of one Qdrant collection, on a server or in a local folder.

    Local mode is qdrant-client's own: exact, for small collections, one process at a time.

    The contract is read again at every ``add`` and ``ingest``, and by searches and uploads every five seconds: somebody
    else may have made the collection anew.
    """

    options_type = QdrantOptions

    def __init__(self, connection: Connection, manifest: Manifest, encoder: Encoder | None, options: QdrantOptions):
        self.contract = manifest.contract
        self.settings = manifest.settings
        self.encoder = encoder
        self.options = options
        self._connection = connection
        self._manifest = manifest
        self._read_at = time.monotonic()

    @classmethod
    def open_target(cls, location: str, *, contract: Contract | None, encoder: Encoder | None, options: object) -> Self:
        """Open what a target names after ``qdrant:``; create it if there is a contract and nothing there.

        Raises:
            IndexNotFound: nothing is there, and no contract to create it.
            ContractMismatch: the collection has another contract.
            IndexDamaged: it was made by somebody else, or does not fit its contract.
            IndexLocked: another process has the local folder open.
            EngineError: the server cannot be reached, or refuses the key.
        """
        chosen, place = read_options(QdrantOptions, options), parse_location(location)
        if contract is None and place.folder and not local_collection_exists(place):
            raise IndexNotFound(f"there is no collection {place}; create it with a contract or an encoder")
        connection = Connection(place, chosen)
        try:
            return cls(connection, open_collection(connection, contract, encoder, chosen), encoder, chosen)
        except BaseException:
            connection.close()
            raise

    @property
    def location(self) -> Location:
        """Where the collection is."""
        return self._connection.location

    def ingest(
        self,
        records: Iterable[Record],
        *,
        encoder: Encoder | None = None,
        resume: bool = True,
        progress: Progress | None = None,
    ) -> Ingested:
        """Embed and store a stream of records, in batches, while earlier batches are uploaded.

        Args:
            records: any iterable; a repeated id replaces.
            encoder: by default the one the engine was opened with.
            resume: leave out records that are stored as they are, so that a run that was cut off can be repeated
                without embedding anything twice.
            progress: called with (records done, 0): how many there are in all is not known.

        Returns:
            How many were stored and how many were there already.

        Raises:
            InvalidRecord, InvalidType: something that cannot be stored; what came before it is.
            ContractMismatch: the encoder has another contract.
            EngineError: an upload failed, or the collection does not hold what was stored.
        """
        if not isinstance(records, Iterable):
            raise InvalidType(f"records must be Record objects, not {type(records).__name__}")
        if encoder is not None:
            if not isinstance(encoder, Encoder):
                raise InvalidType(f"an Encoder is needed, not {type(encoder).__name__}")
            self.contract.check(encoder.contract)
        used = encoder or self._need_encoder("encoder=")
        self._check_still(0)
        self._remember_settings(used)
        return ingest(self, records, used, self._upsert, self._workers, resume=resume, progress=progress)

    def search_many(
        self, queries: Sequence[str] | ArrayLike, k: int = 10, filter: FilterDict | None = None
    ) -> list[list[Hit]]:
        """Search for several queries in one request: texts, or vectors (n, dimension); see ``search``.

        Returns:
            The hits of each query, in their order.
        """
        condition = None if filter is None else parse_filter(filter)
        if isinstance(queries, str) or not isinstance(queries, Iterable):
            raise InvalidType(f"search_many takes several queries, not {brief(queries)}; for one, use search")
        given: list[Any] = list(cast("Iterable[Any]", queries))
        if given and all(isinstance(query, str) for query in given):
            vectors = self._need_encoder("query vectors").encode_queries(given)
        else:
            vectors = self._check_vectors(given, len(given))
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
            raise InvalidInput(f"k must be a whole number of at least 1, not {brief(k)}")
        return self._search_all(vectors, int(k), condition)

    def count(self) -> int:
        """Return the number of records."""
        return int(self._connection.call("count", exact=True).count)

    def info(self) -> dict[str, Any]:
        """Return place, collection, counts, status, preset, contract and encoder settings, as plain JSON values."""
        found = self._connection.call("get_collection")
        return {
            "engine": "qdrant",
            "place": self.location.place,
            "collection": self.location.collection,
            "records": self.count(),
            "indexed_vectors": found.indexed_vectors_count or 0,
            "status": str(getattr(found.status, "value", found.status)),
            "preset": self._manifest.preset,
            "matryoshka": self._manifest.matryoshka,
            "contract": self.contract.to_json(),
            "encoder": None if self.settings is None else self.settings.to_json(),
        }

    def close(self) -> None:
        """Let go of the connection; closing twice is allowed."""
        self._connection.close()

    def __repr__(self) -> str:
        return f"QdrantIndex({str(self.location)!r}, dimension={self.contract.dimension})"

    def _add(self, records: list[Record], vectors: Float32) -> None:
        for record in records:
            to_payload(record)  # all of them, before anything is sent
        self._check_still(0)
        self._check_owners([record.id for record in records])
        self._remember_settings(self.encoder)
        size = self.options.batch_size
        with Sender(self._workers) as sender:
            for start in range(0, len(records), size):
                part = slice(start, start + size)
                sender.submit(partial(self._upsert, records[part], vectors[part]))

    def _upsert(self, records: list[Record], vectors: Float32) -> None:
        self._check_still()
        models = require("qdrant_client.models", "qdrant")
        self._connection.call(
            "upsert",
            undone=f"of these {len(records)} records none or some were stored, running it again replaces them",
            points=models.Batch(
                ids=[self._point_id(record.id) for record in records],
                vectors=self._named(vectors),
                payloads=[to_payload(record) for record in records],
            ),
            wait=True,
        )

    def _named(self, vectors: Float32) -> Any:
        """Return vectors by name where the collection has names; one (dimension,) or rows."""
        if not self._manifest.vector:
            return vectors.tolist()
        named = {self._manifest.vector: vectors.tolist()}
        if self._manifest.matryoshka is not None:
            named[presets.SHORT] = narrow(vectors, self._manifest.matryoshka).tolist()
        return named

    def _delete(self, ids: list[str]) -> int:
        models = require("qdrant_client.models", "qdrant")
        found = list(self._check_owners(ids))
        for start in range(0, len(found), _PAGE):
            selector = models.PointIdsList(points=found[start : start + _PAGE])
            self._connection.call("delete", points_selector=selector, wait=True)
        return len(found)

    def _get(self, ids: list[str]) -> list[Record]:
        found = {str(key): to_record(key, point.payload) for key, point in self._points(ids, True).items()}
        asked = [(id, found.get(str(self._point_id(id)))) for id in ids]
        for id, record in asked:
            if record is not None and record.id != id:
                raise IndexDamaged(f"{self.location}: the point of record {id!r} holds record {record.id!r}")
        return [record for _, record in asked if record is not None]

    def _check_owners(self, ids: list[str]) -> dict[PointId, Any]:
        """Return the points of record ids that are there.

        Raises:
            IndexDamaged: one of them belongs to somebody else; nothing was changed.
        """
        found = self._points(ids, [f"{INNER}.id"])
        for id in ids:
            point = found.get(cast("PointId", self._point_id(id)))
            if point is not None and (known := owner(point.payload)) != id:
                holds = "was not written by jinavec" if known is None else f"holds record {known!r}"
                raise IndexDamaged(
                    f"{self.location}: the point {point.id!r}, where record {id!r} belongs, {holds}; nothing was"
                    " changed: delete that point, or give the record another id"
                )
        return found

    def _points(self, ids: list[str], payload: bool | list[str]) -> dict[PointId, Any]:
        """Return the points of record ids that are there."""
        wanted = list(dict.fromkeys(point for id in ids if (point := self._point_id(id)) is not None))
        found: dict[PointId, Any] = {}
        for start in range(0, len(wanted), _PAGE):
            page = wanted[start : start + _PAGE]
            points = self._connection.call("retrieve", ids=page, with_payload=payload, with_vectors=False)
            found |= {point.id: point for point in points}
        return found

    def _point_id(self, id: str) -> PointId | None:
        return point_id(id, self._manifest.ids)

    def _search(self, query: Float32, k: int, condition: Filter | None) -> list[Hit]:
        return self._search_all(query[None], k, condition)[0]

    def _search_all(self, queries: Float32, k: int, condition: Filter | None) -> list[list[Hit]]:
        limit = min(k, max(1, self.count())) if k > _MANY else k
        self._check_still()
        models = require("qdrant_client.models", "qdrant")
        passing = None if condition is None else _passing(condition)
        requests = [models.QueryRequest(**self._request(query, limit, passing)) for query in queries]
        hits: list[list[Hit]] = []
        for start in range(0, len(requests), _QUERIES):
            answers = self._connection.call("query_batch_points", requests=requests[start : start + _QUERIES])
            hits += [[_hit(point) for point in answer.points] for answer in answers]
        return hits

    def _request(self, query: Float32, limit: int, passing: Any) -> dict[str, Any]:
        params = presets.search_params(self._manifest.preset, self.options.recall, limit)
        common = {
            "limit": limit,
            "with_payload": True,
            "using": self._manifest.vector or None,
            "shard_key": self.options.shard_key,
        }
        if self._manifest.matryoshka is None:
            return {"query": query.tolist(), "filter": passing, "params": params, **common}
        candidates = presets.candidates(self.options.recall, limit)
        first = {
            "query": narrow(query, self._manifest.matryoshka).tolist(),
            "using": presets.SHORT,
            "filter": passing,
            "limit": candidates,
            "params": presets.search_params(self._manifest.preset, self.options.recall, candidates),
        }
        return {"prefetch": [first], "query": query.tolist(), **common}

    def _check_still(self, trusted: float = _TRUSTED) -> None:
        """Refuse to go on where the collection is no longer the one that was opened.

        Raises:
            ContractMismatch: it has another contract by now.
            EngineError: it has other vectors or ids by now.
            IndexNotFound, IndexDamaged: it was deleted, or made anew by somebody else.
        """
        if trusted and time.monotonic() - self._read_at < trusted:
            return
        found = read_manifest(self._connection)
        self.contract.check(found.contract, ours="the index that was opened", theirs="the collection now")
        if dataclasses.replace(found, settings=None) != dataclasses.replace(self._manifest, settings=None):
            raise EngineError(f"{self.location} was made anew in another way; open it again")
        self._read_at = time.monotonic()

    @property
    def _workers(self) -> int:
        return 1 if self._connection.local else self.options.parallel

    def _remember_settings(self, encoder: Encoder | None) -> None:
        used = None if encoder is None else encoder.settings
        if used is not None and (self.settings is None or used.to_json() != self.settings.to_json()):
            self._manifest = dataclasses.replace(self._manifest, settings=used)
            write_manifest(self._connection, self._manifest)
            self.settings = used


def _passing(condition: Filter) -> Any:
    models, validation = require("qdrant_client.models", "qdrant"), require("pydantic", "qdrant").ValidationError
    try:
        return models.Filter(must=[translate(condition)])
    except (RecursionError, validation):  # ours are well-formed: all that pydantic can refuse is their depth
        raise InvalidFilter("the filter is nested too deeply for Qdrant") from None


def _hit(point: Any) -> Hit:
    score = float(np.float32(point.score))  # as a server scores; local mode has more digits, and the last ones vary
    return Hit(to_record(point.id, point.payload), max(-1.0, min(1.0, score)))
