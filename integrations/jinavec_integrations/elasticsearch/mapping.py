"""The index's mapping, for every storage; and what its ``_meta`` says: contract, encoder, storage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from jinavec.contract import Contract
from jinavec.errors import EngineError, IndexDamaged, InvalidInput
from jinavec.settings import EncoderSettings
from jinavec_integrations.elasticsearch.filters import FIELD as FILTER
from jinavec_integrations.elasticsearch.options import ElasticsearchOptions, Rescore, Storage

VECTOR, BITS, TEXT, METADATA, ID = "vector", "bits", "text", "metadata", "id"
VERSION = 1
_META = "jinavec"
CONTRACT = "jinavec_contract"
"""In the ``_meta`` of an index that is not the engine's: its contract alone."""

_FIELD_DEFAULTS = {"type": "object", "element_type": "float", "similarity": "cosine"}
"""What a server may leave out of a mapping that it shows."""

Version = tuple[int, int]
"""Major and minor version of a server."""
BASE64: Version = (9, 3)
"""From here on vectors may be sent as base64, and bfloat16 exists."""
_BBQ: Version = (8, 18)

OVERSAMPLE: Mapping[Storage, float] = {
    "bbq_hnsw": 3.0,
    "bbq_flat": 3.0,
    "bfloat16": 3.0,
    "int4_hnsw": 2.0,
    "int8_hnsw": 2.0,
}
"""How many times k are scored again by the raw vectors, where the storage is quantized."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How one index keeps vectors; everything that is fixed when it is created."""

    storage: Storage
    rescore: Rescore | None = None
    m: int = 16
    ef_construction: int = 100

    @classmethod
    def choose(cls, options: ElasticsearchOptions, dimension: int, version: Version) -> Layout:
        """Return the layout that options ask for, defaults filled in.

        Raises:
            InvalidInput: the storage does not go with the dimension, or the server does not have it.
        """
        storage = options.storage or ("int8_hnsw" if dimension < 64 or version < _BBQ else "bbq_hnsw")
        rescore = (options.rescore or "float") if storage == "bit" else None
        layout = cls(storage=storage, rescore=rescore, m=options.m, ef_construction=options.ef_construction)
        layout.check(dimension, version)
        return layout

    def check(self, dimension: int, version: Version) -> None:
        """Refuse a layout that the server would refuse.

        Raises:
            InvalidInput: names the storages that work.
        """
        problem = ""
        if self.storage.startswith("bbq") and dimension < 64:
            problem = f"needs at least 64 dimensions, not {dimension}; take int8_hnsw"
        elif self.storage == "int4_hnsw" and dimension % 2:
            problem = f"needs an even dimension, not {dimension}; take int8_hnsw"
        elif self.storage == "bit" and dimension % 8:
            problem = f"needs a multiple of 8 dimensions, not {dimension}; take int8_hnsw"
        elif self.storage == "bfloat16" and version < BASE64:
            problem = f"needs Elasticsearch 9.3 or later, not {'.'.join(map(str, version))}; take bbq_hnsw"
        elif dimension > 4096:
            problem = f"takes at most 4096 dimensions, not {dimension}"
        if problem:
            raise InvalidInput(f"storage {self.storage} {problem}")

    def fields(self, dimension: int) -> dict[str, Any]:
        """Return the dense_vector fields, their index options always explicit: defaults change with the version."""
        graph = {"m": self.m, "ef_construction": self.ef_construction}
        if self.storage == "bit":
            bits = {BITS: _dense(dimension, "bit", "l2_norm", {"type": "hnsw", **graph})}
            return (
                {**bits, VECTOR: _dense(dimension, "float", "cosine", {"type": "flat"})} if self.float_field else bits
            )
        if self.storage == "byte":
            return {VECTOR: _dense(dimension, "byte", "cosine", {"type": "hnsw", **graph})}
        element, kind = ("float", str(self.storage))
        if self.storage == "bfloat16":
            element, kind = "bfloat16", "bbq_hnsw" if dimension >= 64 else "int8_hnsw"
        index: dict[str, Any] = {"type": kind}
        if kind.endswith("hnsw"):
            index |= graph
        if (oversample := OVERSAMPLE.get(self.storage)) is not None:
            index["rescore_vector"] = {"oversample": oversample}
        return {VECTOR: _dense(dimension, element, "cosine", index)}

    @property
    def float_field(self) -> bool:
        """Whether float vectors are stored."""
        return self.storage != "byte" and self.rescore != "bits"

    @property
    def stored_field(self) -> str:
        """The field with the most exact form of a vector."""
        return BITS if self.rescore == "bits" else VECTOR

    def check_options(self, options: ElasticsearchOptions, where: str) -> None:
        """Refuse options that an existing index contradicts.

        Raises:
            InvalidInput: another storage or rescoring than that of the index.
        """
        for name, wanted, kept in (
            ("storage", options.storage, self.storage),
            ("rescore", options.rescore, self.rescore),
        ):
            if wanted not in (None, kept):
                raise InvalidInput(
                    f"{where}: the index has {name} {kept!r}, not {wanted!r}; it is chosen when an index is created"
                )


def _dense(dimension: int, element: str, similarity: str, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "dense_vector",
        "dims": dimension,
        "element_type": element,
        "index": True,
        "similarity": similarity,
        "index_options": options,
    }


@dataclass(frozen=True, kw_only=True)
class Meta:
    """What is true of a whole index; kept in the mapping's ``_meta``."""

    contract: Contract
    layout: Layout
    settings: EncoderSettings | None = None
    """How the vectors were encoded, where known; without credentials."""
    others: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What other programs keep in the same ``_meta``."""

    def to_json(self) -> dict[str, Any]:
        """Return the ``_meta`` of a mapping."""
        content = {
            "version": VERSION,
            "contract": self.contract.sealed(),
            "encoder": None if self.settings is None else self.settings.to_json(),
            "layout": dict(vars(self.layout)),
        }
        return {**self.others, _META: content}

    @classmethod
    def read(cls, index: str, mapping: Mapping[str, Any]) -> Meta:
        """Read the mapping of an index.

        Raises:
            EngineError: the index was not made by jinavec, or by a newer one.
            IndexDamaged: what jinavec wrote there cannot be read.
        """
        others = dict(cast("dict[str, Any]", mapping.get("_meta") or {}))
        content: Any = others.pop(_META, None)
        if content is None:
            raise EngineError(f"the index {index} exists, but was not made by jinavec (no contract); take another name")
        try:
            version = content["version"]
            if version > VERSION:
                raise EngineError(f"the index {index} has format version {version}, this jinavec reads up to {VERSION}")
            settings = content["encoder"]
            return cls(
                contract=Contract.from_json(content["contract"]),
                layout=Layout(**cast("dict[str, Any]", content["layout"])),
                settings=None if settings is None else EncoderSettings.from_json(settings),
                others=others,
            )
        except (KeyError, TypeError, InvalidInput) as error:
            raise IndexDamaged(f"the contract of the index {index} cannot be read: {error}") from error

    def check_fields(self, index: str, mapping: Mapping[str, Any]) -> None:
        """Refuse a mapping whose fields are not those of the layout: servers store some wrong vectors without a word.

        Raises:
            EngineError: names a field that differs.
        """
        there = cast("dict[str, Any]", mapping.get("properties", {}))
        for name, wanted in cast("dict[str, Any]", self.mapping()["properties"]).items():
            found = cast("dict[str, Any]", there.get(name, {}))
            for key in ("type", "dims", "element_type", "similarity"):
                if found.get(key, _FIELD_DEFAULTS.get(key)) != wanted.get(key, _FIELD_DEFAULTS.get(key)):
                    raise EngineError(
                        f"the mapping of the index {index} was changed: {key} of the field {name!r} is"
                        f" {found.get(key)!r}, not {wanted.get(key)!r}; create a new index and ingest again"
                    )

    def with_settings(self, settings: EncoderSettings) -> Meta:
        """Return the same with other encoder settings."""
        return replace(self, settings=settings)

    def mapping(self) -> dict[str, Any]:
        """Return the mapping of a new index."""
        return {
            "dynamic": False,
            "_meta": self.to_json(),
            "properties": {
                ID: {"type": "keyword", "index": False, "doc_values": False},
                TEXT: {"type": "text"},
                METADATA: {"type": "object", "enabled": False},
                FILTER: {"type": "keyword", "doc_values": False},
                **self.layout.fields(self.contract.dimension),
            },
        }


def contract_of(mapping: Mapping[str, Any]) -> Contract | None:
    """Return the contract in the ``_meta`` of a mapping, the engine's or another program's; None if it has none.

    Raises:
        IndexDamaged: it cannot be read.
    """
    meta = cast("dict[str, Any]", mapping.get("_meta") or {})
    content = meta.get(CONTRACT) or cast("dict[str, Any]", meta.get(_META) or {}).get("contract")
    try:
        return None if content is None else Contract.from_json(content)
    except InvalidInput as error:
        raise IndexDamaged(f"the contract of the index cannot be read: {error}") from error


def settings_of(options: ElasticsearchOptions) -> dict[str, Any]:
    """Return the settings of a new index; what was not chosen is left to the server."""
    wanted = {"number_of_shards": options.shards, "number_of_replicas": options.replicas}
    return {name: value for name, value in wanted.items() if value is not None}
