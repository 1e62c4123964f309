"""The index on the server: its mapping read and checked, created, and told which encoder filled it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinavec.contract import Contract
from jinavec.errors import EngineError, InvalidInput
from jinavec.extras import require
from jinavec.records import Record
from jinavec_integrations.elasticsearch.calls import Call, Steps
from jinavec_integrations.elasticsearch.connect import Place
from jinavec_integrations.elasticsearch.fields import Fields, new_types, read_fields
from jinavec_integrations.elasticsearch.mapping import (
    Layout,
    Meta,
    fields_of,
    find_property,
    has_meta,
    nested,
    settings_of,
)
from jinavec_integrations.elasticsearch.options import ElasticsearchOptions


def read_mapping(place: Place) -> Steps[Mapping[str, Any]]:
    """Return the mapping of an index.

    Raises:
        IndexNotFound: no such index.
        EngineError: several stand behind an alias.
    """
    mappings = yield Call("indices.get_mapping", {"index": place.index})
    if len(mappings) != 1:
        raise EngineError(f"{place}: the name stands for {len(mappings)} indices; name one of them")
    (found,) = mappings.values()
    return found["mappings"]


def read_meta(place: Place) -> Steps[Meta]:
    """Read what the mapping says of the index.

    Raises:
        IndexNotFound: no such index.
        EngineError: not an index of jinavec, one whose fields were changed, or several behind an alias.
        IndexDamaged: what jinavec wrote there cannot be read.
    """
    mapping = yield from read_mapping(place)
    meta = Meta.read(str(place), mapping)
    meta.check_fields(str(place), mapping)
    return meta


def create_index(place: Place, meta: Meta, options: ElasticsearchOptions) -> Steps[bool]:
    """Create an index; return False where another client was first."""
    library = require("elasticsearch", "elasticsearch")
    asked = {"index": place.index, "mappings": meta.mapping(), "settings": settings_of(options)}
    try:
        yield Call("indices.create", asked)
    except library.BadRequestError as error:
        if error.message != "resource_already_exists_exception":
            raise
        return False
    return True


def adopt_index(place: Place, contract: Contract | None, options: ElasticsearchOptions) -> Steps[Meta]:
    """Write a contract into an index of another tool, and add the fields that are missing.

    Raises:
        InvalidInput: its fields are not those that the options name, or there is no contract to write.
    """
    mapping = yield from read_mapping(place)
    if has_meta(mapping):
        return (yield from read_meta(place))
    if contract is None:
        raise InvalidInput(f"{place}: to adopt an index, give the contract, or the encoder, of its vectors")
    found = find_property(mapping, options.names.vector)
    layout = Layout.adopt(str(place), found, options, contract.dimension)
    if find_property(mapping, options.names.text).get("type") not in ("text", "match_only_text", "semantic_text"):
        raise InvalidInput(f"{place}: {options.names.text!r} is no text field of the index; name it as text_field=")
    meta = Meta(contract=contract, layout=layout, others=dict(mapping.get("_meta") or {}))
    wanted = {**meta.properties(), options.names.metadata: {"type": "object"}}
    missing = {name: mapped for name, mapped in wanted.items() if not find_property(mapping, name)}
    yield Call("indices.put_mapping", {"index": place.index, "properties": nested(missing), "meta": meta.to_json()})
    return (yield from read_meta(place))


def write_meta(place: Place, meta: Meta) -> Steps[None]:
    """Replace the ``_meta`` of the mapping."""
    yield Call("indices.put_mapping", {"index": place.index, "meta": meta.to_json()})


def add_fields(place: Place, layout: Layout, fields: Fields, records: Sequence[Record]) -> Steps[tuple[Fields, bool]]:
    """Make fields of names in the metadata that have none yet.

    What the server refuses, since the mapping is full, or the credentials do not cover it, stays without a field.

    Returns:
        The fields there are, and whether it is worth while to ask for more.
    """
    metadata = [record.metadata for record in records]
    if not layout.typed or not new_types(metadata, fields):
        return fields, layout.typed
    library = require("elasticsearch", "elasticsearch")
    mapping = yield from read_mapping(place)  # another client may have been first
    there = find_property(mapping, layout.names.metadata)
    dotted = there.get("subobjects") is False
    wanted = new_types(metadata, there.get("properties", {}), dotted=dotted)
    if there.get("enabled") is False or there.get("type", "object") != "object":
        return {}, False
    if wanted:
        properties = nested({layout.names.metadata: {**_kept(there), "properties": wanted}})
        try:
            yield Call("indices.put_mapping", {"index": place.index, "properties": properties})
        except library.AuthorizationException:
            return fields_of(mapping, layout), False
        except library.BadRequestError as error:
            return fields_of(mapping, layout), "Limit of total fields" not in str(error)
    return {**fields_of(mapping, layout), **read_fields(layout.names.metadata, wanted)}, True


def _kept(there: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a change of an object's mapping must repeat."""
    return {name: value for name, value in there.items() if name in ("type", "dynamic", "subobjects")}
