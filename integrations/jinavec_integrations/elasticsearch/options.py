"""ElasticsearchOptions: what a user may choose about an index."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from jinavec.errors import InvalidInput, brief

Storage = Literal["bbq_hnsw", "bbq_flat", "int8_hnsw", "int4_hnsw", "hnsw", "flat", "bfloat16", "byte", "bit"]
STORAGES: tuple[Storage, ...] = get_args(Storage)
Rescore = Literal["float", "bits"]


@dataclass(frozen=True, kw_only=True)
class ElasticsearchOptions:
    """How an index is stored, searched and reached.

    Storage, rescore, m, ef_construction, shards and replicas are chosen when an index is created; an existing
    index keeps its own.

    Raises:
        InvalidInput: a value that cannot be used.
    """

    storage: Storage | None = None
    """How vectors are kept. ``bbq_hnsw``, ``bbq_flat``, ``int8_hnsw``, ``int4_hnsw``, ``hnsw`` and ``flat`` are
    Elasticsearch's own index types over float32; ``bfloat16`` halves the raw vectors; ``byte`` keeps int8 only; ``bit``
    keeps packed sign bits. By default bbq_hnsw, or int8_hnsw below 64 dimensions."""
    rescore: Rescore | None = None
    """What orders the candidates of a ``bit`` search: ``float``, a float32 field next to the bits (the default), or
    ``bits``, the query's floats against the stored signs, with no floats stored."""
    m: int = 16
    """Neighbours of a node of the HNSW graph."""
    ef_construction: int = 100
    """Candidates looked at while the graph is built."""
    shards: int | None = None
    """Primary shards; by default the server's choice."""
    replicas: int | None = None
    """Copies of each shard; by default the server's choice."""
    candidates: int | None = None
    """Candidates of a search, in each shard; by default as many as the storage needs."""
    oversample: float | None = None
    """Of quantized storage, how many times k are scored again by the raw vectors (``rescore_vector``); 1 to 10."""
    client: object = field(default=None, repr=False, compare=False)
    """An ``elasticsearch.Elasticsearch`` of one's own, for any way to connect that the client knows."""

    def __post_init__(self) -> None:
        if self.storage is not None and self.storage not in STORAGES:
            raise InvalidInput(f"unknown storage {brief(self.storage)}; known: {', '.join(STORAGES)}")
        if self.rescore is not None and self.rescore not in get_args(Rescore):
            raise InvalidInput(f"rescore is 'float' or 'bits', not {brief(self.rescore)}")
        if self.rescore is not None and self.storage != "bit":
            raise InvalidInput("rescore goes with storage 'bit'; other storages rescore by their raw vectors")
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise InvalidInput(f"{name} must lie between {low} and {high}, not {brief(value)}")


_RANGES = (
    ("m", 2, 512),
    ("ef_construction", 1, 3200),
    ("shards", 1, 1024),
    ("replicas", 0, 100),
    ("candidates", 1, 10_000),
    ("oversample", 1, 10),
)
