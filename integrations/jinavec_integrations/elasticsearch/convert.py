"""Records and vectors to documents, hits back to records, and scores to cosines; pure, both directions."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from jinavec.errors import IndexDamaged, InvalidRecord, brief
from jinavec.records import Hit, Record
from jinavec.vectors import (
    Bits,
    Float32,
    binarize,
    from_base64,
    from_hex,
    from_signed_bytes,
    normalize,
    to_hex,
    to_int8,
    unpack,
)
from jinavec_integrations.elasticsearch.fields import Fields, split
from jinavec_integrations.elasticsearch.filters import terms, terms_of
from jinavec_integrations.elasticsearch.mapping import BASE64, Layout, Version
from jinavec_integrations.elasticsearch.names import Names

DOCUMENT_BYTES = 100 * 2**20 - 2**16
"""Bytes of text, metadata and vectors in a document; a request is limited to 100 MiB by default."""
_ID_BYTES = 512
_HASHED = "sha256-"


def document_id(id: str) -> str | None:
    """Return the ``_id`` of a record: its id, or a digest where that is too long; None for what no record can have."""
    try:
        raw = id.encode()
    except UnicodeEncodeError:
        return None
    if not raw:
        return None
    return _HASHED + sha256(raw).hexdigest() if _needs_digest(id, raw) else id


def sources(
    records: Sequence[Record], vectors: Float32, layout: Layout, fields: Fields, version: Version
) -> Iterator[dict[str, Any]]:
    """Yield the document of each record; ``check_record`` has passed them."""
    names = layout.names
    columns = encode(vectors, layout, version)
    for number, record in enumerate(records):
        source: dict[str, Any] = {name: values[number] for name, values in columns.items()}
        source[names.text] = record.text
        if layout.typed:
            parts = split(record.metadata, fields)
            source[names.metadata] = dict(parts.fields)
            if parts.others:
                source[names.terms] = terms_of(parts.others)
            if not parts.complete:
                source[names.original] = dict(record.metadata)
        else:
            source |= {names.metadata: dict(record.metadata), names.terms: terms(record.metadata)}
        if _needs_digest(record.id, record.id.encode()):
            source[names.id] = record.id
        yield nested_values(source)


def nested_values(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by names with dots as those of the objects that the dots lead into."""
    result: dict[str, Any] = {}
    for name, value in source.items():
        *steps, last = name.split(".")
        inner = result
        for step in steps:
            inner = inner.setdefault(step, {})
        inner[last] = value
    return result


def find_value(source: Mapping[str, Any], name: str) -> Any:
    """Return the value of a field in a document, whether its name is written as one or leads into objects."""
    if name in source:
        return source[name]
    first, dot, rest = name.partition(".")
    inner = source.get(first) if dot else None
    return find_value(cast("Mapping[str, Any]", inner), rest) if isinstance(inner, Mapping) else None


def check_record(record: Record, dimension: int) -> None:
    """Refuse a record that no server would take.

    Raises:
        InvalidRecord: metadata that is not JSON, or too much of it.
    """
    size = len(record.text.encode()) + 3 * len(record.metadata_json().encode()) + 8 * dimension
    if size > DOCUMENT_BYTES:
        raise InvalidRecord(
            f"record {record.id[:100]!r} has {size:,} bytes; Elasticsearch takes at most {DOCUMENT_BYTES:,} in a"
            " document: split its text"
        )


def encode(vectors: Float32, layout: Layout, version: Version) -> dict[str, Sequence[Any] | Float32]:
    """Return the values of the vector fields, one a row, in the most compact form the server takes.

    Floats travel as base64 of big-endian float32 from version 9.3 on, before that as numbers; bytes and bits as hex
    digits of their two's complement.
    """
    columns: dict[str, Sequence[Any] | Float32] = {}
    if layout.storage == "byte":
        columns[layout.names.vector] = [to_hex(row) for row in to_int8(vectors)]
    elif layout.float_field:
        columns[layout.names.vector] = pack(vectors) if version >= BASE64 else vectors
    if layout.storage == "bit":
        columns[layout.names.bits] = [to_hex(row) for row in binarize(vectors)]
    return columns


def pack(vectors: Float32) -> list[str]:
    """Encode each vector as Elasticsearch's base64: big-endian float32."""
    return [b64encode(row.tobytes()).decode("ascii") for row in vectors.astype(">f4")]


def query_vector(query: Float32, layout: Layout) -> list[int] | list[float]:
    """Return a query for the indexed field of a layout."""
    if layout.storage == "bit":
        return binarize(query).view(np.int8).tolist()
    return to_int8(query).tolist() if layout.storage == "byte" else query.tolist()


def read_record(found: Mapping[str, Any], layout: Layout) -> Record:
    """Return the record of a hit, or of a document that was looked up.

    Raises:
        IndexDamaged: the document is not a record; another program wrote it.
    """
    source: Mapping[str, Any] = found.get("_source") or {}
    names = layout.names
    id, text = source.get(names.id, found["_id"]), find_value(source, names.text)
    metadata: object = _metadata(source, names)
    if layout.adopted:  # whoever wrote it may have left out either
        text = "" if text is None else text
        metadata = {} if metadata is None else metadata
    if not (isinstance(id, str) and id and isinstance(text, str) and isinstance(metadata, dict)):
        raise IndexDamaged(f"the document {brief(found['_id'])} is not a record: jinavec did not write it; delete it")
    return Record(id, text, cast("dict[str, Any]", metadata))


def _metadata(source: Mapping[str, Any], names: Names) -> Any:
    original = source.get(names.original)
    return find_value(source, names.metadata) if original is None else original


def read_hits(found: Iterable[Mapping[str, Any]], layout: Layout) -> list[Hit]:
    """Return the hits of a search by cosine."""
    return [Hit(read_record(hit, layout), cosine(hit["_score"])) for hit in found]


def cosine(score: float) -> float:
    """Return the cosine of Elasticsearch's score (1 + cosine) / 2."""
    return min(1.0, max(-1.0, 2 * score - 1))


def bits_cosine(products: Float32) -> Float32:
    """Estimate cosines from those between a query and the signs of documents.

    For components drawn from a normal distribution E[q * sign(d)] = sqrt(2 / pi) * cosine.
    """
    return np.clip(products * np.float32(math.sqrt(math.pi / 2)), -1, 1)


def read_vectors(found: Iterable[Mapping[str, Any]], layout: Layout) -> Float32:
    """Return the stored vectors of hits, (n, dimension), of unit length; where only bits are stored, the bits as +-1.

    ``_source`` has them as they were sent (base64, hex digits), or from version 9.2 on as numbers.

    Raises:
        IndexDamaged: a document without a vector.
    """
    field = layout.stored_field
    rows: list[ArrayLike] = []
    for hit in found:
        value = find_value(hit.get("_source") or {}, field)
        if value is None:
            raise IndexDamaged(f"the document {brief(hit['_id'])} has no vector: jinavec did not write it; delete it")
        rows.append(_decode(value, layout))
    return normalize(np.asarray(rows, np.float32))


def _decode(value: str | list[float], layout: Layout) -> ArrayLike:
    if layout.rescore == "bits":
        return unpack(from_hex(value) if isinstance(value, str) else from_signed_bytes(value))
    if not isinstance(value, str):
        return value
    return from_hex(value).view(np.int8) if layout.storage == "byte" else from_base64(value, "big")


def read_bits(found: Iterable[Mapping[str, Any]], width: int, field: str) -> Bits:
    """Return the packed bits of hits: (n, width / 8).

    Servers before 9.2 show them in ``_source``, as the hex digits that were sent; later ones in ``fields``, as signed
    numbers.
    """
    values = (hit.get("_source", {}).get(field) or hit["fields"][field] for hit in found)
    rows = [from_hex(value) if isinstance(value, str) else from_signed_bytes(value) for value in values]
    return np.stack(rows) if rows else np.empty((0, width // 8), np.uint8)


def _needs_digest(id: str, raw: bytes) -> bool:
    """Return whether an id is over Elasticsearch's limit, or could be taken for a digest."""
    return len(raw) > _ID_BYTES or id.startswith(_HASHED)
