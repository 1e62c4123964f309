"""Declared fields: metadata of one type, which other tools find in a payload index of their own; pure, as REST values.

A declared field is compared by Qdrant itself, where it is stored: ``metadata.NAME``. So its values must be what the
type holds, and a record with another one is refused.

* ``keyword``: strings. Qdrant gives them no order, so ranges are answered as those of any other field.
* ``integer``: whole numbers of at most 53 bits. ``float``: numbers. ``bool``: true and false.
* ``datetime``: strings such as 2024-05-01 or 2024-05-01T10:00:00+02:00. Ranges compare them as points in time, of
  which UTC is meant where no zone is given; equality is that of the strings.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, cast

from jinavec.errors import InvalidFilter, InvalidInput, brief
from jinavec.filters import In, Range, Value, is_unicode

FieldType = Literal["keyword", "integer", "float", "bool", "datetime"]
Condition = dict[str, Any]
NEVER: Condition = {"has_id": []}

_EXACT = 2**53  # whole numbers up to here are floats, and any JSON library reads them
_NAME: Callable[[str], Any] = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
_MOMENT: Callable[[str], Any] = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)?)?", re.ASCII
).fullmatch


def check_names(option: str, names: Iterable[str]) -> None:
    """Refuse names that are more than one step of a path.

    Raises:
        InvalidInput: names one.
    """
    for name in names:
        if not isinstance(name, str) or not _NAME(name):
            raise InvalidInput(f"{option}: {brief(name)} is no name of 1 to 64 ASCII letters, digits, _ and -")


def key(name: str) -> str:
    """Return the path of a declared field in the payload."""
    return f"metadata.{name}"


def problem(metadata: Mapping[str, Any], fields: Mapping[str, FieldType]) -> str:
    """Return which declared field holds what its type does not; empty if none does."""
    for name, kind in fields.items():
        value = metadata.get(name)
        values: Sequence[Any] = cast("list[Any]", value) if isinstance(value, list) else [value]
        for item in values:
            if item is not None and not _HOLDS[kind](item):
                return f"the field {name!r} is declared as {kind}, which does not hold {brief(item)}"
    return ""


def equality(leaf: In, kind: FieldType) -> Condition | None:
    """Return equality on a declared field; None where it is not compared in place."""
    if kind == "datetime":
        return None
    values = list(dict.fromkeys(_comparable(leaf.values, kind)))
    if not values:
        return NEVER
    path = key(leaf.field)
    if kind in ("keyword", "integer"):
        return {"key": path, "match": {"any": values}}
    if kind == "float":
        return _any([{"key": path, "range": {"gte": value, "lte": value}} for value in values])
    return _any([{"key": path, "match": {"value": value}} for value in values])


def comparison(leaf: Range, kind: FieldType) -> Condition | None:
    """Return a range on a declared field; None where it is not compared in place.

    Raises:
        InvalidFilter: a bound that is no point in time.
    """
    if isinstance(leaf.bound, str):
        if kind == "keyword":
            return None
        return _moments(leaf) if kind == "datetime" else NEVER
    if kind not in ("integer", "float"):
        return NEVER
    op, bound = (_whole_bound if kind == "integer" else _float_bound)(leaf.op, leaf.bound)
    return {"key": key(leaf.field), "range": {op: bound}}


def _comparable(values: Sequence[Value], kind: FieldType) -> Iterator[Value]:
    """Yield those of the values that a field of the type can hold."""
    for value in values:
        if kind == "integer" and isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
            yield int(value)
        elif _HOLDS[kind](value) and is_unicode(value):
            yield float(value) if kind == "float" else value


def _whole_bound(op: str, bound: int | float) -> tuple[str, float]:
    """Return the range over whole numbers: Qdrant cuts the fraction of a bound off, whatever the operator."""
    limited = max(-_EXACT - 1, min(_EXACT + 1, bound))
    if op.startswith("gt"):
        least = math.floor(limited) + 1 if op == "gt" else math.ceil(limited)
        return "gte", float(least)
    return "lte", float(math.ceil(limited) - 1 if op == "lt" else math.floor(limited))


def _float_bound(op: str, bound: int | float) -> tuple[str, float]:
    """Return the range over floats that means the same as a bound which may be an integer between two of them."""
    try:
        near = float(bound)
    except OverflowError:
        near = sys.float_info.max if bound > 0 else -sys.float_info.max
    if near == bound:
        return op, near
    if op.startswith("gt"):
        return ("gte" if near > bound else "gt"), near
    return ("lt" if near > bound else "lte"), near


def _moments(leaf: Range) -> Condition:
    moment = _moment(leaf.bound)
    if moment is None:
        raise InvalidFilter(
            f"the field {leaf.field!r} is declared as datetime: a bound is a string such as 2024-05-01 or"
            f" 2024-05-01T10:00:00Z, not {brief(leaf.bound)}"
        )
    return {"key": key(leaf.field), "range": {leaf.op: moment.isoformat()}}


def _moment(value: object) -> datetime | None:
    if not isinstance(value, str) or not _MOMENT(value):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _any(conditions: list[Condition]) -> Condition:
    return conditions[0] if len(conditions) == 1 else {"should": conditions}


def _is_number(value: object) -> bool:
    return isinstance(value, float) or _is_whole(value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _EXACT


_HOLDS: Mapping[FieldType, Callable[[object], bool]] = {
    "keyword": lambda value: isinstance(value, str),
    "integer": _is_whole,
    "float": _is_number,
    "bool": lambda value: isinstance(value, bool),
    "datetime": lambda value: _moment(value) is not None,
}
