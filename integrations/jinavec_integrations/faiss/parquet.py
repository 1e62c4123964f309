"""Records and vectors of a Parquet file, batch by batch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from jinavec.arrays import list_matrix
from jinavec.errors import InvalidInput, InvalidRecord, brief
from jinavec.extras import require
from jinavec.records import Record


def read_parquet(
    path: str | os.PathLike[str], vector: str, id: str | None, text: str | None, rows: int
) -> Iterator[tuple[list[Record], NDArray[Any]]]:
    """Yield at most ``rows`` records and their vectors at a time; every other column is metadata.

    Raises:
        InvalidInput: the file cannot be read, or has no such column.
        InvalidRecord, InvalidVectors: a row that cannot be stored.
        MissingExtra: pyarrow is not installed.
    """
    arrow, parquet = require("pyarrow", "parquet"), require("pyarrow.parquet", "parquet")
    try:
        with parquet.ParquetFile(os.fspath(path), buffer_size=1 << 20, pre_buffer=False) as file:  # else all is held
            _check_columns(path, file.schema_arrow.names, (vector, id, text))
            number = 0
            for batch in file.iter_batches(batch_size=rows):
                vectors, others = list_matrix(batch.column(vector), vector), batch.drop_columns([vector])
                values = others.to_pylist() if others.num_columns else [dict[str, Any]() for _ in range(len(batch))]
                yield [_record(value, number + row, id, text) for row, value in enumerate(values)], vectors
                number += len(batch)
    except InvalidInput:
        raise
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise InvalidInput(f"cannot read {os.fspath(path)} as Parquet: {error}") from error


def _record(values: dict[str, Any], number: int, id: str | None, text: str | None) -> Record:
    given = number if id is None else values.pop(id)
    if isinstance(given, bool) or not isinstance(given, (str, int)):
        raise InvalidRecord(f"row {number}: the id must be a string or a whole number, not {brief(given)}")
    return Record(str(given), "" if text is None else values.pop(text), values)


def _check_columns(path: str | os.PathLike[str], columns: list[str], wanted: tuple[str | None, ...]) -> None:
    for name in wanted:
        if name is not None and columns.count(name) != 1:
            raise InvalidInput(
                f"{os.fspath(path)}: no column {name!r}, or two; it has: {', '.join(map(repr, columns))}"
            )
