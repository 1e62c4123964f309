"""The schema of a collection: its vectors, cluster settings and payload indexes, compared with what is expected."""

from __future__ import annotations

from typing import Any, cast

from jinavec.errors import IndexDamaged, InvalidInput
from jinavec.extras import require
from jinavec.options import plain
from jinavec_integrations.qdrant import filters
from jinavec_integrations.qdrant.connection import Connection
from jinavec_integrations.qdrant.manifest import Manifest
from jinavec_integrations.qdrant.options import QdrantOptions

CLUSTER = ("shard_number", "replication_factor", "write_consistency_factor")
"""Options that are parameters of a collection."""
_DISTANCES = ("Cosine", "Dot")
"""The same for vectors of unit length; local mode gets the second, because its cosine scores change on reopening."""


def dense_vectors(info: Any) -> dict[str, Any]:
    """Return the parameters of the vectors of a collection by name."""
    found: Any = info.config.params.vectors or {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {"": found}


def vector_problem(params: Any, size: int, distances: tuple[str, ...] = ("Cosine",)) -> str:
    """Return what keeps a vector from being compared by cosine at a size; empty if nothing does."""
    if params is None:
        return "is missing"
    if params.multivector_config is not None:
        return "is a multivector"
    if params.distance not in distances:
        return f"is compared by {params.distance.value}, not by cosine"
    return f"has size {params.size}, not {size}" if params.size != size else ""


def check_vectors(info: Any, manifest: Manifest, where: str) -> None:
    """Compare the vectors of a collection with its manifest.

    Raises:
        IndexDamaged: they do not fit.
    """
    sizes = {manifest.vector: manifest.contract.dimension}
    if manifest.matryoshka is not None:
        sizes[manifest.short] = manifest.matryoshka
    vectors = dense_vectors(info)
    for name, size in sizes.items():
        if problem := vector_problem(vectors.get(name), size, _DISTANCES):
            raise IndexDamaged(f"{where} does not fit its contract: the vector {name!r} {problem}")


def check_options(connection: Connection, info: Any, manifest: Manifest, options: QdrantOptions) -> None:
    """Compare options with an existing collection.

    Raises:
        InvalidInput: an option was given and the collection has another value.
    """
    layout = manifest.layout
    actual: dict[str, object] = {"preset": manifest.preset, "matryoshka": manifest.matryoshka}
    actual |= {"payload_indexes": dict(layout.fields) or None, "tenant_field": layout.tenant or None}
    if not connection.local:  # local mode has neither a graph nor shards
        graph, params = info.config.hnsw_config, dict(info.config.params)
        actual |= {"hnsw_m": graph.m, "hnsw_ef_construct": graph.ef_construct}
        actual |= {name: params[name] for name in CLUSTER}
    fields = options.layout.fields
    given = plain(options) | {"payload_indexes": dict(fields) or None}
    for name, value in actual.items():
        if given[name] not in (None, value):
            raise InvalidInput(
                f"{connection.location} was made with {name}={value}, not {given[name]}; leave the option out, or"
                " create another collection"
            )


def create_payload_indexes(connection: Connection, layout: filters.Layout, present: set[str]) -> None:
    """Create the payload indexes that are missing; before the upload, so that the graph is built with them."""
    if connection.local:
        return
    models = require("qdrant_client.models", "qdrant")
    for key, given in filters.payload_indexes(layout).items():
        if key not in present:
            schema = getattr(models, f"{given['type'].capitalize()}IndexParams")(**given)
            connection.call("create_payload_index", field_name=key, field_schema=schema, wait=True)
