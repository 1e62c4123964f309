"""Records as points, and points as records; pure."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, Literal, cast
from uuid import UUID, uuid5

from jinavec.errors import IndexDamaged, InvalidInput, InvalidRecord, brief
from jinavec.records import Record
from jinavec_integrations.qdrant import fields
from jinavec_integrations.qdrant.filters import Layout, helpers

NAMESPACE = UUID("6f0fbd5d-6d5c-5c3f-9d0c-2b7f5b1c9a51")
"""Namespace of the UUIDs of record ids; part of the format."""
INNER = "jinavec"
"""The key in a payload of what only jinavec reads: the id, what filters find, and the exact metadata if need be."""

Ids = Literal["uuid5", "native"]
"""How point ids are made of record ids: as UUIDs, or unchanged if possible (adopted collections)."""
PointId = int | str
TEXT_KEYS = ("text", "document", "page_content", "content")
"""Payload keys that may hold the text of a point, the first that does counts."""


def point_id(id: str, ids: Ids = "uuid5", shard_key: str | None = None) -> PointId | None:
    """Return the id of the point of a record, another one under each shard key; None for half a surrogate pair."""
    if ids == "native" and (native := _native_id(id)) is not None:
        return native
    try:
        return str(uuid5(NAMESPACE, id if shard_key is None else json.dumps([shard_key, id])))
    except UnicodeEncodeError:
        return None


def to_payload(record: Record, layout: Layout) -> dict[str, Any]:
    """Return the payload of a record.

    Raises:
        InvalidRecord: the metadata is not JSON, or holds a number beyond the range of floats, or what the type of a
            declared field does not hold.
    """
    text = record.metadata_json()
    metadata = cast("dict[str, Any]", json.loads(text))
    _refuse_huge(metadata, record)
    if problem := fields.problem(metadata, layout.fields):
        raise InvalidRecord(f"record {record.id!r}: {problem}")
    payload: dict[str, Any] = {"text": record.text, "metadata": metadata, INNER: to_inner(record.id, metadata, layout)}
    if not _survives(metadata):
        payload[INNER]["exact"] = text
    return payload


def to_inner(id: str, metadata: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    """Return the part of a payload that only jinavec reads."""
    return {"id": id, **helpers(metadata, layout)}


def to_record(point: PointId, payload: Mapping[str, Any] | None, ids: Ids = "uuid5") -> Record:
    """Return the record of a point; in an adopted collection, points of the other tool are records as they are.

    Raises:
        IndexDamaged: it is not a record of jinavec.
    """
    content = payload if isinstance(payload, dict) else {}  # local mode returns whatever a folder holds
    inner = content.get(INNER)
    if inner is None and ids == "native":
        inner = {"id": str(point)}
    if not isinstance(inner, dict) or "id" not in inner:
        raise IndexDamaged(f"the point {point!r} was not written by jinavec: its payload has no {INNER}.id")
    known = cast("dict[str, Any]", inner)
    try:
        metadata = _exact(known["exact"]) if "exact" in known else foreign_metadata(content)
        return Record(known["id"], foreign_text(content), metadata)
    except InvalidRecord as error:
        raise IndexDamaged(f"the point {point!r} cannot be read: {error}") from error


def owner(payload: Mapping[str, Any] | None) -> str | None:
    """Return the id of the record that a payload belongs to; None if jinavec did not write it."""
    inner = payload.get(INNER) if isinstance(payload, dict) else None
    return cast("dict[str, Any]", inner).get("id") if isinstance(inner, dict) else None


def foreign_text(payload: Mapping[str, Any]) -> str:
    """Return the text in a payload of any tool."""
    return next((text for key in TEXT_KEYS if isinstance(text := payload.get(key), str)), "")


def foreign_metadata(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata in a payload of any tool: the object of that name, or all that is not the text."""
    metadata = payload.get("metadata")
    if isinstance(metadata, dict):
        return cast("dict[str, Any]", metadata)
    text = next((key for key in TEXT_KEYS if isinstance(payload.get(key), str)), None)
    return {key: value for key, value in payload.items() if key not in (text, INNER)}


def read_cursor(cursor: str) -> PointId:
    """Return the point id that was written as a string, as the cursor of a page.

    Raises:
        InvalidInput: no point has such an id.
    """
    if (id := _native_id(cursor)) is None:
        raise InvalidInput(f"{brief(cursor)} is not the cursor of a page of a Qdrant index")
    return id


def _exact(text: object) -> Any:
    """Decode metadata that are stored as JSON."""
    try:
        return json.loads(cast("str", text))
    except (TypeError, ValueError) as error:
        raise InvalidRecord(f"its exact metadata are not JSON: {error}") from error


def _native_id(id: str) -> PointId | None:
    if id.isascii() and id.isdigit() and str(int(id[:20])) == id and int(id) < 2**64:
        return int(id)
    try:
        return id if str(UUID(id)) == id else None
    except ValueError:
        return None


def _survives(value: object) -> bool:
    """Return whether any JSON library gives back the numbers inside as they are: 15 digits, 64 bits."""
    if isinstance(value, dict):
        return all(map(_survives, cast("dict[str, object]", value).values()))
    if isinstance(value, list):
        return all(map(_survives, cast("list[object]", value)))
    if isinstance(value, int):
        return -(2**53) <= value <= 2**53
    if isinstance(value, float):
        return not value or (1e-6 < abs(value) < 1e15 and float(f"{value:.15g}") == value)
    return True


def _refuse_huge(value: object, record: Record) -> None:
    if isinstance(value, dict):
        for inner in cast("dict[str, object]", value).values():
            _refuse_huge(inner, record)
    elif isinstance(value, list):
        for inner in cast("list[object]", value):
            _refuse_huge(inner, record)
    elif isinstance(value, int) and abs(value) > sys.float_info.max:
        raise InvalidRecord(
            f"record {record.id!r}: Qdrant holds no number beyond {sys.float_info.max:.3g}: {brief(value)}; store it"
            " as a string"
        )
