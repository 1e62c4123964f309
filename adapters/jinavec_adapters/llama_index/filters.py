"""Metadata filters: from LlamaIndex's form to jinavec's, and what that cannot say as a function.

Operators mean what they mean to LlamaIndex's own store: ``contains``, ``any`` and ``all`` look into lists, and for
parts of a text; 1 is also True. But as everywhere in jinavec, a list passes a comparison when any of its elements does,
a value of another kind never does (LlamaIndex raises TypeError), and a missing field passes only ``!=``, ``nin`` and
``is_empty``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llama_index.core.vector_stores.types import FilterCondition, MetadataFilter, MetadataFilters

from jinavec.errors import InvalidFilter, brief
from jinavec.filters import match, parse_filter
from jinavec.retrieval import PostFilter
from jinavec_adapters.llama_index.nodes import FILLED

Condition = dict[str, Any]


@dataclass(frozen=True)
class Sieve:
    """What lets some records pass."""

    condition: Condition
    """In jinavec's form, looked up by the index: what passes the sieve passes this."""
    left: PostFilter | None = None
    """What is left to ask of each record; None where the condition says it all."""

    def test(self) -> PostFilter:
        """Return the whole as a function."""
        condition, left = parse_filter(self.condition), self.left
        return lambda record: match(condition, record.metadata) and (left is None or left(record))


def translate(filters: MetadataFilters | None) -> Sieve | None:
    """Return what filters let pass; None where that is everything.

    Raises:
        InvalidFilter: an operator or value that cannot be searched by.
    """
    return _group(filters) if filters is not None and filters.filters else None


def every(sieves: Sequence[Sieve]) -> Sieve:
    """Let pass what each of several sieves does."""
    lefts = [sieve.left for sieve in sieves if sieve.left is not None]
    condition = {"and": [sieve.condition for sieve in sieves]}
    return Sieve(condition, (lambda record: all(left(record) for left in lefts)) if lefts else None)


def some(sieves: Sequence[Sieve]) -> Sieve:
    """Let pass what at least one of several sieves does."""
    condition = {"or": [sieve.condition for sieve in sieves]}
    if all(sieve.left is None for sieve in sieves):
        return Sieve(condition)
    tests = [sieve.test() for sieve in sieves]
    return Sieve(condition, lambda record: any(test(record) for test in tests))


def none(sieves: Sequence[Sieve]) -> Sieve:
    """Let pass what not one of several sieves does."""
    condition = {"not": {"or": [sieve.condition for sieve in sieves if sieve.left is None]}}
    tests = [sieve.test() for sieve in sieves if sieve.left is not None]
    return Sieve(condition, (lambda record: not any(test(record) for test in tests)) if tests else None)


def _group(group: MetadataFilters) -> Sieve:
    parts = [_group(part) if isinstance(part, MetadataFilters) else _leaf(part) for part in group.filters]
    if group.condition == FilterCondition.NOT:
        return none(parts)
    return some(parts) if group.condition == FilterCondition.OR and parts else every(parts)


def _leaf(leaf: MetadataFilter) -> Sieve:
    operator = leaf.operator.value
    if leaf.key in ("and", "or", "not"):
        raise InvalidFilter(f"a field named {leaf.key!r} cannot be filtered on: jinavec's filters use the word")
    if operator == "is_empty":
        return _empty(leaf.key)
    takes_list = operator in _OF_LISTS
    write = (_OF_LISTS if takes_list else _OF_VALUES).get(operator)
    if write is None:
        raise InvalidFilter(
            f"the filter on {leaf.key!r} uses {operator!r}, which this store cannot search by; it has:"
            f" {', '.join([*_OF_VALUES, *_OF_LISTS, 'is_empty'])}"
        )
    if leaf.value is None:
        raise InvalidFilter(f"the filter on {leaf.key!r} compares with None; for missing or empty use 'is_empty'")
    if isinstance(leaf.value, list) is not takes_list:
        kind = "a list of values" if takes_list else "one value; for one of several use 'in', 'any' or 'all'"
        raise InvalidFilter(f"{operator!r} on {leaf.key!r} takes {kind}, not {brief(leaf.value)}")
    sieve = write(leaf.key, leaf.value)
    parse_filter(sieve.condition)
    return sieve


def _equal(key: str, *values: Any) -> Sieve:
    """Match one of the values; Python, and so LlamaIndex, takes 1 for True and 0 for False."""
    truths = [truth for truth in (False, True) if truth in values]
    return Sieve({key: {"in": [*values, *truths]}})


def _range(operator: str) -> Callable[[str, Any], Sieve]:
    return lambda key, value: Sieve({key: {operator: value}})


def _text(key: str) -> Condition:
    """Match a field that is a text, and not a list."""
    return {"and": [{key: {"gte": ""}}, {"not": {FILLED: key}}]}


def _contains(key: str, value: Any) -> Sieve:
    listed = _equal(key, value)
    return some([listed, _part(key, value)]) if isinstance(value, str) else listed


def _part(key: str, value: Any, fold: Callable[[str], str] = str) -> Sieve:
    """Match a text that holds another."""
    if not isinstance(value, str):
        raise InvalidFilter(f"a part of the text {key!r} must be a text, not {brief(value)}")
    return Sieve(_text(key), lambda record: fold(value) in fold(record.metadata[key]))


def _all(key: str, values: Any) -> Sieve:
    if not values:
        raise InvalidFilter(f"'all' on {key!r} takes at least one value")
    return every([_contains(key, value) for value in values])


def _empty(key: str) -> Sieve:
    """Match a field that is missing, null, an empty text or an empty list: one that is none of these has something."""
    numbers, truths = [{key: {"lt": 0}}, {key: {"gte": 0}}], {key: {"in": [True, False]}}
    return Sieve({"not": {"or": [{key: {"gt": ""}}, *numbers, truths, {FILLED: key}]}})


_OF_VALUES: dict[str, Callable[[str, Any], Sieve]] = {
    "==": _equal,
    "!=": lambda key, value: none([_equal(key, value)]),
    ">": _range("gt"),
    ">=": _range("gte"),
    "<": _range("lt"),
    "<=": _range("lte"),
    "contains": _contains,
    "text_match": _part,
    "text_match_insensitive": lambda key, value: _part(key, value, str.lower),
}
_OF_LISTS: dict[str, Callable[[str, Any], Sieve]] = {
    "in": lambda key, values: _equal(key, *values),
    "nin": lambda key, values: none([_equal(key, *values)]),
    "any": lambda key, values: some([_contains(key, value) for value in values]),
    "all": _all,
}
