"""Adoption: a collection that another tool created becomes an index, with its points as they are."""

from __future__ import annotations

from typing import Any

from jinavec.contract import Contract
from jinavec.encoder import Encoder
from jinavec.errors import ContractMismatch, IndexDamaged
from jinavec.extras import require
from jinavec_integrations.qdrant import convert, presets
from jinavec_integrations.qdrant.connection import Connection
from jinavec_integrations.qdrant.filters import Layout
from jinavec_integrations.qdrant.manifest import Manifest, write_manifest
from jinavec_integrations.qdrant.options import Preset, QdrantOptions
from jinavec_integrations.qdrant.schema import check_options, create_payload_indexes, dense_vectors, vector_problem

_PAGE = 256


def adopt(
    connection: Connection, info: Any, contract: Contract | None, encoder: Encoder | None, options: QdrantOptions
) -> Manifest:
    """Write a manifest and make the points of a collection findable.

    Raises:
        IndexDamaged: the option adopt was not given, or no contract.
        ContractMismatch: no vector fits the contract, or several do.
    """
    vector = None if contract is None else _find_vector(info, contract, str(connection.location))
    if contract is None or vector is None or not options.adopt:
        raise IndexDamaged(
            f"{connection.location} was not made by jinavec: its metadata has no contract; if its vectors were made"
            " under yours, open it with the contract and the option adopt=true"
        )
    settings = None if encoder is None else encoder.settings
    manifest = Manifest(contract, settings, _find_preset(info, vector), vector=vector, ids="native")
    presets.check_version(manifest.preset, connection.version)
    check_options(connection, info, manifest, options)
    create_payload_indexes(connection, manifest.layout, present=set(info.payload_schema or {}))
    adopt_points(connection, manifest.layout, options.shard_key)
    write_manifest(connection, manifest)  # last, so that an adoption that was interrupted can be repeated
    return manifest


def _find_vector(info: Any, contract: Contract, where: str) -> str:
    """Return the name of the one vector that fits a contract.

    Raises:
        ContractMismatch: none does, or several do; the message lists them.
    """
    problems = {name: vector_problem(params, contract.dimension) for name, params in dense_vectors(info).items()}
    fitting = [name for name, problem in problems.items() if not problem]
    if len(fitting) != 1:
        found = "; ".join(f"the vector {name!r} {problem or 'fits'}" for name, problem in problems.items())
        raise ContractMismatch(f"{where} needs one vector that fits the contract: {found or 'it has no dense vector'}")
    return fitting[0]


def _find_preset(info: Any, vector: str) -> Preset:
    """Return the preset whose search parameters fit the quantization of a vector."""
    found = dense_vectors(info)[vector].quantization_config or info.config.quantization_config
    kinds = dict(found or {})
    if "binary" in kinds:
        encoding = kinds["binary"].query_encoding or ""
        return "binary_asymmetric" if encoding.startswith("scalar") else "binary"
    return "turbo" if "turbo" in kinds else "scalar"


def _inner(point: Any, layout: Layout) -> dict[str, Any]:
    return convert.to_inner(str(point.id), convert.foreign_metadata(point.payload or {}), layout)


def adopt_points(connection: Connection, layout: Layout, shard_key: str | None) -> None:
    """Give each point what filters and ids need; its text, metadata and vectors stay as they are."""
    models = require("qdrant_client.models", "qdrant")
    offset = None
    while True:
        points, offset = connection.call(
            "scroll", limit=connection.limits.page(_PAGE), offset=offset, with_payload=True
        )
        operations = [
            models.SetPayloadOperation(
                set_payload=models.SetPayload(
                    payload={convert.INNER: _inner(point, layout)}, points=[point.id], shard_key=shard_key
                )
            )
            for point in points
            if convert.owner(point.payload) is None
        ]
        if operations:
            connection.call("batch_update_points", update_operations=operations, wait=True)
        if offset is None:
            return
