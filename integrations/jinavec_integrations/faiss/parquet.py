"""Records and vectors of a Parquet file, batch by batch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from jinavec.errors import InvalidRecord, brief
from jinavec.parquet import ParquetFile, plain_row
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
    number = 0
    with ParquetFile(os.fspath(path), os.fspath(path)) as file:
        file.require_columns(vector, id, text)
        for values, vectors in file.batches(vector, rows):
            assert vectors is not None, "a column of vectors was asked for"
            yield [_record(value, number + row, id, text) for row, value in enumerate(values)], vectors
            number += len(values)


def _record(row: dict[str, Any], number: int, id: str | None, text: str | None) -> Record:
    try:
        values = plain_row(row)
    except InvalidRecord as error:
        raise InvalidRecord(f"row {number}: {error}") from error
    given = number if id is None else values.pop(id)
    if isinstance(given, bool) or not isinstance(given, (str, int)):
        raise InvalidRecord(f"row {number}: the id must be a string or a whole number, not {brief(given)}")
    return Record(str(given), "" if text is None else values.pop(text), values)
