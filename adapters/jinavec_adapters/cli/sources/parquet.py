"""Parquet: one record a row, read by record batches."""

from __future__ import annotations

import datetime
import decimal
import math
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, cast

from jinavec.errors import InvalidInput, InvalidRecord
from jinavec.extras import require
from jinavec_adapters.cli.sources.bad import BadRecords
from jinavec_adapters.cli.sources.fields import Fields, Row

_BATCH = 1024  # rows


def read_parquet(stream: BinaryIO, name: str, bad: BadRecords, fields: Fields) -> Iterator[Row]:
    """Read a seekable Parquet file.

    Dates and times become ISO 8601 text, decimals numbers, NaN null; bytes are refused.

    Raises:
        InvalidInput: the file is damaged, or has no column for the text.
        MissingExtra: pyarrow is not installed.
    """
    number = 0
    for batch in _batches(stream, name, fields):
        for values in batch:
            number += 1
            yield from _row(f"{name}, row {number}", values, bad)


def _batches(stream: BinaryIO, name: str, fields: Fields) -> Iterator[list[dict[str, Any]]]:
    arrow, parquet = require("pyarrow", "parquet"), require("pyarrow.parquet", "parquet")
    try:
        file = parquet.ParquetFile(stream, buffer_size=1 << 20)
        _check_columns(file.schema_arrow.names, name, fields)
        for batch in file.iter_batches(batch_size=_BATCH):
            yield _microseconds(arrow, batch).to_pylist()
    except InvalidInput:
        raise
    except (arrow.ArrowException, OSError, ValueError, OverflowError) as error:
        raise InvalidInput(f"cannot read {name} as Parquet: {error}") from error


def _row(place: str, values: dict[str, Any], bad: BadRecords) -> Iterator[Row]:
    try:
        row = Row(place, {column: _plain(value) for column, value in values.items()})
    except InvalidRecord as error:
        bad(place, str(error))
    else:
        yield row


def _check_columns(columns: list[str], name: str, fields: Fields) -> None:
    for wanted in (fields.text, fields.id):
        if wanted is not None and wanted not in columns:
            offered = ", ".join(repr(column) for column in columns)
            raise InvalidInput(f"{name}: no column {wanted!r}; it has: {offered} (--text-field, --id-field)")
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
