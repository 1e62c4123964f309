"""Qdrant's own Rust engine in this process (qdrant-edge-py): what our filters and presets do there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from jinavec import Record
from jinavec.vectors import Float32
from jinavec_integrations.qdrant.convert import to_payload

qdrant_edge: Any = pytest.importorskip("qdrant_edge")

_LISTS = ("must", "should", "must_not")


def make(folder: Path, vectors: Any, **config: Any) -> Any:
    """Make a shard; vectors are EdgeVectorParams, or those by name."""
    folder.mkdir(parents=True, exist_ok=True)
    return qdrant_edge.EdgeShard.create(str(folder), qdrant_edge.EdgeConfig(vectors=vectors, **config))


def cosine(size: int, **params: Any) -> Any:
    return qdrant_edge.EdgeVectorParams(size=size, distance=qdrant_edge.Distance.Cosine, **params)


def upsert(shard: Any, records: Sequence[Record], vectors: Float32) -> None:
    points = [
        qdrant_edge.Point(number, vector, to_payload(record))
        for number, (record, vector) in enumerate(zip(records, vectors, strict=True))
    ]
    shard.update(qdrant_edge.UpdateOperation.upsert_points(points))


def passing(shard: Any, condition: dict[str, Any], size: int) -> set[int]:
    """Return the ids of the points that pass a filter of ours."""
    request = qdrant_edge.QueryRequest(
        limit=10_000, query=qdrant_edge.Query.Nearest(np.ones(size, np.float32)), filter=_filter({"must": [condition]})
    )
    return {point.id for point in shard.query(request)}


def _filter(given: dict[str, Any]) -> Any:
    return qdrant_edge.Filter(**{name: [_condition(part) for part in given[name]] for name in _LISTS if name in given})


def _condition(given: dict[str, Any]) -> Any:
    if "nested" in given:
        nested = cast("dict[str, Any]", given["nested"])
        return qdrant_edge.NestedCondition(nested["key"], _filter(nested["filter"]))
    if "has_id" in given:
        return qdrant_edge.HasIdCondition(set(given["has_id"]))
    if "match" in given:
        return qdrant_edge.FieldCondition(given["key"], match=qdrant_edge.MatchAny(given["match"]["any"]))
    if "range" in given:
        return qdrant_edge.FieldCondition(given["key"], range=qdrant_edge.RangeFloat(**given["range"]))
    return _filter(given)
