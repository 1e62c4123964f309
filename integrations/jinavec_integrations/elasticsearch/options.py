"""ElasticsearchOptions: what a user may choose about an index."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from jinavec.errors import InvalidInput, brief
from jinavec_integrations.elasticsearch.names import Names

Storage = Literal[
    "bbq_hnsw", "bbq_flat", "bbq_disk", "int8_hnsw", "int4_hnsw", "hnsw", "flat", "bfloat16", "byte", "bit"
]
STORAGES: tuple[Storage, ...] = get_args(Storage)
Rescore = Literal["float", "bits"]


@dataclass(frozen=True, kw_only=True)
class ElasticsearchOptions:
    """How an index is stored, searched and reached.

    Storage, rescore, m, ef_construction, shards, replicas, analyzer and the names of fields are chosen when an index is
    created; an existing index keeps its own.

    Raises:
        InvalidInput: a value that cannot be used.

    Attributes:
        storage: How vectors are kept. ``bbq_hnsw``, ``bbq_flat``, ``bbq_disk`` (from 9.2 on, where the license covers
            it), ``int8_hnsw``, ``int4_hnsw``, ``hnsw`` and ``flat`` are Elasticsearch's own index types over float32;
            ``bfloat16`` halves the raw vectors; ``byte`` keeps int8 only; ``bit`` keeps packed sign bits. By default
            bbq_hnsw, or int8_hnsw below 384 dimensions.
        rescore: What orders the candidates of a ``bit`` search: ``float``, a float32 field next to the bits (the
            default), or ``bits``, the query's floats against the stored signs, with no floats stored.
        m: Neighbours of a node of the HNSW graph.
        ef_construction: Candidates looked at while the graph is built.
        shards: Primary shards; by default the server's choice.
        replicas: Copies of each shard; by default the server's choice.
        candidates: Candidates of a search, in each shard; by default 400, and of more than 100 hits four for each.
        oversample: Of quantized storage, how many times k are scored again by the raw vectors (``rescore_vector``); 1
            to 10.
        analyzer: Of the texts in searches by words: ``german``, ``english`` ..., or one of the index; by default the
            server's standard analyzer, which knows no language.
        text_field: The field of texts, by default ``text``; a dot leads into an object.
        vector_field: The field of vectors, by default ``vector``.
        metadata_field: The object that holds a field for each name in the metadata, by default ``metadata``.
        adopt: Take over an index of another tool, whose vectors are those of the contract that is given: write the
            contract into its ``_meta``, and add the fields that are missing.
        deadline: Seconds during which a request is sent again after 408, 429, 502 to 504 or a lost connection; 0: never
            again. Opening an index does not wait so long.
        client: An ``elasticsearch.Elasticsearch`` of one's own, for any way to connect that the client knows; it stays
            open.
        async_client: The ``elasticsearch.AsyncElasticsearch`` that belongs to it. Without it the async methods use
            ``client`` in worker threads; without either, a client of their own.
        headers: Headers of every request, such as those of a proxy.
        ca_certs: File of the certificates of a private authority; by default that of ELASTICSEARCH_CA_CERTS.
        client_cert: File of the certificate that shows who the client is.
        client_key: File of its key, where that is another one.
    """

    storage: Storage | None = None
    rescore: Rescore | None = None
    m: int = 16
    ef_construction: int = 100
    shards: int | None = None
    replicas: int | None = None
    candidates: int | None = None
    oversample: float | None = None
    analyzer: str | None = None
    text_field: str | None = None
    vector_field: str | None = None
    metadata_field: str | None = None
    adopt: bool = False

    deadline: float = 120.0
    client: object = field(default=None, repr=False, compare=False)
    async_client: object = field(default=None, repr=False, compare=False)
    headers: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    ca_certs: str | None = None
    client_cert: str | None = None
    client_key: str | None = None

    def __post_init__(self) -> None:
        if self.storage is not None and self.storage not in STORAGES:
            raise InvalidInput(f"unknown storage {brief(self.storage)}; known: {', '.join(STORAGES)}")
        if self.rescore is not None and self.rescore not in get_args(Rescore):
            raise InvalidInput(f"rescore is 'float' or 'bits', not {brief(self.rescore)}")
        if self.rescore is not None and self.storage != "bit":
            raise InvalidInput("rescore goes with storage 'bit'; other storages rescore by their raw vectors")
        if isinstance(self.deadline, bool) or not self.deadline >= 0:
            raise InvalidInput(f"deadline must be at least 0 seconds, not {brief(self.deadline)}")
        if self.client_key is not None and self.client_cert is None:
            raise InvalidInput("client_key needs a client_cert that it belongs to")
        self.names.check()
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise InvalidInput(f"{name} must lie between {low} and {high}, not {brief(value)}")

    @property
    def names(self) -> Names:
        """What the fields of a new index, or of an adopted one, are called."""
        default = Names()
        return Names(
            text=self.text_field or default.text,
            vector=self.vector_field or default.vector,
            metadata=self.metadata_field or default.metadata,
            prefix="jinavec_" if self.adopt else "",
        )


_RANGES = (
    ("m", 2, 512),
    ("ef_construction", 1, 3200),
    ("shards", 1, 1024),
    ("replicas", 0, 100),
    ("candidates", 1, 10_000),
    ("oversample", 1, 10),
)
