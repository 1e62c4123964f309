"""The manifest of a collection: its contract and how it was made, in the collection's own metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast, get_args

from jinavec.contract import Contract
from jinavec.errors import EngineError, IndexDamaged, InvalidInput, brief
from jinavec.settings import EncoderSettings
from jinavec_integrations.qdrant import presets
from jinavec_integrations.qdrant.calls import Talk, ask
from jinavec_integrations.qdrant.connection import Connection
from jinavec_integrations.qdrant.convert import Ids
from jinavec_integrations.qdrant.filters import Layout
from jinavec_integrations.qdrant.limits import Limits
from jinavec_integrations.qdrant.options import Preset, QdrantOptions

KEY = "jinavec"
"""Of the collection's metadata."""
VERSION = 2
"""Version 1, which had neither declared fields nor a digest in the names of vectors, is read and kept as it is."""
_FIELDS = ("version", "contract", "encoder", "preset", "matryoshka", "vector", "ids")


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
    layout: Layout = field(default_factory=Layout)

    @property
    def short(self) -> str:
        """Name of the short vector of a Matryoshka collection."""
        return "short" if self.layout.version == 1 else f"{self.vector}-short"

    def to_json(self) -> dict[str, Any]:
        """Return the metadata of the collection."""
        declared = {"fields": dict(self.layout.fields), "tenant": self.layout.tenant}
        return {
            KEY: {
                "version": self.layout.version,
                "contract": self.contract.sealed(),
                "encoder": None if self.settings is None else self.settings.to_json(),
                "preset": self.preset,
                "matryoshka": self.matryoshka,
                "vector": self.vector,
                "ids": self.ids,
                **(declared if self.layout.version > 1 else {}),
            }
        }

    @classmethod
    def from_json(cls, metadata: object, where: str) -> Manifest | None:
        """Read the metadata of a collection; None if jinavec did not create the collection.

        Raises:
            IndexDamaged: the metadata cannot be read.
            EngineError: a newer jinavec wrote it.
        """
        found = cast("dict[str, Any]", metadata).get(KEY) if isinstance(metadata, dict) else None
        if found is None:
            return None
        try:
            return cls._read(found, where)
        except InvalidInput as error:
            raise IndexDamaged(f"{where}: its metadata cannot be read: {error}") from error

    @classmethod
    def _read(cls, found: object, where: str) -> Manifest:
        values = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
        version = values.get("version", 0)
        if isinstance(version, int) and version > VERSION:
            raise EngineError(f"{where} has format version {version}; upgrade jinavec")
        if missing := [name for name in _FIELDS if name not in values]:
            raise InvalidInput(f"missing: {', '.join(missing)}")
        settings, vector, ids = values["encoder"], values["vector"], values["ids"]
        if not isinstance(vector, str) or ids not in get_args(Ids):
            raise InvalidInput(f"vector {brief(vector)}, ids {brief(ids)}")
        return cls(
            contract=Contract.from_json(values["contract"]),
            settings=None if settings is None else EncoderSettings.from_json(settings),
            preset=QdrantOptions(preset=values["preset"]).preset or presets.DEFAULT,
            matryoshka=QdrantOptions(matryoshka=values["matryoshka"]).matryoshka,
            vector=vector,
            ids=ids,
            layout=_read_layout(values, version),
        )


def vector_name(contract: Contract) -> str:
    """Return the name of the vector of new collections: a server that has another contract's refuses it by itself."""
    return f"jinavec-{contract.digest}"


def _read_layout(values: Mapping[str, Any], version: object) -> Layout:
    if version == 1:
        return Layout(version=1)
    options = QdrantOptions(payload_indexes=values.get("fields", {}), tenant_field=values.get("tenant") or None)
    return Layout(options.payload_indexes, options.tenant_field or "")


def read_manifest(connection: Connection) -> Talk[Manifest]:
    """Return the manifest of a collection as it is now, and note its limits.

    Raises:
        IndexNotFound: the collection was deleted.
        IndexDamaged: it has no manifest any longer.
    """
    where = str(connection.location)
    info = yield from ask("get_collection")
    connection.limits = Limits.of(info)
    manifest = Manifest.from_json(info.config.metadata, where)
    if manifest is None:
        raise IndexDamaged(f"{where} was recreated by another client and has no contract; reopen the index")
    return manifest


def write_manifest(connection: Connection, manifest: Manifest) -> None:
    """Replace the manifest of a collection."""
    connection.call("update_collection", metadata=manifest.to_json())
