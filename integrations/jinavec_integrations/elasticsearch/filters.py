"""Filters: from the parsed form to Elasticsearch queries over one keyword field.

Every scalar in a record's metadata, and every element of a list, is one term of the field ``filter``: the field's name
with its length, the kind of the value, and the value so written that the order of bytes is the order of values. So
kinds never mix, whole numbers and floats of any size compare exactly, and no metadata can conflict with a mapping.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from jinavec.errors import InvalidFilter, brief
from jinavec.filters import SURROGATE, And, Filter, In, Or, Range, Value, is_unicode, scalars

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


def terms(metadata: Mapping[str, Any]) -> list[str]:
    """Return the terms of everything in the metadata that a filter can find, without repetition."""
    return list(dict.fromkeys(_start(name) + _term(value) for name, value in scalars(metadata)))


def translate(condition: Filter) -> Query:
    """Return the query that matches the records which ``jinavec.filters.match`` passes.

    Raises:
        InvalidFilter: a bound too long to be compared.
    """
    if isinstance(condition, In):
        return _one_of(condition)
    if isinstance(condition, Range):
        return _range(condition)
    if isinstance(condition, And):
        return {"bool": {"filter": [translate(part) for part in condition.parts]}} if condition.parts else _ALL
    if isinstance(condition, Or):
        return _any([translate(part) for part in condition.parts])
    return {"bool": {"must_not": [translate(condition.part)]}}


_ALL: Query = {"match_all": {}}
_NONE: Query = {"match_none": {}}


def _any(parts: list[Query]) -> Query:
    if len(parts) < 2:
        return parts[0] if parts else _NONE
    return {"bool": {"should": parts, "minimum_should_match": 1}}


def _one_of(leaf: In) -> Query:
    if not is_unicode(leaf.field):
        return _NONE
    start = _start(leaf.field)
    found = dict.fromkeys(start + _term(value) for value in leaf.values if is_unicode(value))
    wanted = list(found)
    return _any([{"terms": {FIELD: wanted[first : first + _TERMS]}} for first in range(0, len(wanted), _TERMS)])


def _range(leaf: Range) -> Query:
    if not is_unicode(leaf.field):
        return _NONE
    kind = _kind(leaf.bound)
    lowest = _start(leaf.field) + kind
    op, bound = _bound(leaf)
    if op.startswith("g"):
        return {"range": {FIELD: {op: lowest + bound, "lt": lowest[:-1] + _ABOVE[kind]}}}
    return {"range": {FIELD: {"gte": lowest, op: lowest + bound}}}


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
