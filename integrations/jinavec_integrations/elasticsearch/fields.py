"""Metadata as fields of the server's own types, so that Kibana and other tools filter, sort and count them; pure.

A string is a ``keyword``, a number a ``double``, true and false a ``boolean``, and strings that are all dates a
``date`` with a keyword below it. A name has the type of the first values that were stored under it. What does not fit
(another kind of value, a number that no double holds, a very long string, a name that no field can have, a name beyond
the first 400) is no field's: the record keeps it all the same, and our filters find it by its term.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from jinavec.filters import Value, scalars

Kind = Literal["string", "number", "boolean", "date"]
MOST = 400
"""Fields that are made of metadata; Elasticsearch's limit (index.mapping.total_fields.limit) is 1000 for all."""
LONGEST = 1024
"""Characters of a string in a keyword field."""
_NAME = re.compile(r"(?=.{1,100}$)[^\s*.][^*]*", re.DOTALL)
_DATE = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d([.,]\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII)
_TYPES: Mapping[str, dict[str, Any]] = {
    "string": {"type": "keyword"},
    "number": {"type": "double"},
    "boolean": {"type": "boolean"},
    "date": {
        "type": "date",
        "format": "strict_date_optional_time",
        "ignore_malformed": True,
        "fields": {"keyword": {"type": "keyword"}},
    },
}
_WHOLE = {"byte": 2**7, "short": 2**15, "integer": 2**31, "long": 2**53}
"""Types of whole numbers in indexes of other tools, and what is below their bound is exact."""


@dataclass(frozen=True)
class Field:
    """A field of metadata."""

    kind: Literal["string", "number", "boolean"]
    """The kind of values that filters find in it."""
    path: str
    """What a filter asks."""
    bound: float = math.inf
    """Whole numbers below it, characters up to it; 0: read only, since it rounds what it is given."""

    @property
    def limit(self) -> float:
        """The least size of a number that a field of whole numbers refuses to be compared with; else infinity."""
        return 2**63 if self.bound == _WHOLE["long"] else self.bound or math.inf

    def holds(self, value: Value) -> bool:
        """Return whether a value is stored in the field exactly as it is."""
        if kind_of(value) != self.kind:
            return False
        if isinstance(value, bool):
            return True
        if isinstance(value, str):
            return len(value) <= min(LONGEST, self.bound)
        if not value:
            return self.bound > 0 and math.copysign(1, value) > 0  # Lucene tells -0.0 from 0.0
        if self.bound < math.inf:
            return isinstance(value, int) and abs(value) < self.bound
        return isinstance(value, float) or (abs(value) < 2**63 and int(float(value)) == value)


Fields = Mapping[str, Field]


def kind_of(value: Value) -> Literal["string", "number", "boolean"]:
    """Return the kind of a value; values of two kinds are never equal."""
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "number"


def read_fields(path: str, properties: Mapping[str, Any]) -> dict[str, Field]:
    """Return the fields below a path of a mapping that filters can use, by their name in the metadata."""
    found: dict[str, Field] = {}
    for name, mapped in properties.items():
        if (field := _read(f"{path}.{name}", mapped)) is not None:
            found[name] = field
    return found


def _read(path: str, mapped: Mapping[str, Any]) -> Field | None:
    kind = mapped.get("type")
    if mapped.get("index") is False or "null_value" in mapped or "normalizer" in mapped:
        return None
    if kind == "keyword":
        return Field("string", path, mapped.get("ignore_above", math.inf))
    if kind in ("date", "text"):
        below = cast("Mapping[str, Any]", mapped.get("fields", {})).get("keyword")
        return None if below is None else _read(f"{path}.keyword", below)
    if kind == "boolean":
        return Field("boolean", path)
    if kind == "double":
        return Field("number", path)
    if kind in ("float", "half_float", "scaled_float"):
        return Field("number", path, 0)
    return Field("number", path, _WHOLE[kind]) if kind in _WHOLE else None


def new_types(
    records: Iterable[Mapping[str, Any]], names: Iterable[str], *, dotted: bool = True
) -> dict[str, dict[str, Any]]:
    """Return mappings for names of metadata that have no field yet, as many as there is room for.

    Args:
        records: the metadata of each.
        names: that have one.
        dotted: whether a name may have dots, which lead into objects where those are allowed.
    """
    known = set(names)
    kinds: dict[str, Kind] = {}
    for metadata in records:
        for name, value in scalars(metadata):
            if name in known or not _NAME.fullmatch(name) or ("." in name and not dotted):
                continue
            kind = kind_of(value)
            if name not in kinds:
                if len(known) + len(kinds) >= MOST:
                    continue
                kinds[name] = "date" if isinstance(value, str) and _is_date(value) else kind
            elif kinds[name] == "date" and not (isinstance(value, str) and _is_date(value)):
                kinds[name] = "string"
    return {name: _TYPES[kind] for name, kind in kinds.items()}


def _is_date(value: str) -> bool:
    if not _DATE.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Split:
    """The metadata of a record, by where its values go."""

    fields: Mapping[str, Any]
    """What fields hold."""
    others: Sequence[tuple[str, Value]]
    """Name and value of what a filter finds by its term."""
    complete: bool
    """Whether ``fields`` is all of the metadata, as it is."""


def split(metadata: Mapping[str, Any], fields: Fields) -> Split:
    """Tell what the fields of an index hold of a record's metadata from what they do not."""
    held: dict[str, list[Value]] = {}
    others: list[tuple[str, Value]] = []
    for name, value in scalars(metadata):
        field = fields.get(name)
        if field is not None and field.holds(value):
            held.setdefault(name, []).append(value)
        else:
            others.append((name, value))
    whole = {name for name, value in metadata.items() if name in fields and _count(value) == len(held.get(name, ()))}
    if len(whole) == len(metadata):
        return Split(metadata, others, complete=True)
    kept = {name: metadata[name] if name in whole else values for name, values in held.items()}
    return Split(kept, others, complete=False)


def _count(value: object) -> int:
    """Return how many values a field must hold to hold all of it."""
    if isinstance(value, (list, tuple)):
        return sum(item is not None for item in cast("Sequence[object]", value))
    return int(value is not None)
