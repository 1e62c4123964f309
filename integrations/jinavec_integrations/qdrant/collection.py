"""The collection of an index: found, made, adopted; its contract is in its metadata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from jinavec.contract import Contract
from jinavec.encoder import Encoder
from jinavec.errors import (
    ContractMismatch,
    EngineError,
    IndexDamaged,
    IndexNotFound,
    InvalidDimension,
    InvalidInput,
    UnknownModel,
)
from jinavec.extras import require
from jinavec.models import find_model
from jinavec.settings import EncoderSettings
from jinavec_integrations.qdrant import convert, filters, presets
from jinavec_integrations.qdrant.connection import Connection
from jinavec_integrations.qdrant.convert import Ids
from jinavec_integrations.qdrant.options import Preset, QdrantOptions

KEY = "jinavec"
"""Of the collection's metadata."""
VERSION = 1
_DISTANCES = ("Cosine", "Dot")
"""The same for vectors of unit length; local mode gets the second: by the first its scores change when reopened."""
_CLUSTER = ("shard_number", "replication_factor", "write_consistency_factor")
_PAGE = 256


@dataclass(frozen=True)
class Manifest:
    """What is true of a whole collection."""

    contract: Contract
    settings: EncoderSettings | None
    preset: Preset
    matryoshka: int | None = None
    vector: str = ""
    """Name of the full vector; empty for the one without a name."""
    ids: Ids = "uuid5"

    def to_json(self) -> dict[str, Any]:
        """Return the metadata of the collection."""
        return {
            KEY: {
                "version": VERSION,
                "contract": self.contract.to_json(),
                "encoder": None if self.settings is None else self.settings.to_json(),
                "preset": self.preset,
                "matryoshka": self.matryoshka,
                "vector": self.vector,
                "ids": self.ids,
            }
        }

    @classmethod
    def from_json(cls, metadata: object, where: str) -> Manifest | None:
        """Read the metadata of a collection; None where it was not made by jinavec.

        Raises:
            IndexDamaged: it cannot be read.
            EngineError: it was written by a newer jinavec.
        """
        found = cast("dict[str, Any]", metadata).get(KEY) if isinstance(metadata, dict) else None
        if found is None:
            return None
        try:
            if found["version"] > VERSION:
                raise EngineError(f"{where} has format version {found['version']}; upgrade jinavec")
            settings = found["encoder"]
            return cls(
                contract=Contract.from_json(found["contract"]),
                settings=None if settings is None else EncoderSettings.from_json(settings),
                preset=QdrantOptions(preset=found["preset"]).preset or presets.DEFAULT,
                matryoshka=found["matryoshka"],
                vector=found["vector"],
                ids=found["ids"],
            )
        except (KeyError, TypeError, InvalidInput) as error:
            raise IndexDamaged(f"{where}: its metadata cannot be read: {error!r}") from error


def open_collection(
    connection: Connection, contract: Contract | None, encoder: Encoder | None, options: QdrantOptions
) -> Manifest:
    """Return what is true of a collection; create or adopt it where that was asked for.

    Raises:
        IndexNotFound: nothing is there, and no contract to create it.
        ContractMismatch: it has another contract.
        IndexDamaged: it was made by somebody else, or does not fit its contract.
    """
    info = _find(connection)
    if options.shard_key is not None and connection.local:
        raise InvalidInput(f"{connection.location} is local and has no shards; leave the option shard_key out")
    if info is None and contract is not None:
        info = _create(connection, contract, encoder, options)
    if info is None:
        raise IndexNotFound(f"there is no collection {connection.location}; create it with a contract or an encoder")
    where = str(connection.location)
    manifest = Manifest.from_json(info.config.metadata, where)
    if manifest is None:
        return _adopt(connection, info, contract, encoder, options)
    _check_vectors(info, manifest, where)
    if contract is not None:
        manifest.contract.check(contract, theirs="the contract" if encoder is None else "the encoder")
    _check_options(connection, info, manifest, options)
    if contract is not None:
        _make_shard(connection, info, options)
        _make_indexes(connection, options, set(info.payload_schema or {}))
    return manifest


def read_manifest(connection: Connection) -> Manifest:
    """Return what is true of a collection now.

    Raises:
        IndexNotFound: it was deleted.
        IndexDamaged: it is no longer of jinavec.
    """
    where = str(connection.location)
    manifest = Manifest.from_json(connection.call("get_collection").config.metadata, where)
    if manifest is None:
        raise IndexDamaged(f"{where} has no contract any more: somebody else made it anew; open it again")
    return manifest


def write_manifest(connection: Connection, manifest: Manifest) -> None:
    """Put a manifest into the metadata of a collection, in place of the one there."""
    connection.call("update_collection", metadata=manifest.to_json())


def _find(connection: Connection) -> Any | None:
    try:
        return connection.call("get_collection", retry=False)
    except IndexNotFound:
        return None


def _create(connection: Connection, contract: Contract, encoder: Encoder | None, options: QdrantOptions) -> Any:
    version, preset = connection.version, options.preset or presets.DEFAULT
    presets.check_version(preset, version)
    _check_short(contract, options.matryoshka)
    manifest = Manifest(
        contract,
        None if encoder is None else encoder.settings,
        preset,
        options.matryoshka,
        vector="" if options.matryoshka is None else presets.FULL,
    )
    models = require("qdrant_client.models", "qdrant")
    distance = "Dot" if connection.local else "Cosine"
    params = presets.vectors(contract.dimension, options, version, distance=distance)
    named = options.matryoshka is not None
    try:
        connection.call(
            "create_collection",
            undone="no collection was made",
            vectors_config={name: models.VectorParams(**values) for name, values in params.items()}
            if named
            else models.VectorParams(**params),
            hnsw_config=models.HnswConfigDiff(m=options.hnsw_m, ef_construct=options.hnsw_ef_construct),
            sharding_method=None if options.shard_key is None else models.ShardingMethod.CUSTOM,
            **{name: getattr(options, name) for name in _CLUSTER},
            on_disk_payload=True,
            metadata=manifest.to_json(),
        )
    except (EngineError, InvalidInput):
        info = _find(connection)
        if info is None:
            raise
        return info  # somebody else was quicker
    try:
        _make_shard(connection, connection.call("get_collection"), options)
        _make_indexes(connection, options, set())
    except BaseException:
        if not connection.call("get_collection").points_count:  # somebody else may have found and filled it by now
            connection.call("delete_collection")  # nothing half-made is left
        raise
    return connection.call("get_collection")


def _check_options(connection: Connection, info: Any, manifest: Manifest, options: QdrantOptions) -> None:
    """Refuse options that contradict a collection.

    Raises:
        InvalidInput: an option that was given, and what the collection has.
    """
    has = {"preset": manifest.preset, "matryoshka": manifest.matryoshka}
    if not connection.local:  # which has neither a graph nor shards
        graph, params = info.config.hnsw_config, info.config.params
        has |= {"hnsw_m": graph.m, "hnsw_ef_construct": graph.ef_construct}
        has |= {name: getattr(params, name) for name in _CLUSTER}
    for name, value in has.items():
        if (asked := getattr(options, name)) not in (None, value):
            raise InvalidInput(
                f"{connection.location} was made with {name}={value}, not {asked}; leave the option out, or make"
                " another collection"
            )


def _make_shard(connection: Connection, info: Any, options: QdrantOptions) -> None:
    """Make the shards of a key, if it is a new one.

    Raises:
        InvalidInput: the collection is not sharded by keys.
    """
    if options.shard_key is None:
        return
    method = info.config.params.sharding_method
    if str(getattr(method, "value", method)) != "custom":
        raise InvalidInput(f"{connection.location} is not sharded by keys; leave the option shard_key out")
    cluster = connection.call("http.distributed_api.collection_cluster_info").result  # the client has it later only
    if options.shard_key not in {shard.shard_key for shard in (*cluster.local_shards, *cluster.remote_shards)}:
        connection.call("create_shard_key", shard_key=options.shard_key)


def _make_indexes(connection: Connection, options: QdrantOptions, present: set[str]) -> None:
    """Make the payload indexes that are missing; before the upload, so that the graph is built with them."""
    if connection.local:
        return
    models = require("qdrant_client.models", "qdrant")
    wanted = {filters.TERMS: models.KeywordIndexParams(type="keyword", on_disk=True)}
    for name in options.range_fields:
        for kind in ("number", "string"):
            wanted[filters.order_key(name, kind)] = models.FloatIndexParams(type="float", on_disk=True)
    for field, schema in wanted.items():
        if field not in present:
            connection.call("create_payload_index", field_name=field, field_schema=schema, wait=True)


def _check_short(contract: Contract, short: int | None) -> None:
    if short is None:
        return
    if short >= contract.dimension:
        raise InvalidDimension(f"matryoshka={short} is not shorter than the {contract.dimension} of the contract")
    try:
        find_model(contract.model).check_dimension(short)
    except UnknownModel:
        return  # of a model outside the catalogue, the user knows


def _dense(info: Any) -> dict[str, Any]:
    """Return the vectors of a collection by name."""
    found: Any = info.config.params.vectors or {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {"": found}


def _check_vectors(info: Any, manifest: Manifest, where: str) -> None:
    wanted = {manifest.vector: manifest.contract.dimension}
    if manifest.matryoshka is not None:
        wanted[presets.SHORT] = manifest.matryoshka
    vectors = _dense(info)
    for name, size in wanted.items():
        problem = _problem(vectors.get(name), size, _DISTANCES)
        if problem:
            raise IndexDamaged(f"{where} does not fit its contract: the vector {name!r} {problem}")


def _problem(params: Any, size: int, distances: tuple[str, ...] = ("Cosine",)) -> str:
    if params is None:
        return "is missing"
    if params.multivector_config is not None:
        return "is a multivector"
    if (distance := str(getattr(params.distance, "value", params.distance))) not in distances:
        return f"is compared by {distance}, not by cosine"
    return f"has size {params.size}, not {size}" if params.size != size else ""


def _adopt(
    connection: Connection, info: Any, contract: Contract | None, encoder: Encoder | None, options: QdrantOptions
) -> Manifest:
    where = str(connection.location)
    fitting = None if contract is None else _fitting(info, contract, where)
    if contract is None or fitting is None or not options.adopt:
        raise IndexDamaged(
            f"{where} was not made by jinavec: its metadata has no contract; if its vectors were made under yours, take"
            " it over with the contract and the option adopt=true"
        )
    settings = None if encoder is None else encoder.settings
    manifest = Manifest(contract, settings, _preset_of(info, fitting), vector=fitting, ids="native")
    presets.check_version(manifest.preset, connection.version)
    _check_options(connection, info, manifest, options)
    _make_indexes(connection, options, set(info.payload_schema or {}))
    _adopt_points(connection, options.shard_key)
    write_manifest(connection, manifest)  # last: before it, an adoption that was interrupted can be repeated
    return manifest


def _fitting(info: Any, contract: Contract, where: str) -> str:
    """Return the name of the one vector that fits a contract.

    Raises:
        ContractMismatch: none does, or several do; the message goes through them.
    """
    problems = {name: _problem(params, contract.dimension) for name, params in _dense(info).items()}
    fitting = [name for name, problem in problems.items() if not problem]
    if len(fitting) != 1:
        found = "; ".join(f"the vector {name!r} {problem or 'fits'}" for name, problem in problems.items())
        raise ContractMismatch(f"{where} needs one vector that fits the contract: {found or 'it has no dense vector'}")
    return fitting[0]


def _preset_of(info: Any, vector: str) -> Preset:
    """Return the preset whose search parameters fit the quantisation of a collection of somebody else."""
    found = _dense(info)[vector].quantization_config or info.config.quantization_config
    if hasattr(found, "binary"):
        encoding = str(getattr(found.binary.query_encoding, "value", found.binary.query_encoding))
        return "binary_asymmetric" if encoding.startswith("scalar") else "binary"
    return "turbo" if hasattr(found, "turbo") else "scalar"


def _adopt_points(connection: Connection, shard_key: str | None) -> None:
    """Give each point of somebody else what filters find; its text, metadata and vectors stay as they are."""
    models = require("qdrant_client.models", "qdrant")
    offset = None
    while True:
        points, offset = connection.call("scroll", limit=_PAGE, offset=offset, with_payload=True)
        operations = [
            models.SetPayloadOperation(
                set_payload=models.SetPayload(
                    payload={convert.INNER: convert.to_inner(str(p.id), convert.foreign_metadata(p.payload or {}))},
                    points=[p.id],
                    shard_key=shard_key,
                )
            )
            for p in points
        ]
        if operations:
            connection.call("batch_update_points", update_operations=operations, wait=True)
        if offset is None:
            return
