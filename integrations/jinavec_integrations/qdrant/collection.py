"""The collection of an index: opened, created, or adopted."""

from __future__ import annotations

from typing import Any

from jinavec.contract import Contract
from jinavec.encoder import Encoder
from jinavec.errors import HOW_TO_CREATE, EngineError, IndexNotFound, InvalidDimension, InvalidInput, UnknownModel, warn
from jinavec.extras import require
from jinavec.models import find_model
from jinavec.options import plain
from jinavec_integrations.qdrant import presets
from jinavec_integrations.qdrant.adoption import adopt, adopt_points
from jinavec_integrations.qdrant.connection import Connection
from jinavec_integrations.qdrant.errors import NotAllowed
from jinavec_integrations.qdrant.limits import Limits
from jinavec_integrations.qdrant.manifest import Manifest, vector_name
from jinavec_integrations.qdrant.options import QdrantOptions
from jinavec_integrations.qdrant.schema import CLUSTER, check_options, check_vectors, create_payload_indexes


def open_collection(
    connection: Connection, contract: Contract | None, encoder: Encoder | None, options: QdrantOptions
) -> tuple[Manifest, bool]:
    """Return the manifest of a collection, and whether this call created the collection.

    Raises:
        IndexNotFound: there is no collection, and no contract to create it with.
        ContractMismatch: it has another contract.
        IndexDamaged: it was not created by jinavec, or does not fit its contract.
    """
    if options.shard_key is not None and connection.local:
        raise InvalidInput(f"{connection.location} is local and has no shards; leave the option shard_key out")
    info = _find(connection)
    if info is None and contract is not None:
        manifest = _manifest(contract, encoder, options)
        created = _create(connection, manifest, options)
        info = _find(connection)
        if created and info is not None:
            connection.limits = Limits.of(info)
            return manifest, True
    if info is None:
        raise IndexNotFound(f"there is no collection {connection.location}; {HOW_TO_CREATE}")
    connection.limits = Limits.of(info)
    found = Manifest.from_json(info.config.metadata, str(connection.location))
    if found is None:
        return adopt(connection, info, contract, encoder, options), False
    check_vectors(info, found, str(connection.location))
    if contract is not None:
        found.contract.check(contract, theirs="the contract" if encoder is None else "the encoder")
    check_options(connection, info, found, options)
    if options.adopt and found.ids == "native":
        adopt_points(connection, found.layout, options.shard_key)
    if contract is not None:
        try:
            _create_missing(connection, info, found, options)
        except NotAllowed as error:
            warn(f"what the collection lacks cannot be made: {error}")
    return found, False


def shard_keys(connection: Connection, manifest: Manifest, options: QdrantOptions) -> list[str | None]:
    """Return the shard keys that are part of the ids of points; None for ids without."""
    if connection.local or manifest.layout.version == 1 or manifest.ids == "native":
        return [None]
    if options.shard_key is not None:
        return [options.shard_key]
    info = _find(connection)
    if info is None or info.config.params.sharding_method != "custom":
        return [None]
    return [*sorted(map(str, _present_keys(connection)))] or [None]


def _find(connection: Connection) -> Any | None:
    try:
        return connection.call("get_collection", retry=False)
    except IndexNotFound:
        return None


def _manifest(contract: Contract, encoder: Encoder | None, options: QdrantOptions) -> Manifest:
    """Return the manifest of a new collection."""
    _check_short(contract, options.matryoshka)
    return Manifest(
        contract,
        None if encoder is None else encoder.settings,
        options.preset or presets.DEFAULT,
        options.matryoshka,
        vector=vector_name(contract),
        layout=options.layout,
    )


def _create(connection: Connection, manifest: Manifest, options: QdrantOptions) -> bool:
    """Create a collection with its shards and payload indexes, or leave nothing; return False if it exists by now."""
    presets.check_version(manifest.preset, connection.version)
    models = require("qdrant_client.models", "qdrant")
    distance = "Dot" if connection.local else "Cosine"
    full, short = presets.vectors(manifest.contract.dimension, options, connection.version, distance=distance)
    params = {manifest.vector: full} if short is None else {manifest.vector: full, manifest.short: short}
    given = plain(options)
    try:
        connection.call(
            "create_collection",
            undone="no collection was created",
            vectors_config={name: models.VectorParams(**values) for name, values in params.items()},
            hnsw_config=models.HnswConfigDiff(m=options.hnsw_m, ef_construct=options.hnsw_ef_construct),
            sharding_method=None if options.shard_key is None else models.ShardingMethod.CUSTOM,
            **{name: given[name] for name in CLUSTER},
            on_disk_payload=True,
            metadata=manifest.to_json(),
        )
    except EngineError:
        if _find(connection) is None:
            raise
        return False  # lost the race: created concurrently
    try:
        if options.shard_key is not None:
            connection.call("create_shard_key", shard_key=options.shard_key)
        create_payload_indexes(connection, manifest.layout, present=set())
    except BaseException:
        if not connection.call("get_collection").points_count:  # another client may have found and filled it by now
            connection.call("delete_collection")
        raise
    return True


def _create_missing(connection: Connection, info: Any, manifest: Manifest, options: QdrantOptions) -> None:
    """Create the shards of a new key, and payload indexes that are missing.

    Raises:
        InvalidInput: a shard key is given, and the collection is not sharded by keys.
    """
    if options.shard_key is not None:
        if info.config.params.sharding_method != "custom":
            raise InvalidInput(f"{connection.location} is not sharded by keys; leave the option shard_key out")
        if options.shard_key not in _present_keys(connection):
            connection.call("create_shard_key", shard_key=options.shard_key)
    create_payload_indexes(connection, manifest.layout, present=set(info.payload_schema or {}))


def _present_keys(connection: Connection) -> set[Any]:
    # the client itself can ask this in later versions only
    shards = connection.call("http.distributed_api.collection_cluster_info").result
    return {shard.shard_key for shard in (*shards.local_shards, *shards.remote_shards)} - {None}


def _check_short(contract: Contract, short: int | None) -> None:
    if short is None:
        return
    if short >= contract.dimension:
        raise InvalidDimension(f"matryoshka={short} is not shorter than the {contract.dimension} of the contract")
    try:
        find_model(contract.model).check_dimension(short)
    except UnknownModel:
        return  # only the user knows what a model outside the catalogue can do
