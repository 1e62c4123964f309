"""Qdrant's own Rust engine in this process (qdrant-edge-py), asked with the values of Qdrant's REST interface."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from jinavec import Record
from jinavec.vectors import Float32
from jinavec_integrations.qdrant.convert import to_payload
from jinavec_integrations.qdrant.filters import Layout

edge: Any = pytest.importorskip("qdrant_edge")

MANY = 500
"""Points from which on payload indexes are made."""
PointId = int | str
Values = dict[str, Any]


class EdgeCollection:
    """One shard, made as a request for a collection says; what concerns a cluster has no effect."""

    def __init__(self, folder: Path, made: Values) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        given = made["vectors"]
        hnsw: Values = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000} | (made.get("hnsw_config") or {})
        self._hnsw = hnsw
        config = edge.EdgeConfig(
            vectors=self._vector(given) if "size" in given else {name: self._vector(v) for name, v in given.items()},
            hnsw_config=edge.HnswIndexConfig(**hnsw),
            quantization_config=_quantization(made.get("quantization_config")),
            optimizers=edge.EdgeOptimizersConfig(indexing_threshold=1000, default_segment_number=1),
        )
        self.shard: Any = edge.EdgeShard.create(str(folder), config)
        self._arranged = True
        self._declared: list[tuple[str, str]] = []

    def upsert(self, points: Iterable[Values]) -> None:
        given = [edge.Point(point["id"], point["vector"], point.get("payload")) for point in points]
        self.shard.update(edge.UpdateOperation.upsert_points(given))
        self._arranged = False

    def delete(self, ids: Sequence[PointId]) -> None:
        self.shard.update(edge.UpdateOperation.delete_points(list(ids)))

    def set_payload(self, ids: Sequence[PointId], payload: Values) -> None:
        self.shard.update(edge.UpdateOperation.set_payload(list(ids), payload))

    def count(self, filter: Values | None = None) -> int:
        return int(self.shard.count(edge.CountRequest(exact=True, filter=filter and self._filter(filter))))

    def declare(self, field: str, kind: str) -> None:
        """Make a payload index once there are many points: it takes time, and answers the same."""
        self._declared.append((field, kind))

    def index(self, field: str, kind: str) -> None:
        self.shard.update(edge.UpdateOperation.create_field_index(field, _named("PayloadSchemaType", kind)))

    def retrieve(self, ids: Sequence[PointId], payload: Any, vector: Any) -> list[Values]:
        return [_found(point) for point in self.shard.retrieve(list(ids), _selector(payload), vector)]

    def scroll(self, given: Values) -> tuple[list[Values], PointId | None]:
        request = edge.ScrollRequest(
            limit=given.get("limit", 10),
            offset=given.get("offset"),
            filter=given.get("filter") and self._filter(given["filter"]),
            with_payload=_selector(given.get("with_payload", True)),
            with_vector=given.get("with_vector", False),
        )
        points, following = self.shard.scroll(request)
        return [_found(point) for point in points], following if following is None else _id(following)

    def query(self, requests: Sequence[Values]) -> list[list[Values]]:
        if not self._arranged:
            while self._declared and self.count() >= MANY:
                self.index(*self._declared.pop())
            self._arranged = not self.shard.optimize()  # as the optimizer of a server, when it had the time
        answers = self.shard.query_batch(
            edge.QueryBatchRequest([_query(self._resolved(request)) for request in requests])
        )
        return [[_found(hit) | {"score": hit.score, "version": hit.version} for hit in hits] for hits in answers]

    def passing(self, condition: Values, size: int) -> set[int]:
        """Return the ids of the points that pass a condition."""
        (hits,) = self.query([{"query": [1.0] * size, "limit": 10_000, "filter": {"must": [condition]}}])
        return {int(hit["id"]) for hit in hits}

    def _filter(self, given: Values) -> Any:
        return _filter(self._resolved(given))

    def _resolved(self, given: Any) -> Any:
        """Return a request with the points in place of what equals a boolean, which the engine's Python takes for 1."""
        if isinstance(given, list):
            return [self._resolved(part) for part in cast("list[Any]", given)]
        if not isinstance(given, dict):
            return given
        values = cast("Values", given)
        match = values.get("match")
        if isinstance(match, dict) and isinstance(wanted := cast("Values", match).get("value"), bool):
            return {"has_id": self._equal(values["key"].split("."), wanted)}
        return {name: self._resolved(part) for name, part in values.items()}

    def _equal(self, path: list[str], wanted: bool) -> list[PointId]:
        points, _ = self.scroll({"limit": self.count()})
        found: list[PointId] = []
        for point in points:
            value: Any = point["payload"]
            for step in path:
                value = cast("Values", value).get(step) if isinstance(value, dict) else None
            items = cast("list[Any]", value) if isinstance(value, list) else [value]
            if any(item is wanted for item in items):
                found.append(point["id"])
        return found

    def _vector(self, given: Values) -> Any:
        hnsw = given.get("hnsw_config")
        memory = given.get("memory")
        return edge.EdgeVectorParams(
            size=given["size"],
            distance=_named("Distance", given["distance"]),
            on_disk=given.get("on_disk"),
            memory=memory and _named("Memory", memory),
            hnsw_config=hnsw and edge.HnswIndexConfig(**self._hnsw | hnsw),
            quantization_config=_quantization(given.get("quantization_config")),
        )


def upsert(collection: EdgeCollection, records: Sequence[Record], vectors: Float32, layout: Layout) -> None:
    collection.upsert(
        {"id": number, "vector": vector, "payload": to_payload(record, layout)}
        for number, (record, vector) in enumerate(zip(records, vectors, strict=True))
    )


_CONFIGS = {
    "scalar": "ScalarQuantizationConfig",
    "binary": "BinaryQuantizationConfig",
    "turbo": "TurboQuantQuantizationConfig",
}
_ENUMS = {
    "type": "ScalarType",
    "encoding": "BinaryQuantizationEncoding",
    "query_encoding": "BinaryQuantizationQueryEncoding",
    "bits": "TurboQuantBitSize",
    "memory": "Memory",
}


def _quantization(given: Values | None) -> Any:
    if not given:
        return None
    ((kind, config),) = given.items()
    values = {name: _named(_ENUMS[name], value) if name in _ENUMS else value for name, value in config.items()}
    return getattr(edge, _CONFIGS[kind])(**values)


def _query(given: Values) -> Any:
    return edge.QueryRequest(
        limit=given["limit"],
        query=_nearest(given),
        prefetches=list(map(_prefetch, cast("list[Values]", given.get("prefetch") or []))),
        with_payload=_selector(given.get("with_payload", False)),
        filter=given.get("filter") and _filter(given["filter"]),
        params=_params(given.get("params")),
    )


def _prefetch(given: Values) -> Any:
    return edge.Prefetch(
        limit=given["limit"],
        query=_nearest(given),
        filter=given.get("filter") and _filter(given["filter"]),
        params=_params(given.get("params")),
    )


def _nearest(given: Values) -> Any:
    query: Any = given["query"]
    vector = cast("Values", query)["nearest"] if isinstance(query, dict) else query
    return edge.Query.Nearest(np.asarray(vector, np.float32), using=given.get("using"))


def _params(given: Values | None) -> Any:
    if given is None:
        return None
    inner = given.get("quantization")
    return edge.SearchParams(**given | {"quantization": inner and edge.QuantizationSearchParams(**inner)})


_LISTS = ("must", "should", "must_not")


def _filter(given: Values) -> Any:
    return edge.Filter(**{name: [_condition(part) for part in given[name]] for name in _LISTS if name in given})


def _condition(given: Values) -> Any:
    if "nested" in given:
        nested = cast("Values", given["nested"])
        return edge.NestedCondition(nested["key"], _filter(nested["filter"]))
    if "has_id" in given:
        return edge.HasIdCondition(set(given["has_id"]))
    if "match" in given:
        match = given["match"]
        found = edge.MatchAny(match["any"]) if "any" in match else edge.MatchValue(match["value"])
        return edge.FieldCondition(given["key"], match=found)
    if "range" in given:
        kind = edge.RangeDateTime if any(isinstance(b, str) for b in given["range"].values()) else edge.RangeFloat
        return edge.FieldCondition(given["key"], range=kind(**given["range"]))
    return _filter(given)


def _selector(given: Any) -> Any:
    if isinstance(given, dict):
        ((kind, keys),) = cast("Values", given).items()
        return getattr(edge.PayloadSelector, kind.capitalize())(keys)
    return given


def _found(point: Any) -> Values:
    return {"id": _id(point.id), "payload": point.payload, "vector": point.vector}


def _id(id: object) -> PointId:
    return id if isinstance(id, int) else str(id)


def _named(enum: str, value: str) -> Any:
    """Return a member of an enum by its REST name, which differs in case only."""
    members = cast("Values", vars(getattr(edge, enum)))
    return next(member for name, member in members.items() if name.lower() == value.lower())
