"""CSV and TSV: a header, then one record a row."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from jinavec.errors import InvalidInput
from jinavec_adapters.cli.sources.fields import Fields, Row
from jinavec_adapters.cli.sources.rejects import Rejects

LONGEST_CELL = 1 << 27
"""Characters; an unclosed quote must not read the rest of a huge file into memory."""

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def read_delimited(stream: BinaryIO, name: str, rejects: Rejects, fields: Fields, delimiter: str) -> Iterator[Row]:
    """Read rows in UTF-8 as RFC 4180 has them; empty rows are skipped.

    A cell that is exactly a JSON number, ``true`` or ``false`` is read as one, any other as a string; id and text
    stay strings.

    Raises:
        InvalidInput: the header has no column for the text, or a name twice.
    """
    csv.field_size_limit(LONGEST_CELL)
    rows = _rows(stream, name, rejects, delimiter)
    header = next((row for _, row in rows), None)
    if header is None:
        return
    _check_header(header, name, fields)
    strings = {fields.id_name, fields.text}
    for place, row in rows:
        if len(row) != len(header):
            rejects(place, f"{len(row)} cells, but the header has {len(header)}")
        elif not _is_unicode(row):
            rejects(place, "not UTF-8")
        else:
            pairs = zip(header, row, strict=True)
            yield Row(place, {column: cell if column in strings else _value(cell) for column, cell in pairs})


def _rows(stream: BinaryIO, name: str, rejects: Rejects, delimiter: str) -> Iterator[tuple[str, list[str]]]:
    reader = csv.reader(_lines(stream), delimiter=delimiter, strict=True)
    while True:
        place = f"{name}:{reader.line_num + 1}"  # where the row begins; quoted line ends may make it longer
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            rejects(place, f"not CSV: {error}")
        else:
            if row:
                yield place, row


def _lines(stream: BinaryIO) -> Iterator[str]:
    """Decode line by line; bytes that are not UTF-8 stay recognizable, so that only their row is bad."""
    for number, line in enumerate(stream):
        yield line.decode("utf-8" if number else "utf-8-sig", "surrogateescape")


def _is_unicode(row: Iterable[str]) -> bool:
    try:
        "".join(row).encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_header(header: list[str], name: str, fields: Fields) -> None:
    columns = ", ".join(repr(column) for column in header)
    if not _is_unicode(header):
        raise InvalidInput(f"{name}:1: not UTF-8")
    if twice := [column for column in header if header.count(column) > 1]:
        raise InvalidInput(f"{name}:1: two columns are named {twice[0]!r}")
    if fields.text not in header:
        raise InvalidInput(f"{name}:1: no column {fields.text!r}; it has: {columns} (--text-field names another)")
    if fields.id is not None and fields.id not in header:
        raise InvalidInput(f"{name}:1: no column {fields.id!r} for the id; it has: {columns}")


def _value(cell: str) -> Any:
    if cell in ("true", "false"):
        return cell == "true"
    if _NUMBER.fullmatch(cell) is None:
        return cell
    try:
        number = json.loads(cell)
    except ValueError:  # more digits than Python converts
        return cell
    return number if math.isfinite(number) else cell
