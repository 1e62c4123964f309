"""QdrantOptions: how a collection is made, filled and searched."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from jinavec.errors import InvalidInput, brief

Preset = Literal["exact", "scalar", "binary", "binary_asymmetric", "turbo"]
"""Ways to quantize, each with its search parameters (see ``presets``)."""


@dataclass(frozen=True, kw_only=True)
class QdrantOptions:
    """Options of ``qdrant:`` targets.

    Those of the first group are decided when a collection is made; None leaves them to the default, or to what an
    existing collection has. Contradicting an existing collection is an error.

    Raises:
        InvalidInput: a value out of range.
    """

    preset: Preset | None = None
    """By default scalar."""
    matryoshka: int | None = None
    """Store a second vector of this many dimensions: it finds the candidates, the full one scores them."""
    range_fields: list[str] = field(default_factory=list[str])
    """Metadata fields with a payload index for ranges, created if missing; equality has one on all fields anyway."""
    hnsw_m: int | None = None
    """Links of a point in the HNSW graph."""
    hnsw_ef_construct: int | None = None
    """Candidates considered for the links of a new point."""
    shard_number: int | None = None
    replication_factor: int | None = None
    """Copies of each shard in a cluster."""
    write_consistency_factor: int | None = None
    """Copies that must acknowledge a write."""
    shard_key: str | None = None
    """In a cluster: shard the collection by keys; write to and search the shards of this one, created if missing."""

    adopt: bool = False
    """Adopt a collection of another tool: write the contract into its metadata, make its points findable."""

    recall: float = 0.95
    """The share of the exact best ten that a search aims at; decides oversampling and the width of the search."""
    batch_size: int = 256
    """Points in a request."""
    parallel: int = 2
    """Requests of an ingest under way at the same time."""
    retries: int = 5
    """Retries of a request after 429, 5xx or a lost connection."""
    timeout: int = 60
    """Seconds to wait for an answer."""

    def __post_init__(self) -> None:
        if self.preset is not None and self.preset not in get_args(Preset):
            raise InvalidInput(f"preset {brief(self.preset)} is none of: {', '.join(get_args(Preset))}")
        if isinstance(self.recall, bool) or not 0 < self.recall < 1:
            raise InvalidInput(f"recall must lie between 0 and 1, not {brief(self.recall)}")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < least):
                raise InvalidInput(f"{name} must be a whole number of at least {least}, not {brief(value)}")
        if self.shard_key is not None and (not isinstance(self.shard_key, str) or not self.shard_key):
            raise InvalidInput(f"shard_key must be a string, not {brief(self.shard_key)}")
        if not isinstance(self.range_fields, list) or not all(isinstance(name, str) for name in self.range_fields):
            raise InvalidInput(f"range_fields must be a list of names, not {brief(self.range_fields)}")


_LEAST = {
    "matryoshka": 1,
    "hnsw_m": 0,
    "hnsw_ef_construct": 4,
    "shard_number": 1,
    "replication_factor": 1,
    "write_consistency_factor": 1,
    "batch_size": 1,
    "parallel": 1,
    "retries": 0,
    "timeout": 1,
}
