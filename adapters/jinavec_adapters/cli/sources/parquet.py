"""Parquet: one record a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from jinavec.errors import InvalidRecord
from jinavec.parquet import ParquetFile, plain_row
from jinavec_adapters.cli.sources.fields import Fields, Row
from jinavec_adapters.cli.sources.rejects import Rejects

_BATCH = 1024  # rows
_FLAGS = " (--text-field, --id-field, --vector-field)"


def read_parquet(stream: BinaryIO, name: str, rejects: Rejects, fields: Fields) -> Iterator[Row]:
    """Read a seekable Parquet file; without a column for the text, its one column of vectors is what is stored.

    Raises:
        InvalidInput: the file is damaged, or has no column for the text or the vector.
        InvalidVectors: a column that cannot be read as vectors.
        MissingExtra: pyarrow is not installed.
    """
    number = 0
    with ParquetFile(stream, name) as file:
        given = fields.vector is not None or fields.text in file.columns
        vector = fields.vector if given else file.vector_column()
        file.require_columns(fields.text if vector is None else None, fields.id, vector, hint=_FLAGS)
        for rows, vectors in file.batches(vector, _BATCH):
            for position, row in enumerate(rows):
                number += 1
                place = f"{name}, row {number}"
                try:
                    plain = plain_row(row)
                except InvalidRecord as error:
                    rejects(place, str(error))
                else:
                    yield Row(place, plain, None if vectors is None else vectors[position])
