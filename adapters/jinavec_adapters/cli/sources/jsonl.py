"""JSON lines: one object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from jinavec.errors import InvalidRecord, brief
from jinavec.limits import DEPTH
from jinavec_adapters.cli.sources.fields import Row
from jinavec_adapters.cli.sources.lines import TOO_LONG, bounded_lines
from jinavec_adapters.cli.sources.rejects import Rejects


def read_jsonl(stream: BinaryIO, name: str, rejects: Rejects) -> Iterator[Row]:
    """Read JSON lines in UTF-8; blank lines are skipped."""
    for number, line in enumerate(bounded_lines(stream), 1):
        place = f"{name}:{number}"
        if line is None:
            rejects(place, f"{TOO_LONG}; JSON lines have one whole object a line")
            continue
        if line.isspace():
            continue
        try:
            yield Row(place, _object(line, first=number == 1))
        except InvalidRecord as error:
            rejects(place, str(error))


def _object(line: bytes, *, first: bool) -> dict[str, Any]:
    try:
        value: object = json.loads(line.decode("utf-8-sig" if first else "utf-8"), parse_constant=_refuse)
    except UnicodeDecodeError as error:
        found = f"byte {line[error.start]:#04x} at column {error.start + 1}"
        raise InvalidRecord(f"not UTF-8: {found}; --encoding NAME reads others") from error
    except json.JSONDecodeError as error:
        remedy = "; JSON lines have one whole object a line" if line.strip() in (b"[", b"{") else ""
        raise InvalidRecord(f"not JSON: {error.msg} at column {error.pos + 1}{remedy}") from error
    except RecursionError as error:
        raise InvalidRecord(f"not JSON as it is stored: nested deeper than {DEPTH} levels; flatten it") from error
    except ValueError as error:
        raise InvalidRecord(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidRecord(f"not a JSON object, one a line: {brief(value)}")
    return cast("dict[str, Any]", value)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON value")
