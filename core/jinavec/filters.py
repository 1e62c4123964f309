"""The one filter form: parse, check, match. Integrations translate the parsed form for their engine.

A filter is a dict: ``{"field": value}``, ``{"field": {"in": [...]}}``, ``{"field": {"ne": v, "gt": v, "gte": v,
"lt": v, "lte": v}}``, ``{"and": [...]}``, ``{"or": [...]}``, ``{"not": {...}}``; several keys mean and.

Values are strings, numbers or booleans. They compare only with their own kind: 1 equals 1.0 but neither True nor
"1"; strings order by code point. A list in the metadata matches when any of its elements does, and ``ne`` is the
opposite of equality, so a missing field (or null) matches only ``ne`` and ``not``.
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from jinavec.errors import InvalidFilter, brief

Value = str | int | float | bool
FilterDict = Mapping[str, Any]

RANGES: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


@dataclass(frozen=True)
class In:
    """The field equals one of the values."""

    field: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Range:
    """The field compares with the bound; op is a key of ``RANGES``."""

    field: str
    op: str
    bound: str | int | float


@dataclass(frozen=True)
class And:
    """Every part matches; with no parts, everything does."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True)
class Or:
    """Some part matches; with no parts, nothing does."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True)
class Not:
    """The part does not match."""

    part: Filter


Filter = In | Range | And | Or | Not


SURROGATE = re.compile("[\ud800-\udfff]")


def is_unicode(value: object) -> bool:
    """Return whether a record can hold a value: no record has half a surrogate pair."""
    return not (isinstance(value, str) and SURROGATE.search(value))


def parse_filter(given: object) -> Filter:
    """Read and check a filter dict.

    Raises:
        InvalidFilter: anything outside the form; the message names it.
    """
    if not isinstance(given, Mapping):
        raise InvalidFilter(f"a filter is a dict such as {{'topic': 'cats'}}, not {brief(given)}")
    try:
        parts = [_parse_entry(key, value) for key, value in cast("Mapping[object, object]", given).items()]
    except RecursionError:
        raise InvalidFilter("the filter is nested too deeply") from None
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def match(condition: Filter, metadata: Mapping[str, Any]) -> bool:
    """Return whether the metadata of a record passes a filter."""
    if isinstance(condition, In):
        return any(_equal(value, wanted) for value in _values(metadata, condition.field) for wanted in condition.values)
    if isinstance(condition, Range):
        compare = RANGES[condition.op]
        kind = _kind(condition.bound)
        values = _values(metadata, condition.field)
        return any(_kind(value) == kind and compare(value, condition.bound) for value in values)
    if isinstance(condition, And):
        return all(match(part, metadata) for part in condition.parts)
    if isinstance(condition, Or):
        return any(match(part, metadata) for part in condition.parts)
    return not match(condition.part, metadata)


def scalars(metadata: Mapping[str, Any]) -> Iterator[tuple[str, Value]]:
    """Yield (field, value) of everything in the metadata that a filter can find; of a list, each element."""
    for field in metadata:
        for value in _values(metadata, field):
            if _kind(value) != "other":
                yield field, value


_EXPRESSION = re.compile(r"\s*(?P<field>[^=!<>\s][^=!<>]*?)\s*(?P<op>!=|>=|<=|=|>|<)(?P<value>.*)", re.DOTALL)
_OPERATORS = {"!=": "ne", ">=": "gte", "<=": "lte", ">": "gt", "<": "lt"}


def parse_expressions(expressions: Sequence[str], *, also_words: bool = False) -> dict[str, Any]:
    """Read the command line's form: ``field=value``, ``!=``, ``>=``, ``<=``, ``>``, ``<``, ``field=a,b`` for in.

    A value is read as JSON where it parses, else as a string. Several expressions mean and.

    Args:
        expressions: one condition each.
        also_words: whether ``=`` and ``!=`` with a number, true or false mean the string of these characters, too:
            ``version=1.10`` finds 1.1 and "1.10".

    Raises:
        InvalidFilter: an expression without a field or an operator, or with a value filters do not take.
    """
    parts: list[dict[str, Any]] = []
    for expression in expressions:
        found = _EXPRESSION.fullmatch(expression)
        if found is None:
            raise InvalidFilter(f"cannot read the filter {expression!r}; write field=value, or !=, >=, <=, >, <")
        name, op, text = found["field"], found["op"], found["value"].strip()
        if text.startswith(("=", "<", ">")):
            raise InvalidFilter(
                f"unknown operator in {expression!r}; a value that starts with {text[0]} goes in quotes"
            )
        values = _json_values(text, also_words)
        if op == "=":
            parts.append({name: values[0] if len(values) == 1 else {"in": values}})
        elif op == "!=" and also_words:
            parts.append({"not": {name: {"in": _json_value_and_word(text)}}})
        else:
            parts.append({name: {_OPERATORS[op]: _json_value(text)}})
        parse_filter(parts[-1])
    return parts[0] if len(parts) == 1 else {"and": parts}


def _parse_entry(key: object, value: object) -> Filter:
    if key in ("and", "or"):
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise InvalidFilter(f"{key!r} takes a list of filters, not {brief(value)}")
        parts = tuple(parse_filter(part) for part in cast("Sequence[object]", value))
        return And(parts) if key == "and" else Or(parts)
    if key == "not":
        return Not(parse_filter(value))
    if not isinstance(key, str) or not key:
        raise InvalidFilter(f"a filter's field is a non-empty string, not {brief(key)}")
    if isinstance(value, Mapping):
        return _parse_operators(key, cast("Mapping[object, object]", value))
    return In(key, (_value(key, value),))


def _parse_operators(field: str, operators: Mapping[object, object]) -> Filter:
    if not operators:
        raise InvalidFilter(f"the filter on {field!r} names no operator; known: in, ne, gt, gte, lt, lte")
    parts = [_parse_operator(field, op, value) for op, value in operators.items()]
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _parse_operator(field: str, op: object, value: object) -> Filter:
    if op == "in":
        if not isinstance(value, (list, tuple, set, frozenset)):
            raise InvalidFilter(f"'in' on {field!r} takes a list of values, not {brief(value)}")
        return In(field, tuple(_value(field, item) for item in cast("Sequence[object]", value)))
    if op == "ne":
        return Not(In(field, (_value(field, value),)))
    if op in RANGES:
        bound = _value(field, value)
        if isinstance(bound, bool):
            raise InvalidFilter(f"{op!r} on {field!r} takes a number or a string, not {bound!r}")
        return Range(field, cast("str", op), bound)
    raise InvalidFilter(f"unknown operator {brief(op)} on {field!r}; known: in, ne, gt, gte, lt, lte")


def _value(field: str, value: object) -> Value:
    if isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    problem = f"the filter on {field!r} takes a string, a finite number or a boolean, not {brief(value)}"
    if isinstance(value, (list, tuple)):
        problem += "; for one of several, write {'in': [...]}"
    raise InvalidFilter(problem)


def _values(metadata: Mapping[str, Any], field: str) -> Sequence[Any]:
    value = metadata.get(field)
    return cast("Sequence[Any]", value) if isinstance(value, (list, tuple)) else (value,)


def _equal(value: object, wanted: Value) -> bool:
    return _kind(value) == _kind(wanted) and value == wanted


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    return "string" if isinstance(value, str) else "other"


def _json_value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=str)  # NaN and Infinity are not JSON: they stay words
    except (ValueError, RecursionError):
        return text


_COMMA = re.compile(r',(?=(?:[^"]*"[^"]*")*[^"]*$)')  # a comma outside double quotes


def _json_values(text: str, also_words: bool) -> list[Any]:
    """Read one value, a JSON list, or several values between commas."""
    whole = _json_value(text)
    if isinstance(whole, list):
        return cast("list[Any]", whole)
    parts = [part.strip() for part in _COMMA.split(text)] if isinstance(whole, str) and whole == text else [text]
    if also_words:
        return [value for part in parts for value in _json_value_and_word(part)]
    return [_json_value(part) for part in parts]


def _json_value_and_word(text: str) -> list[Any]:
    value = _json_value(text)
    if isinstance(value, float) and not math.isfinite(value):  # 1e999, of which no record has the number
        return [text]
    return [value, text] if isinstance(value, (bool, int, float)) else [value]
