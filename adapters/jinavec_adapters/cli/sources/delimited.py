"""CSV and TSV: a header, then one record a row."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from jinavec.errors import InvalidInput, first_names
from jinavec.limits import LINE
from jinavec.parquet import repeated
from jinavec_adapters.cli.sources.fields import Fields, Row
from jinavec_adapters.cli.sources.lines import TOO_LONG, bounded_lines
from jinavec_adapters.cli.sources.rejects import Rejects

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_LARGEST = 2**63
"""Whole numbers that engines store are below."""

ReadCell = Callable[[str], Any]
"""Returns what a cell says, or None where it says nothing of this kind."""


def read_delimited(
    stream: BinaryIO, name: str, rejects: Rejects, fields: Fields, delimiter: str, *, strings: bool
) -> Iterator[Row]:
    """Read rows in UTF-8 as RFC 4180 has them; empty rows are skipped.

    A column becomes numbers if each of its cells is written as Python writes that number; or true and false, if it has
    no other cells. Empty cells do not count. Every other column, id and text stay strings.

    Args:
        stream: a seekable file, which is read twice; once, from any file, with ``strings``.
        name: what messages call it.
        rejects: takes bad rows.
        fields: which columns are id and text.
        delimiter: between cells.
        strings: whether all columns stay strings.

    Raises:
        InvalidInput: the header has no column for the text, or a name twice; a row without a visible end.
    """
    readers = {} if strings else _column_readers(_table(stream, name, Rejects(skip=True), fields, delimiter), fields)
    if not strings:
        stream.seek(0)
    for place, row in _table(stream, name, rejects, fields, delimiter):
        for column, read in readers.items():
            if cell := row[column]:
                value = read(cell)
                row[column] = cell if value is None else value
        yield Row(place, row)


def _column_readers(rows: Iterable[tuple[str, Mapping[str, str]]], fields: Fields) -> dict[str, ReadCell]:
    """Return how to read each column that is no string, after looking at every cell."""
    possible: dict[str, list[ReadCell]] | None = None
    for _, row in rows:
        if possible is None:
            possible = {column: [_number, _boolean] for column in row if column not in (fields.id_name, fields.text)}
        for column in [column for column in possible if row[column]]:
            possible[column] = [read for read in possible[column] if read(row[column]) is not None]
            if not possible[column]:
                del possible[column]
        if not possible:
            break
    return {column: readers[0] for column, readers in (possible or {}).items()}


def _table(
    stream: BinaryIO, name: str, rejects: Rejects, fields: Fields, delimiter: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rows behind the header, by column."""
    rows = _rows(stream, name, rejects, delimiter)
    header = next((row for _, row in rows), None)
    if header is None:
        return
    _check_header(header, name, fields)
    for place, row in rows:
        if len(row) != len(header):
            rejects(place, f"{len(row)} cells, but the header has {len(header)}")
        elif not _is_unicode(row):
            rejects(place, "not UTF-8 (--encoding NAME reads other encodings)")
        else:
            yield place, dict(zip(header, row, strict=True))


def _rows(stream: BinaryIO, name: str, rejects: Rejects, delimiter: str) -> Iterator[tuple[str, list[str]]]:
    csv.field_size_limit(LINE)
    lines = _Lines(stream, name)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        place = f"{name}:{reader.line_num + 1}"  # where the row begins; quoted line ends may make it longer
        lines.begin_row(place)
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            rejects(place, f"not CSV: {error}")
        else:
            if row:
                yield place, row


class _Lines:
    """Decodes line by line; bytes that are not UTF-8 stay recognizable, so that only their row is bad."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._lines = enumerate(bounded_lines(stream), 1)
        self._name = name
        self._place = name
        self._row = 0

    def begin_row(self, place: str) -> None:
        """Count the bytes of a row from here."""
        self._place, self._row = place, 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        number, line = next(self._lines)
        if line is None:
            raise InvalidInput(f"{self._name}:{number}: the line is {TOO_LONG}")
        self._row += len(line)
        if self._row > LINE:
            raise InvalidInput(f"{self._place}: the row is {TOO_LONG}; is a quote left open?")
        return line.decode("utf-8-sig" if number == 1 else "utf-8", "surrogateescape")


def _is_unicode(row: Iterable[str]) -> bool:
    try:
        "".join(row).encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_header(header: list[str], name: str, fields: Fields) -> None:
    columns = first_names(header)
    if not _is_unicode(header):
        raise InvalidInput(f"{name}:1: not UTF-8 (--encoding NAME reads other encodings)")
    if (twice := repeated(header)) is not None:
        raise InvalidInput(f"{name}:1: two columns are named {twice!r}")
    if fields.text not in header:
        raise InvalidInput(f"{name}:1: no column {fields.text!r}; it has: {columns} (--text-field names another)")
    if fields.id is not None and fields.id not in header:
        raise InvalidInput(f"{name}:1: no column {fields.id!r} for the id; it has: {columns}")


def _number(cell: str) -> int | float | None:
    """Return the number that a cell writes as Python does, so that nothing of it is lost: 1.5 is one, 1.50 is none."""
    if _NUMBER.fullmatch(cell) is None:
        return None
    try:
        number = json.loads(cell)
    except ValueError:  # more digits than Python converts
        return None
    return number if str(number) == cell and (isinstance(number, float) or abs(number) < _LARGEST) else None


def _boolean(cell: str) -> bool | None:
    return {"true": True, "false": False}.get(cell)
