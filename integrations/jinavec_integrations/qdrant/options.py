"""QdrantOptions: how a collection is made, filled and searched."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from jinavec.errors import InvalidInput, brief
from jinavec_integrations.qdrant.fields import FieldType, check_names
from jinavec_integrations.qdrant.filters import Layout

Preset = Literal["exact", "scalar", "binary", "binary_asymmetric", "turbo"]
"""Ways to quantize, each with its search parameters (see ``presets``)."""


@dataclass(frozen=True, kw_only=True)
class QdrantOptions:
    """Options of ``qdrant:`` targets.

    Those of the first group are decided when a collection is made; None leaves them to the default, or to what an
    existing collection has. Contradicting an existing collection is an error.

    Raises:
        InvalidInput: a value out of range.

    Attributes:
        preset: How vectors are quantized, and searched to make up for it; by default scalar.
        matryoshka: Store a second vector of this many dimensions: it finds the candidates, the full one scores them.
        payload_indexes: Types of metadata fields that other tools filter on, too, by name: keyword, integer, float,
            bool or datetime. Each gets a payload index at ``metadata.NAME``; a record whose value is of another type is
            refused.
        tenant_field: The metadata field, a keyword, that tells tenants apart: Qdrant keeps the points of each together.
        hnsw_m: Links of a point in the HNSW graph.
        hnsw_ef_construct: Candidates considered for the links of a new point.
        shard_number: Shards of a new collection; by default the server's choice.
        replication_factor: Copies of each shard in a cluster.
        write_consistency_factor: Copies that must acknowledge a write.
        shard_key: In a cluster: shard the collection by keys; write to and search the shards of this one, created if
            missing.
        adopt: Adopt a collection of another tool: write the contract into its metadata, make its points findable.
        recall: The share of the exact best ten that a search aims at; decides oversampling and the width of the search,
            by what was measured on vectors of about this width (see ``presets``), of synthetic and real text. Yours may
            differ.
        batch_size: Points in a request.
        parallel: Requests of an ingest under way at the same time.
        timeout: Seconds to wait for an answer.
        deadline: Seconds during which a request is sent again after 408, 429, 5xx or a lost connection; 0: never again.
        client: A ``QdrantClient`` of one's own, for any way to connect that the client knows; it stays open. Its
            address counts, and that of the target is a name.
        headers: Headers of every request, such as those of a proxy.
        ca_certs: File of the certificates of a private authority.
        client_cert: File of the certificate that shows who the client is.
        client_key: File of its key, where that is another one.
        prefer_grpc: Whether points travel by gRPC, at a fifth of the bytes.
        grpc_port: The server's port for gRPC.
    """

    preset: Preset | None = None
    matryoshka: int | None = None
    payload_indexes: dict[str, FieldType] = field(default_factory=dict[str, FieldType])
    tenant_field: str | None = None
    hnsw_m: int | None = None
    hnsw_ef_construct: int | None = None
    shard_number: int | None = None
    replication_factor: int | None = None
    write_consistency_factor: int | None = None
    shard_key: str | None = None

    adopt: bool = False

    recall: float = 0.95
    batch_size: int = 256
    parallel: int = 2
    timeout: int = 60
    deadline: float = 120.0

    client: object = field(default=None, repr=False, compare=False)
    headers: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    ca_certs: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    prefer_grpc: bool = False
    grpc_port: int = 6334

    def __post_init__(self) -> None:
        if self.preset is not None and self.preset not in get_args(Preset):
            raise InvalidInput(f"preset {brief(self.preset)} is none of: {', '.join(get_args(Preset))}")
        if isinstance(self.recall, bool) or not 0 < self.recall < 1:
            raise InvalidInput(f"recall must lie between 0 and 1, not {brief(self.recall)}")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < least):
                raise InvalidInput(f"{name} must be a whole number of at least {least}, not {brief(value)}")
        if isinstance(self.deadline, bool) or not self.deadline >= 0:
            raise InvalidInput(f"deadline must be at least 0 seconds, not {brief(self.deadline)}")
        if self.shard_key is not None and (not isinstance(self.shard_key, str) or not self.shard_key):
            raise InvalidInput(f"shard_key must be a string, not {brief(self.shard_key)}")
        if self.client_key is not None and self.client_cert is None:
            raise InvalidInput("client_key needs a client_cert that it belongs to")
        self._check_fields()

    @property
    def layout(self) -> Layout:
        """Where a new collection keeps what filters find."""
        tenant: dict[str, FieldType] = {self.tenant_field: "keyword"} if self.tenant_field else {}
        return Layout(self.payload_indexes | tenant, self.tenant_field or "")

    def _check_fields(self) -> None:
        if not isinstance(self.payload_indexes, dict):
            raise InvalidInput(f"payload_indexes must be types by field, not {brief(self.payload_indexes)}")
        check_names("payload_indexes", self.payload_indexes)
        check_names("tenant_field", [] if self.tenant_field is None else [self.tenant_field])
        for name, kind in self.payload_indexes.items():
            if kind not in get_args(FieldType):
                raise InvalidInput(f"payload_indexes: {brief(kind)} of {name!r} is none of: {_TYPES}")
        if self.payload_indexes.get(self.tenant_field or "", "keyword") != "keyword":
            raise InvalidInput(f"tenant_field: {self.tenant_field!r} must be a keyword")


_TYPES = ", ".join(get_args(FieldType))
_LEAST = {
    "matryoshka": 1,
    "hnsw_m": 0,
    "hnsw_ef_construct": 4,
    "shard_number": 1,
    "replication_factor": 1,
    "write_consistency_factor": 1,
    "batch_size": 1,
    "parallel": 1,
    "timeout": 1,
    "grpc_port": 1,
}
