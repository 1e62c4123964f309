"""Points: records stored and read by id."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from jinavec.errors import EngineError, IndexDamaged
from jinavec.extras import require
from jinavec.records import Page, Record
from jinavec.vectors import Float32, narrow, normalize
from jinavec_integrations.qdrant import presets
from jinavec_integrations.qdrant.connection import Connection
from jinavec_integrations.qdrant.convert import INNER, PointId, owner, point_id, to_payload, to_record
from jinavec_integrations.qdrant.manifest import Manifest
from jinavec_integrations.qdrant.queries import too_deep

_PAGE = 2048  # points in a request
_PAGE_OF_IDS = 10_000  # points in a request that asks for nothing but their ids
_PAUSES = 0.0, 0.2, 1.0  # seconds; the replica that answers may lag behind the one that acknowledged


class Points:
    """The points of one collection, by the ids of their records."""

    def __init__(self, connection: Connection, manifest: Manifest) -> None:
        self._connection = connection
        self._manifest = manifest

    def find(self, ids: Collection[str], payload: bool | list[str]) -> dict[str, Any]:
        """Return the points that exist, by record id, with a payload, some fields of it, or none.

        Raises:
            IndexDamaged: a point, whose payload is asked for, belongs to another record or to another tool.
        """
        records = {point: id for id in ids if (point := self._id(id)) is not None}
        wanted, size = list(records), _PAGE if payload else _PAGE_OF_IDS
        found: dict[str, Any] = {}
        for start in range(0, len(wanted), size):
            page = wanted[start : start + size]
            points = self._connection.call("retrieve", ids=page, with_payload=payload, with_vectors=False)
            found |= {records[point.id]: point for point in points}
        if payload:
            self._check_owners(found)
        return found

    def owned(self, ids: Collection[str]) -> dict[str, Any]:
        """Return the points that exist, by record id, with no more of the payload than the id in it.

        Raises:
            IndexDamaged: a point belongs to another record or to another tool.
        """
        return self.find(ids, [f"{INNER}.id"])

    def read(self, ids: Collection[str]) -> dict[str, Record]:
        """Return the records that exist, by id.

        Raises:
            IndexDamaged: a point cannot be read, or belongs to another record or to another tool.
        """
        return {id: to_record(point.id, point.payload) for id, point in self.find(ids, True).items()}

    def upsert(self, records: list[Record], vectors: Float32) -> None:
        """Store records in one request; searchable on return."""
        models = require("qdrant_client.models", "qdrant")
        self._connection.call(
            "upsert",
            undone=f"of these {len(records)} records none or some were stored, running it again replaces them",
            points=models.Batch(
                ids=[self._id(record.id) for record in records],
                vectors=self._named(vectors),
                payloads=[to_payload(record) for record in records],
            ),
            wait=True,
        )

    def check_stored(self, ids: Collection[str]) -> None:
        """Read back what a server acknowledged.

        Raises:
            EngineError: it does not have all of it.
        """
        missing = list(ids)
        for pause in _PAUSES:
            time.sleep(pause)
            found = self.find(missing, payload=False)
            missing = [id for id in missing if id not in found]
            if not missing:
                return
        raise EngineError(
            f"{self._connection.location}: the server acknowledged {len(ids)} records, and {len(missing)} of them are"
            f" missing, such as {missing[0]!r}: it lost them, or another client deleted them; run the same command"
            " again to store what is missing"
        )

    def delete(self, ids: Collection[str]) -> int:
        """Delete by record id, and return how many there were.

        Raises:
            IndexDamaged: a point belongs to another record or to another tool; nothing was changed.
        """
        models = require("qdrant_client.models", "qdrant")
        found = [point.id for point in self.owned(ids).values()]
        for start in range(0, len(found), _PAGE):
            selector = models.PointIdsList(points=found[start : start + _PAGE])
            self._connection.call("delete", points_selector=selector, wait=True)
        return len(found)

    def scroll(self, size: int, vectors: bool, match: Any | None, after: PointId | None) -> Iterator[Page]:
        """Yield the records that match in the order of their points' ids.

        A point keeps its id, so each comes once whatever is written meanwhile. A page begins behind the last id of the
        page before; Qdrant begins with the id that it is given, so that one is left out.
        """
        name = self._manifest.vector
        wanted = vectors and ([name] if name else True)
        while True:
            with too_deep():
                points, _ = self._connection.call(
                    "scroll", limit=size + 1, offset=after, scroll_filter=match, with_payload=True, with_vectors=wanted
                )
            page = [point for point in points if point.id != after][:size]
            if page:
                after = page[-1].id
                records = [to_record(point.id, point.payload) for point in page]
                yield Page(records, str(after), self._vectors(page) if vectors else None)
            if len(points) <= size:
                return

    def _vectors(self, points: list[Any]) -> Float32:
        name = self._manifest.vector
        rows = [point.vector.get(name) if name and point.vector else point.vector for point in points]
        without = [point.id for point, row in zip(points, rows, strict=True) if not row]
        if without:
            raise IndexDamaged(f"{self._connection.location}: the point {without[0]!r} has no vector")
        return normalize(np.array(rows, np.float32))

    def _named(self, vectors: Float32) -> Any:
        """Return vectors by name if the collection has names."""
        if not self._manifest.vector:
            return vectors.tolist()
        named = {self._manifest.vector: vectors.tolist()}
        if self._manifest.matryoshka is not None:
            named[presets.SHORT] = narrow(vectors, self._manifest.matryoshka).tolist()
        return named

    def _check_owners(self, found: Mapping[str, Any]) -> None:
        for id, point in found.items():
            if (known := owner(point.payload)) != id:
                holds = "was not written by jinavec" if known is None else f"holds record {known!r}"
                raise IndexDamaged(
                    f"{self._connection.location}: the point {point.id!r}, where record {id!r} belongs, {holds};"
                    " nothing was changed: delete that point, or give the record another id"
                )

    def _id(self, id: str) -> PointId | None:
        return point_id(id, self._manifest.ids)
