"""Points: records stored and read by id."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from jinavec.errors import EngineError, IndexDamaged
from jinavec.extras import require
from jinavec.records import Page, Record
from jinavec.vectors import Float32, narrow, normalize
from jinavec_integrations.qdrant.calls import Talk, ask
from jinavec_integrations.qdrant.connection import Connection
from jinavec_integrations.qdrant.convert import INNER, PointId, owner, point_id, to_payload, to_record
from jinavec_integrations.qdrant.errors import RequestTooLarge
from jinavec_integrations.qdrant.manifest import Manifest
from jinavec_integrations.qdrant.queries import readable, too_deep

_PAGE = 2048  # points in a request
_PAGE_OF_IDS = 10_000  # points in a request that asks for nothing but their ids
_PAUSES = 0.0, 0.2, 1.0  # seconds; the replica that answers may lag behind the one that acknowledged
_FLOAT = 22  # bytes of a number of a vector in JSON, at most

Found = list[tuple[str, Any]]
"""Ids of records, and their points."""


class Points:
    """The points of one collection, by the ids of their records."""

    def __init__(self, connection: Connection, manifest: Manifest, shard_keys: Collection[str | None]) -> None:
        """Take the shard keys that a record may be under; None for none."""
        self._connection = connection
        self._manifest = manifest
        self._shard_keys = shard_keys

    def over(self, connection: Connection) -> Points:
        """Return the same points, over another connection."""
        return Points(connection, self._manifest, self._shard_keys)

    def find(self, ids: Collection[str], payload: Any) -> Talk[Found]:
        """Return the points that exist, with a payload, some fields of it, or none.

        Raises:
            IndexDamaged: a point, whose payload is asked for, belongs to another record or to another tool.
        """
        records = {point: id for id in ids for point in self._ids(id)}
        wanted, size = list(records), self._connection.limits.ids(_PAGE if payload else _PAGE_OF_IDS)
        found: Found = []
        for start in range(0, len(wanted), size):
            page = wanted[start : start + size]
            points = yield from ask("retrieve", ids=page, with_payload=payload, with_vectors=False)
            found += [(records[point.id], point) for point in points]
        if payload:
            self._check_owners(found)
        return found

    def owned(self, ids: Collection[str]) -> Talk[Found]:
        """Return the points that exist with no more of the payload than the id in it.

        Raises:
            IndexDamaged: a point belongs to another record or to another tool.
        """
        return (yield from self.find(ids, [f"{INNER}.id"]))

    def read(self, ids: Collection[str]) -> Talk[dict[str, Record]]:
        """Return the records that exist, by id.

        Raises:
            IndexDamaged: a point cannot be read, or belongs to another record or to another tool.
        """
        found = yield from self.find(ids, readable())
        return {id: self.to_record(point) for id, point in found}

    def to_record(self, point: Any) -> Record:
        """Return the record of a point.

        Raises:
            IndexDamaged: it is none.
        """
        return to_record(point.id, point.payload, self._manifest.ids)

    def upsert(self, records: list[Record], vectors: Float32, size: int) -> Talk[dict[str, str]]:
        """Store records, searchable on return, in requests of at most so many points and of bearable length.

        Returns:
            Why, by id, of each that no request can hold.
        """
        payloads = [json.dumps(to_payload(record, self._manifest.layout)) for record in records]
        vector = _FLOAT * (self._manifest.contract.dimension + (self._manifest.matryoshka or 0))
        lengths = [vector + len(payload) for payload in payloads]
        refused: dict[str, str] = {}
        for part in _parts(lengths, self._connection.limits.points(size), self._connection.body):
            ids = [record.id for record in records[part]]
            refused |= yield from self._upsert(ids, payloads[part], vectors[part])
        return refused

    def _upsert(self, ids: list[str], payloads: list[str], vectors: Float32) -> Talk[dict[str, str]]:
        """Store points in one request, or in halves where the server takes less."""
        points = [self._ids(id)[0] for id in ids]
        undone = f"of these {len(ids)} records none or some were stored, running it again replaces them"
        try:
            yield from self._connection.upsert(points, self._named(vectors), payloads, undone)
        except RequestTooLarge as error:
            if len(ids) == 1:
                return {ids[0]: str(error)}
            half = len(ids) // 2
            first = yield from self._upsert(ids[:half], payloads[:half], vectors[:half])
            return first | (yield from self._upsert(ids[half:], payloads[half:], vectors[half:]))
        return {}

    def check_stored(self, ids: Collection[str]) -> None:
        """Look up whether a server has the points that it acknowledged.

        Raises:
            EngineError: it does not have all of it.
        """
        missing = list(ids)
        for pause in _PAUSES:
            time.sleep(pause)
            found = {id for id, _ in self._connection.run(self.find(missing, payload=False))}
            missing = [id for id in missing if id not in found]
            if not missing:
                return
        raise EngineError(
            f"{self._connection.location}: the server acknowledged {len(ids)} records, and {len(missing)} of them are"
            f" missing, such as {missing[0]!r}: it lost them, or another client deleted them; run the same command"
            " again to store what is missing"
        )

    def delete(self, ids: Collection[str]) -> Talk[int]:
        """Delete by record id, and return how many there were.

        Raises:
            IndexDamaged: a point belongs to another record or to another tool; nothing was changed.
        """
        models = require("qdrant_client.models", "qdrant")
        found = yield from self.owned(ids)
        points, size = [point.id for _, point in found], self._connection.limits.points(_PAGE)
        for start in range(0, len(points), size):
            selector = models.PointIdsList(points=points[start : start + size])
            yield from ask("delete", points_selector=selector, wait=True)
        return len({id for id, _ in found})

    def scroll(self, size: int, vectors: bool, match: Any | None, after: PointId | None) -> Iterator[Page]:
        """Yield the records that match in the order of their points' ids.

        A point keeps its id, so each comes once whatever is written meanwhile. A page begins behind the last id of the
        page before; Qdrant begins with the id that it is given, so that one is left out.
        """
        name = self._manifest.vector
        wanted = vectors and ([name] if name else True)
        limit = max(2, self._connection.limits.page(size + 1))
        while True:
            with too_deep():
                points, _ = self._connection.call(
                    "scroll",
                    limit=limit,
                    offset=after,
                    scroll_filter=match,
                    with_payload=readable(),
                    with_vectors=wanted,
                )
            page = [point for point in points if point.id != after][: limit - 1]
            if page:
                after = page[-1].id
                records = [self.to_record(point) for point in page]
                yield Page(records, str(after), self._vectors(page) if vectors else None)
            if len(points) < limit:
                return

    def count(self) -> Talk[int]:
        """Return how many points there are, exactly; by reading their ids where counting them is forbidden."""
        if self._connection.limits.search_allow_exact is not False:
            return int((yield from ask("count", exact=True)).count)
        total, after = 0, None
        while True:
            size = self._connection.limits.page(_PAGE_OF_IDS)
            points, after = yield from ask("scroll", limit=size, offset=after, with_payload=False)
            total += len(points)
            if after is None:
                return total

    def _vectors(self, points: list[Any]) -> Float32:
        name = self._manifest.vector
        rows = [point.vector.get(name) if name and point.vector else point.vector for point in points]
        without = [point.id for point, row in zip(points, rows, strict=True) if not row]
        if without:
            raise IndexDamaged(f"{self._connection.location}: the point {without[0]!r} has no vector")
        return normalize(np.array(rows, np.float32))

    def _named(self, vectors: Float32) -> dict[str, Float32]:
        """Return vectors by name; empty for the one without."""
        named = {self._manifest.vector: vectors}
        if self._manifest.matryoshka is not None:
            named[self._manifest.short] = narrow(vectors, self._manifest.matryoshka)
        return named

    def _check_owners(self, found: Found) -> None:
        for id, point in found:
            known = owner(point.payload)
            if known is None and self._manifest.ids == "native" and str(point.id) == id:
                continue  # written by the other tool, and a record as it is
            if known != id:
                holds = "was not written by jinavec" if known is None else f"holds record {known!r}"
                raise IndexDamaged(
                    f"{self._connection.location}: the point {point.id!r}, where record {id!r} belongs, {holds};"
                    " nothing was changed: delete that point, or give the record another id"
                )

    def _ids(self, id: str) -> list[PointId]:
        """Return the ids of the points that may be of a record: one for each shard key."""
        ids = (point_id(id, self._manifest.ids, key) for key in self._shard_keys)
        return list(dict.fromkeys(point for point in ids if point is not None))


def _parts(lengths: list[int], size: int, body: int) -> Iterator[slice]:
    """Yield slices of at most so many points and, unless one alone is longer, of at most ``body`` bytes."""
    start = total = 0
    for position, length in enumerate(lengths):
        if position > start and (position - start == size or total + length > body):
            yield slice(start, position)
            start, total = position, 0
        total += length
    if lengths:
        yield slice(start, len(lengths))
