"""ParquetFile: the rows of a Parquet file as plain JSON values, and its vectors as arrays, in bounded memory."""

from __future__ import annotations

import datetime
import decimal
import json
import math
import os
import uuid
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, Self, cast

from numpy.typing import NDArray

from jinavec.errors import InvalidInput, InvalidRecord, first_names
from jinavec.extras import require
from jinavec.limits import DEPTH, LINE
from jinavec.vector_files import holds_vectors, list_matrix

_BATCH = 2**26
"""Bytes of a batch, about."""
_SHARED = 64
"""Rows read at a time where rows may share texts."""

Batch = tuple[list[dict[str, Any]], NDArray[Any] | None]
"""Rows by column, and their vectors (n, width) where a column of them was asked for."""


class ParquetFile:
    """An open Parquet file; use it as a context."""

    def __init__(self, source: str | os.PathLike[str] | BinaryIO, name: str) -> None:
        """Open a file.

        Args:
            source: a path, or a seekable binary file.
            name: what messages call it.

        Raises:
            InvalidInput: it cannot be read as Parquet, or two columns have one name.
            MissingExtra: pyarrow is not installed.
        """
        self.name = name
        parquet = require("pyarrow.parquet", "parquet")
        with self._reading():
            # Without pre-buffering; else pyarrow keeps whole row groups in memory.
            self._file: Any = parquet.ParquetFile(source, buffer_size=1 << 20, pre_buffer=False)
            self._schema: Any = self._file.schema_arrow
        self.columns: list[str] = self._schema.names
        if (twice := repeated(self.columns)) is not None:
            self._file.close()
            raise InvalidInput(f"{name}: two columns are named {twice!r}")

    def require_columns(self, *names: str | None, hint: str = "") -> None:
        """Refuse a file without one of these columns; None asks for nothing.

        Raises:
            InvalidInput: a column is missing; the message lists those there are.
        """
        for wanted in names:
            if wanted is not None and wanted not in self.columns:
                raise InvalidInput(f"{self.name}: no column {wanted!r}; it has: {first_names(self.columns)}{hint}")

    def vector_column(self) -> str | None:
        """Return the one column that holds vectors: of floats if there is one, else of packed bits; None if unclear."""
        offered = {column.name: str(column.type) for column in self._schema if holds_vectors(column.type)}
        floats = [name for name, kind in offered.items() if "float" in kind or "double" in kind]
        chosen = floats or list(offered)
        return chosen[0] if len(chosen) == 1 else None

    def batches(self, vector: str | None, rows: int) -> Iterator[Batch]:
        """Yield at most ``rows`` rows at a time; the column ``vector`` is left out of them and comes as an array.

        Values are as Python has them; ``plain_row`` makes them JSON.

        Raises:
            InvalidInput: the file is damaged, or its rows are larger on average than a record may be.
            InvalidVectors: the column holds no vectors, or not one a row.
        """
        with self._reading():
            row = 0
            for batch in self._file.iter_batches(batch_size=min(rows, self._most_rows())):
                self._check_size(batch.nbytes, len(batch), row)
                vectors = None
                if vector is not None:
                    vectors = list_matrix(batch.column(vector), vector)
                    batch = batch.drop_columns([vector])
                # A batch without columns has no rows for to_pylist.
                count = len(batch)
                values = self._values(batch, row) if batch.num_columns else [dict[str, Any]() for _ in range(count)]
                yield values, vectors
                row += count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def _most_rows(self) -> int:
        """Return how many rows to read at a time, from what the footer says about their size.

        A long text that many rows share lies in the file once, and once for each row in memory: of columns that can
        have such texts, only a few rows are read at a time.
        """
        most = _BATCH
        for number in range(self._file.num_row_groups):
            group = self._file.metadata.row_group(number)
            self._check_size(group.total_byte_size, group.num_rows, 0)
            most = min(most, max(1, _BATCH * group.num_rows // max(1, group.total_byte_size)))
            columns = map(group.column, range(group.num_columns))
            if any(column.physical_type == "BYTE_ARRAY" and column.has_dictionary_page for column in columns):
                most = min(most, _SHARED)
        return most

    def _check_size(self, size: int, count: int, before: int) -> None:
        if size > LINE * max(1, count):
            raise InvalidInput(
                f"{self.name}: the rows behind row {before} have {size // max(1, count):,} bytes on average; a record"
                f" may have {LINE:,}: split long texts"
            )

    def _values(self, batch: Any, before: int) -> list[dict[str, Any]]:
        rows = cast("list[dict[str, Any]]", _microseconds(batch).to_pylist())
        for column in batch.schema:
            if _is_json(column):
                for number, row in enumerate(rows, before + 1):
                    row[column.name] = self._parsed(row[column.name], f"row {number}, column {column.name!r}")
        return rows

    def _parsed(self, text: str | None, place: str) -> Any:
        try:
            return None if text is None else json.loads(text)
        except (ValueError, RecursionError) as error:
            reason = f"nested deeper than {DEPTH} levels" if isinstance(error, RecursionError) else str(error)
            raise InvalidInput(f"cannot read {self.name} as Parquet: {place} is not JSON: {reason}") from error

    @contextmanager
    def _reading(self) -> Generator[None]:
        arrow = require("pyarrow", "parquet")
        try:
            yield
        except InvalidInput:
            raise
        except (arrow.ArrowException, OSError, ValueError, OverflowError, RecursionError) as error:
            raise InvalidInput(f"cannot read {self.name} as Parquet: {error}") from error


def plain_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as JSON has it: dates and times as ISO 8601 text, decimals as numbers, NaN as null.

    Raises:
        InvalidRecord: bytes or a duration, which JSON does not have.
    """
    return {column: _plain(value) for column, value in row.items()}


def _plain(value: Any) -> Any:
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


def _is_json(column: Any) -> bool:
    """Whether a column is marked as JSON text: https://arrow.apache.org/docs/format/CanonicalExtensions.html#json."""
    marks = cast(
        "Mapping[bytes, bytes]", column.metadata or {}
    )  # pyarrow 18 does not know the type, but keeps its mark
    return marks.get(b"ARROW:extension:name") == b"arrow.json" or "arrow.json" in str(column.type)


def _microseconds(batch: Any) -> Any:
    """Drop nanoseconds, which Python's own datetime does not have."""
    arrow = require("pyarrow", "parquet")
    for number, column in enumerate(batch.schema):
        if arrow.types.is_timestamp(column.type) and column.type.unit == "ns":
            kind = arrow.timestamp("us", column.type.tz)
            batch = batch.set_column(number, column.name, batch.column(number).cast(kind, safe=False))
    return batch


def repeated(names: Iterable[str]) -> str | None:
    """Return the first name that comes twice, or None."""
    return next((name for name, count in Counter(names).items() if count > 1), None)
