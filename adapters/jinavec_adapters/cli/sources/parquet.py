"""Parquet: one record a row, read by record batches."""

from __future__ import annotations

import datetime
import decimal
import math
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, cast

from numpy.typing import NDArray

from jinavec.arrays import holds_vectors, list_matrix
from jinavec.errors import InvalidInput, InvalidRecord
from jinavec.extras import require
from jinavec_adapters.cli.sources.bad import BadRecords
from jinavec_adapters.cli.sources.fields import Fields, Row

_BATCH = 1024  # rows


def read_parquet(stream: BinaryIO, name: str, bad: BadRecords, fields: Fields) -> Iterator[Row]:
    """Read a seekable Parquet file.

    Dates and times become ISO 8601 text, decimals numbers, NaN null; bytes are refused. Without a column for the text,
    the one column of vectors is what there is to store.

    Raises:
        InvalidInput: the file is damaged, or has no column for the text or the vector.
        InvalidVectors: a column that cannot be read as vectors.
        MissingExtra: pyarrow is not installed.
    """
    number = 0
    for values, vectors in _batches(stream, name, fields):
        for position, value in enumerate(values):
            number += 1
            yield from _row(f"{name}, row {number}", value, None if vectors is None else vectors[position], bad)


def _batches(stream: BinaryIO, name: str, fields: Fields) -> Iterator[tuple[list[dict[str, Any]], NDArray[Any] | None]]:
    arrow, parquet = require("pyarrow", "parquet"), require("pyarrow.parquet", "parquet")
    try:
        file = parquet.ParquetFile(stream, buffer_size=1 << 20, pre_buffer=False)  # else all of it is held
        vector = _vector_column(file.schema_arrow, fields)
        _check_columns(file.schema_arrow.names, name, fields, vector)
        for batch in file.iter_batches(batch_size=_BATCH):
            vectors = None
            if vector is not None:
                vectors = list_matrix(batch.column(vector), vector)
                batch = batch.drop_columns([vector])
            rows = _microseconds(arrow, batch).to_pylist() if batch.num_columns else [dict[str, Any]()] * len(batch)
            yield rows, vectors
    except InvalidInput:
        raise
    except (arrow.ArrowException, OSError, ValueError, OverflowError) as error:
        raise InvalidInput(f"cannot read {name} as Parquet: {error}") from error


def _row(place: str, values: dict[str, Any], vector: NDArray[Any] | None, bad: BadRecords) -> Iterator[Row]:
    try:
        row = Row(place, {column: _plain(value) for column, value in values.items()}, vector)
    except InvalidRecord as error:
        bad(place, str(error))
    else:
        yield row


def _vector_column(schema: Any, fields: Fields) -> str | None:
    if fields.vector is not None or fields.text in schema.names:
        return fields.vector
    offered = {column.name: str(column.type) for column in schema if holds_vectors(column.type)}
    floats = [name for name, kind in offered.items() if "float" in kind or "double" in kind]
    chosen = floats or list(offered)
    return chosen[0] if len(chosen) == 1 else None


def _check_columns(columns: list[str], name: str, fields: Fields, vector: str | None) -> None:
    text = fields.text if vector is None else None
    for wanted in (text, fields.id, vector):
        if wanted is not None and wanted not in columns:
            offered = ", ".join(repr(column) for column in columns)
            flags = "--text-field, --id-field, --vector-field"
            raise InvalidInput(f"{name}: no column {wanted!r}; it has: {offered} ({flags})")
    if twice := [column for column in columns if columns.count(column) > 1]:
        raise InvalidInput(f"{name}: two columns are named {twice[0]!r}")


def _microseconds(arrow: Any, batch: Any) -> Any:
    """Drop nanoseconds, which Python's own datetime does not have."""
    for number, column in enumerate(batch.schema):
        if arrow.types.is_timestamp(column.type) and column.type.unit == "ns":
            kind = arrow.timestamp("us", column.type.tz)
            batch = batch.set_column(number, column.name, batch.column(number).cast(kind, safe=False))
    return batch


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (float, decimal.Decimal)):
        return None if math.isnan(value) else float(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in cast("list[Any]", value)]
    if isinstance(value, (bytes, datetime.timedelta)):
        raise InvalidRecord(f"a column holds {type(value).__name__}, which JSON does not have")
    return value
