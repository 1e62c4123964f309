"""The index's mapping, for every storage; and what its ``_meta`` says: contract, encoder, storage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from jinavec.contract import Contract
from jinavec.errors import EngineError, IndexDamaged, InvalidInput
from jinavec.settings import EncoderSettings
from jinavec_integrations.elasticsearch.fields import Field, Fields, read_fields
from jinavec_integrations.elasticsearch.filters import Places
from jinavec_integrations.elasticsearch.names import Names
from jinavec_integrations.elasticsearch.options import STORAGES, ElasticsearchOptions, Rescore, Storage

VECTOR = "vector"
VERSION = 2
"""Of the format. In version 1, that of 0.1, metadata is one object that is not indexed, and filters find terms."""
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
_DISK: Version = (9, 2)
_WIDE = 384
"""Dimensions from which on sign bits, rescored, keep the default's promise (benchmarks/README.md)."""

OVERSAMPLE: Mapping[Storage, float] = {
    "bbq_hnsw": 10.0,
    "bbq_flat": 10.0,
    "bbq_disk": 10.0,
    "bfloat16": 10.0,
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
    names: Names = Names()
    typed: bool = True
    """Whether metadata have fields of the server's types; in indexes of 0.1 they have none."""
    analyzer: str | None = None
    similarity: str = "cosine"
    """That of an adopted index may be dot_product, which is the same for vectors of unit length."""
    adopted: bool = False
    """Whether another tool made the index."""

    @classmethod
    def from_json(cls, content: Mapping[str, Any], version: int) -> Layout:
        """Read a layout of any version of the format."""
        if version < 2:
            return cls(**content, typed=False)
        values: dict[str, Any] = {**content, "names": Names(**content["names"])}
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Return the layout as JSON, that of an index of 0.1 as 0.1 wrote it."""
        content: dict[str, Any] = {**vars(self), "names": dict(vars(self.names))}
        if not self.typed:
            return {name: content[name] for name in ("storage", "rescore", "m", "ef_construction")}
        return content

    @classmethod
    def choose(cls, options: ElasticsearchOptions, dimension: int, version: Version) -> Layout:
        """Return the layout that options ask for, defaults filled in.

        Raises:
            InvalidInput: the storage does not go with the dimension, or the server does not have it.
        """
        storage = options.storage or ("int8_hnsw" if dimension < _WIDE or version < _BBQ else "bbq_hnsw")
        rescore = (options.rescore or "float") if storage == "bit" else None
        layout = cls(
            storage=storage,
            rescore=rescore,
            m=options.m,
            ef_construction=options.ef_construction,
            names=options.names,
            analyzer=options.analyzer,
        )
        layout.check(dimension, version)
        return layout

    @classmethod
    def adopt(cls, where: str, vectors: Mapping[str, Any], options: ElasticsearchOptions, dimension: int) -> Layout:
        """Return the layout of an index that another tool made.

        Args:
            where: index and server, for messages.
            vectors: the mapping of its field of vectors.
            options: name its fields.
            dimension: of the contract.

        Raises:
            InvalidInput: the field does not hold vectors of the contract, or no search finds them.
        """
        name = options.names.vector
        kind, element = vectors.get("type"), vectors.get("element_type", "float")
        similarity, dims = vectors.get("similarity", "cosine"), vectors.get("dims")
        problem = ""
        if kind != "dense_vector":
            problem = f"is of type {kind!r}, not dense_vector; name another as vector_field="
        elif dims != dimension:
            problem = f"has {dims} dimensions, the contract {dimension}"
        elif vectors.get("index") is False:
            problem = "is not indexed, so that no search finds its vectors"
        elif similarity not in ("cosine", "dot_product") or element not in ("float", "bfloat16", "byte"):
            problem = f"compares {element} by {similarity}; this engine needs float, bfloat16 or byte by cosine"
        if problem:
            raise InvalidInput(f"{where}: the field {name!r} {problem}")
        graph = cast("dict[str, Any]", vectors.get("index_options") or {})
        known = graph.get("type") if graph.get("type") in STORAGES else "flat"
        storage = cast("Storage", element if element in ("bfloat16", "byte") else known)
        return cls(storage=storage, names=options.names, similarity=similarity, adopted=True)

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
        elif self.storage == "bbq_disk" and version < _DISK:
            problem = f"needs Elasticsearch 9.2 or later, not {'.'.join(map(str, version))}; take bbq_hnsw"
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
            bits = {self.names.bits: _dense(dimension, "bit", "l2_norm", {"type": "hnsw", **graph})}
            floats = {self.names.vector: _dense(dimension, "float", "cosine", {"type": "flat"})}
            return {**bits, **floats} if self.float_field else bits
        if self.storage == "byte":
            return {self.names.vector: _dense(dimension, "byte", self.similarity, {"type": "hnsw", **graph})}
        element, kind = ("float", str(self.storage))
        if self.storage == "bfloat16":
            element, kind = "bfloat16", "bbq_hnsw" if dimension >= 64 else "int8_hnsw"
        index: dict[str, Any] = {"type": kind}
        if kind.endswith("hnsw"):
            index |= graph
        if (oversample := OVERSAMPLE.get(self.storage)) is not None:
            index["rescore_vector"] = {"oversample": oversample}
        return {self.names.vector: _dense(dimension, element, self.similarity, index)}

    @property
    def float_field(self) -> bool:
        """Whether float vectors are stored."""
        return self.storage != "byte" and self.rescore != "bits"

    @property
    def stored_field(self) -> str:
        """The field with the most exact form of a vector."""
        return self.names.bits if self.rescore == "bits" else self.names.vector

    def check_options(self, options: ElasticsearchOptions, where: str) -> None:
        """Refuse options that an existing index contradicts.

        Raises:
            InvalidInput: another storage or rescoring than that of the index.
        """
        for name, wanted, kept in (
            ("storage", options.storage, self.storage),
            ("rescore", options.rescore, self.rescore),
            ("analyzer", options.analyzer, self.analyzer),
            ("text_field", options.text_field, self.names.text),
            ("vector_field", options.vector_field, self.names.vector),
            ("metadata_field", options.metadata_field, self.names.metadata),
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
    fields: Fields = field(default_factory=dict[str, Field], compare=False)
    """Of metadata, which grow as records come."""

    @property
    def places(self) -> Places:
        """Where the index keeps what filters find."""
        return Places(self.layout.names.terms, self.fields)

    def to_json(self) -> dict[str, Any]:
        """Return the ``_meta`` of a mapping."""
        content = {
            "version": VERSION if self.layout.typed else 1,
            "contract": self.contract.sealed(),
            "encoder": None if self.settings is None else self.settings.to_json(),
            "layout": self.layout.to_json(),
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
            raise EngineError(
                f"the index {index} exists, but was not made by jinavec (no contract); take another name, or if its"
                " vectors are those of the contract that you give, adopt it: the option adopt, with text_field,"
                " vector_field and metadata_field"
            )
        try:
            version = content["version"]
            if version > VERSION:
                raise EngineError(f"the index {index} has format version {version}, this jinavec reads up to {VERSION}")
            settings = content["encoder"]
            layout = Layout.from_json(content["layout"], version)
            return cls(
                contract=Contract.from_json(content["contract"]),
                layout=layout,
                fields=fields_of(mapping, layout),
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
        for name, wanted in self.properties().items():
            found = find_property(mapping, name)
            for key in ("type", "dims", "element_type", "similarity"):
                if found.get(key, _FIELD_DEFAULTS.get(key)) != wanted.get(key, _FIELD_DEFAULTS.get(key)):
                    raise EngineError(
                        f"the mapping of the index {index} was changed: {key} of the field {name!r} is"
                        f" {found.get(key)!r}, not {wanted.get(key)!r}; create a new index and ingest again"
                    )

    def with_settings(self, settings: EncoderSettings) -> Meta:
        """Return the same with other encoder settings."""
        return replace(self, settings=settings)

    def properties(self) -> dict[str, Any]:
        """Return the fields of the index, by their names; of an adopted one, those that this class depends on."""
        layout, names = self.layout, self.layout.names
        own: dict[str, Any] = {
            names.id: {"type": "keyword", "index": False, "doc_values": False},
            names.terms: {"type": "keyword", "doc_values": False},
        }
        if layout.typed:
            own[names.original] = _OPAQUE
        vectors = layout.fields(self.contract.dimension)
        if layout.adopted:
            return {**own, **vectors}
        return {
            **own,
            **vectors,
            names.text: {"type": "text"} | ({"analyzer": layout.analyzer} if layout.analyzer else {}),
            names.metadata: {"type": "object", "dynamic": False, "subobjects": False} if layout.typed else _OPAQUE,
        }

    def mapping(self) -> dict[str, Any]:
        """Return the mapping of a new index."""
        return {"dynamic": False, "_meta": self.to_json(), "properties": nested(self.properties())}


_OPAQUE = {"type": "object", "enabled": False}


def nested(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return properties by names with dots as those of the objects that the dots lead into."""
    result: dict[str, Any] = {}
    for name, value in properties.items():
        *steps, last = name.split(".")
        inner = result
        for step in steps:
            inner = inner.setdefault(step, {}).setdefault("properties", {})
        inner[last] = value
    return result


def find_property(mapping: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return what a mapping says of a field; empty where there is none."""
    found = mapping
    for step in name.split("."):
        found = cast("Mapping[str, Any]", found.get("properties", {})).get(step, {})
    return found


def fields_of(mapping: Mapping[str, Any], layout: Layout) -> dict[str, Field]:
    """Return the fields of metadata that filters can use."""
    if not layout.typed:
        return {}
    there = find_property(mapping, layout.names.metadata)
    return read_fields(layout.names.metadata, cast("Mapping[str, Any]", there.get("properties", {})))


def has_meta(mapping: Mapping[str, Any]) -> bool:
    """Return whether jinavec made an index, or adopted it."""
    return _META in cast("dict[str, Any]", mapping.get("_meta") or {})


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
