"""Filters: from the parsed form to Elasticsearch queries over fields of metadata, and over one keyword field of terms.

A scalar in a record's metadata, or an element of a list, is the value of a field of its name, where it fits there (see
``fields``); else, and in indexes of 0.1 always, one term of the field ``filter``: the field's name with its length, the
kind of the value, and the value so written that the order of bytes is the order of values. So kinds never mix, whole
numbers and floats of any size compare exactly, and no metadata can conflict with a mapping.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from jinavec.errors import InvalidFilter, brief
from jinavec.filters import SURROGATE, And, Filter, In, Or, Range, Value, is_unicode, scalars
from jinavec_integrations.elasticsearch.fields import Field, Fields, kind_of

FIELD = "filter"
_BOOLEAN, _NUMBER, _STRING = "b", "n", "s"
_ABOVE = {_NUMBER: "o", _STRING: "t"}
"""What sorts directly behind all terms of a kind."""
_NAME, _LENGTH = 100, 5000
"""Characters of a name and of a string that a term keeps (Lucene's limit is 32766 bytes a term)."""
_TERMS = 65_536
"""Elasticsearch's index.max_terms_count."""
_COMPLEMENT = str.maketrans("0123456789abcdef", "fedcba9876543210")

Query = dict[str, Any]


@dataclass(frozen=True)
class Places:
    """Where an index keeps what filters find."""

    terms: str = FIELD
    """The field of terms."""
    fields: Fields = field(default_factory=dict[str, Field])
    """Of metadata, by name."""


TERMS_ONLY = Places()
"""Of an index of 0.1."""


def terms(metadata: Mapping[str, Any]) -> list[str]:
    """Return the terms of everything in the metadata that a filter can find, without repetition."""
    return terms_of(scalars(metadata))


def terms_of(values: Iterable[tuple[str, Value]]) -> list[str]:
    """Return the terms of values, each with its name, without repetition."""
    return list(dict.fromkeys(_start(name) + _term(value) for name, value in values))


def translate(condition: Filter, places: Places = TERMS_ONLY) -> Query:
    """Return the query that matches the records which ``jinavec.filters.match`` passes.

    Raises:
        InvalidFilter: a bound too long to be compared.
    """
    if isinstance(condition, In):
        return _one_of(condition, places)
    if isinstance(condition, Range):
        return _range(condition, places)
    if isinstance(condition, And):
        return {"bool": {"filter": [translate(part, places) for part in condition.parts]}} if condition.parts else _ALL
    if isinstance(condition, Or):
        return _any([translate(part, places) for part in condition.parts])
    return {"bool": {"must_not": [translate(condition.part, places)]}}


_ALL: Query = {"match_all": {}}
_NONE: Query = {"match_none": {}}


def _any(parts: list[Query]) -> Query:
    if len(parts) < 2:
        return parts[0] if parts else _NONE
    return {"bool": {"should": parts, "minimum_should_match": 1}}


def _one_of(leaf: In, places: Places) -> Query:
    if not is_unicode(leaf.field):
        return _NONE
    start = _start(leaf.field)
    values = [value for value in leaf.values if is_unicode(value)]
    parts = _terms(places.terms, dict.fromkeys(start + _term(value) for value in values))
    if (there := places.fields.get(leaf.field)) is not None:
        kept = dict.fromkeys(_stored(value) for value in values if _may_hold(there, value))
        parts = [*_terms(there.path, kept), *parts]
    return _any(parts)


def _terms(path: str, values: Iterable[Value]) -> list[Query]:
    wanted = list(values)
    return [{"terms": {path: wanted[first : first + _TERMS]}} for first in range(0, len(wanted), _TERMS)]


def _may_hold(there: Field, value: Value) -> bool:
    """Return whether documents can have a value in a field: also those of another tool, which may round it."""
    if there.kind != kind_of(value):
        return False
    if isinstance(value, str):
        return len(value) <= there.bound
    if isinstance(value, bool):
        return True
    if there.limit < math.inf:
        return value == int(value) and abs(value) < there.limit
    return abs(value) <= sys.float_info.max and float(value) == value


def _stored(value: Value) -> Value:
    """Return a value as a field holds it: zero has one sign."""
    return value + 0.0 if isinstance(value, float) else value


def _range(leaf: Range, places: Places) -> Query:
    if not is_unicode(leaf.field):
        return _NONE
    kind = _kind(leaf.bound)
    lowest = _start(leaf.field) + kind
    op, bound = _bound(leaf)
    if op.startswith("g"):
        among: Query = {"range": {places.terms: {op: lowest + bound, "lt": lowest[:-1] + _ABOVE[kind]}}}
    else:
        among = {"range": {places.terms: {"gte": lowest, op: lowest + bound}}}
    there = places.fields.get(leaf.field)
    if there is None or there.kind != kind_of(leaf.bound):
        return among
    if isinstance(leaf.bound, str):
        return _any([{"range": {there.path: {op: bound}}}, among])
    return _any([*_double_range(there, leaf.op, leaf.bound), among])


def _double_range(there: Field, op: str, bound: float) -> list[Query]:
    """Return the range of the numbers that pass a bound of any size, compared exactly."""
    if abs(bound) > sys.float_info.max or abs(bound) >= there.limit:
        passes_all = (bound > 0) == op.startswith("l")
        return [{"exists": {"field": there.path}}] if passes_all else []
    nearest = float(bound)
    if nearest > bound:  # and no double lies between the two
        op = {"gt": "gte", "lte": "lt"}.get(op, op)
    elif nearest < bound:
        op = {"gte": "gt", "lt": "lte"}.get(op, op)
    return [{"range": {there.path: {op: nearest + 0.0}}}]


def _bound(leaf: Range) -> tuple[str, str]:
    """Return operator and bound in the order of the terms."""
    if not isinstance(leaf.bound, str):
        return leaf.op, _sortable(leaf.bound)
    if half := SURROGATE.search(leaf.bound):  # sorts behind U+D7FF, before U+E000, and equals no stored string
        return {"g": "gte", "l": "lt"}[leaf.op[0]], leaf.bound[: half.start()] + "\ue000"
    if len(leaf.bound) > _LENGTH:
        raise InvalidFilter(
            f"the bound {brief(leaf.bound)} on {leaf.field!r} has {len(leaf.bound)} characters; Elasticsearch"
            f" orders strings by the first {_LENGTH}: shorten it"
        )
    return leaf.op, leaf.bound


def _start(name: str) -> str:
    kept = _short(name, _NAME)
    return f"{len(kept)}:{kept}"


def _term(value: Value) -> str:
    kind = _kind(value)
    if kind == _BOOLEAN:
        return kind + str(int(value))
    return kind + (_short(value, _LENGTH) if isinstance(value, str) else _sortable(value))


def _kind(value: Value) -> str:
    if isinstance(value, bool):
        return _BOOLEAN
    return _STRING if isinstance(value, str) else _NUMBER


def _short(text: str, limit: int) -> str:
    """Return a text as it is or, over the limit, its beginning and its digest: still equal only to itself."""
    return text if len(text) <= limit else text[:limit] + sha256(text.encode()).hexdigest()


def _sortable(number: float) -> str:
    """Write a number exactly, so that strings order as the numbers do: sign, binary exponent, fraction in hex."""
    if not number:
        return "1"
    numerator, denominator = abs(number).as_integer_ratio()  # of a float, the denominator is a power of two
    length = numerator.bit_length()
    exponent = length - denominator.bit_length() + 1
    digits = f"{exponent + 0x8000_0000:08x}" + f"{numerator << -length % 4:x}".rstrip("0")
    return "2" + digits if number > 0 else "0" + digits.translate(_COMPLEMENT) + "~"
